using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// What stands around calls and results in a prompt and an answer. Gemma 2 has no tool format of its own; this one is described to the model where tools are offered.
/// Content that holds something like a frame is changed so that it holds none, and can be told back; other content stays as it is.
/// </summary>
internal sealed partial class ToolMarkup
{
    private ToolMarkup()
    {
    }

    public static ToolMarkup Own { get; } = new();

    public string CallStart => "<tool_call>";

    public string CallEnd => "</tool_call>";

    public string ResultStart => "<tool_result>";

    public string ResultEnd => "</tool_result>";

    public string Introduction =>
        "You can call tools. To call one, write " + CallStart + """{"name":"…","arguments":{…}}""" + CallEnd + " and nothing else.\nTools:";

    /// <summary>Text with a backslash put into whatever looks like a frame; one that has backslashes there already gets one more.</summary>
    public string Escape(string text) => text.Contains("tool_", StringComparison.OrdinalIgnoreCase) ? Frame().Replace(text, static match => $"<\\{match.ValueSpan[1..]}") : text;

    /// <summary>The text that <see cref="Escape"/> was given.</summary>
    public string Unescape(string text) => EscapedFrame().Replace(text, static match => $"<{match.ValueSpan[2..]}");

    /// <summary>JSON that says the same without anything that looks like a frame: there <c>&lt;</c> is in a string, where it may be written as an escape.</summary>
    public string EscapeJson(string json) => json.Contains("tool_", StringComparison.OrdinalIgnoreCase) ? Frame().Replace(json, static match => $"\\u003c{match.ValueSpan[1..]}") : json;

    [GeneratedRegex(@"<\\*(?>\s*)(?:/(?>\s*))?tool_(?:call|result)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Frame();

    [GeneratedRegex(@"<\\+(?>\s*)(?:/(?>\s*))?tool_(?:call|result)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex EscapedFrame();
}
