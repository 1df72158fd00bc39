using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag.Answering;

/// <summary>
/// Passes text through and drops citations of passages that don't exist: [7] of five passages. Text is held back only from an open bracket to
/// the first character that decides.
/// </summary>
/// <param name="passages">Number of passages.</param>
/// <param name="check">Given a statement and the one passage that it cites, says which passage to cite instead; null: what the model cited.</param>
internal sealed class CitationFilter(int passages, Func<string, int, int>? check = null)
{
    /// <summary>More digits and commas than this name no passage.</summary>
    private const int LongestBracket = 64;

    private readonly StringBuilder _held = new();

    /// <summary>
    /// The end of what was shown, where it could be the beginning of a citation. What follows a citation that was dropped would otherwise go on with it: "[7", "[0]", "]".
    /// </summary>
    private readonly StringBuilder _end = new();

    /// <summary>The text that was shown since the last citation.</summary>
    private readonly StringBuilder _statement = new();

    /// <summary>Characters of what is held that were shown before.</summary>
    private int _shown;

    /// <summary>Numbers that were cited, in order of first use.</summary>
    public List<int> Cited { get; } = [];

    /// <summary>The part of the text that can be shown now.</summary>
    public string Push(string text)
    {
        StringBuilder shown = new();
        foreach (char c in text)
        {
            if (_held.Length == 0 && c != '[')
            {
                Show(shown, c.ToString());
                continue;
            }

            _held.Append(c);
            if (c == ']')
            {
                string bracket = _held.ToString(), resolved = Resolve(bracket);
                Show(shown, resolved.StartsWith(bracket[.._shown], StringComparison.Ordinal) ? resolved : bracket[.._shown]);
                if (resolved.Length > "[]".Length)
                {
                    _statement.Clear(); // a citation; one that was dropped leaves its statement to the next
                }

                if (_end.Length > 0)
                {
                    _held.Append(_end);
                    _shown = _end.Length;
                }
            }
            else if (_held.Length > 1 && !char.IsAsciiDigit(c) && c is not (',' or ' '))
            {
                // Not a citation; a bracket that opens here may still begin one.
                Show(shown, _held.ToString(0, _held.Length - (c == '[' ? 1 : 0)));
                _held.Append(c == '[' ? "[" : "");
            }
            else if (_held.Length > LongestBracket)
            {
                _held.Remove(_shown, _held.Length - _shown).Append(_shown == 0 ? "[" : "");
            }
        }

        return shown.ToString();
    }

    /// <summary>Ends the text: returns the part of it that was still held back.</summary>
    public string Flush()
    {
        StringBuilder rest = new();
        Show(rest, _held.ToString());
        return rest.ToString();
    }

    /// <summary>Shows a text that stands for what is held, without what was shown of it before.</summary>
    private void Show(StringBuilder shown, string text)
    {
        foreach (char c in text.AsSpan(_shown))
        {
            shown.Append(c);
            _statement.Append(c);
            if (c == '[' || (_end.Length > 0 && !char.IsAsciiDigit(c) && c is not (',' or ' ')) || _end.Length > LongestBracket)
            {
                _end.Clear();
            }

            if (c == '[' || _end.Length > 0)
            {
                _end.Append(c);
            }
        }

        _held.Clear();
        _shown = 0;
    }

    private string Resolve(string bracket)
    {
        string[] parts = bracket[1..^1].Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0)
        {
            return bracket;
        }

        int[] known = [.. parts.Select(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : 0).Where(n => n >= 1 && n <= passages)];
        if (known is [int cited] && check is not null && _shown <= 1)
        {
            known[0] = check(_statement.ToString(), cited);
        }

        foreach (int number in known.Where(n => !Cited.Contains(n)))
        {
            Cited.Add(number);
        }

        return string.Concat(known.Select(n => string.Create(CultureInfo.InvariantCulture, $"[{n}]")));
    }
}
