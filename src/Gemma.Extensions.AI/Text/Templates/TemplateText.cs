using System.Text;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>
/// A string of a template that knows which of its characters came from a message. Marks run beside the characters: 0 for the template's own text, another value for
/// content. Operations that cut, join or trim the string do the same to the marks, so a marker typed by a user is never mistaken for one of the template.
/// </summary>
/// <param name="value">The characters.</param>
/// <param name="marks">As long as <paramref name="value"/>; null where every character is the template's.</param>
internal sealed class TemplateText(string value, string? marks = null)
{
    public static readonly TemplateText Empty = new("");

    public string Value { get; } = value;

    public string? Marks { get; } = marks;

    public int Length => Value.Length;

    /// <summary>The mark of the first character of content, 0 where there is none.</summary>
    public char FirstMark => Marks is null || Marks.AsSpan().IndexOfAnyExcept('\0') is not (int at and >= 0) ? '\0' : Marks[at];

    /// <summary>A text that consists of content only.</summary>
    public static TemplateText Content(string value, char mark) => new(value, new string(mark, value.Length));

    public TemplateText Slice(int start, int length) => length == Length ? this : new(Value.Substring(start, length), Marks?.Substring(start, length));

    /// <summary>The same characters in another spelling: marks stay where the length does, else all of it is content if any of this was.</summary>
    public TemplateText Respell(string other) => Marks is null ? new(other) : other.Length == Length ? new(other, Marks) : Whole(other);

    /// <summary>Another text that was made of this one: all of it is content if any of this was.</summary>
    public TemplateText Whole(string other)
    {
        char mark = FirstMark;
        return mark == '\0' ? new(other) : Content(other, mark);
    }

    public override string ToString() => Value;
}

/// <summary>Collects text with its marks.</summary>
internal sealed class TemplateTextBuilder
{
    private readonly StringBuilder _value = new();
    private readonly StringBuilder _marks = new();

    public int Length => _value.Length;

    public void Append(TemplateText text)
    {
        _value.Append(text.Value);
        if (text.Marks is null)
        {
            _marks.Append('\0', text.Length);
        }
        else
        {
            _marks.Append(text.Marks);
        }
    }

    public void Append(string text)
    {
        _value.Append(text);
        _marks.Append('\0', text.Length);
    }

    public TemplateText ToText() => new(_value.ToString(), _marks.ToString());
}
