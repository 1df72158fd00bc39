namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>Why a template could not be used.</summary>
internal enum TemplateFault
{
    /// <summary>It is invalid, or goes beyond the supported subset.</summary>
    Unsupported,

    /// <summary>It called <c>raise_exception</c>: the conversation is not one that it takes.</summary>
    Raised,

    /// <summary>It accessed a member that a value does not have.</summary>
    Failed,

    /// <summary>It does more work, or nests deeper, than a template may.</summary>
    TooMuch,
}

/// <summary>A template that cannot be read or evaluated; the message says what and where.</summary>
internal sealed class TemplateException(TemplateFault fault, string message, int line, int column)
    : Exception(line > 0 ? $"line {line}, column {column}: {message}" : message)
{
    public TemplateFault Fault { get; } = fault;

    /// <summary>The message without the position.</summary>
    public string Reason { get; } = message;

    public static TemplateException At(string source, int position, TemplateFault fault, string message)
    {
        ReadOnlySpan<char> before = source.AsSpan(0, Math.Min(position, source.Length));
        return new TemplateException(fault, message, before.Count('\n') + 1, before.Length - before.LastIndexOf('\n'));
    }
}
