using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// The markers around calls and results in prompts and answers. Gemma 2 has no tool format of its own; this one is described to the model when tools are offered.
/// Content that resembles a frame is escaped reversibly; other content is unchanged.
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

    /// <summary>Text with a backslash inserted into everything that resembles a frame; if there are backslashes already, one is added.</summary>
    public string Escape(string text) => text.Contains("tool_", StringComparison.OrdinalIgnoreCase) ? Frame().Replace(text, static match => $"<\\{match.ValueSpan[1..]}") : text;

    /// <summary>The text that <see cref="Escape"/> was given.</summary>
    public string Unescape(string text) => EscapedFrame().Replace(text, static match => $"<{match.ValueSpan[2..]}");

    /// <summary>Equivalent JSON without anything that resembles a frame: <c>&lt;</c> occurs in strings only, where it can be escaped.</summary>
    public string EscapeJson(string json) => json.Contains("tool_", StringComparison.OrdinalIgnoreCase) ? Frame().Replace(json, static match => $"\\u003c{match.ValueSpan[1..]}") : json;

    [GeneratedRegex(@"<\\*(?>\s*)(?:/(?>\s*))?tool_(?:call|result)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Frame();

    [GeneratedRegex(@"<\\+(?>\s*)(?:/(?>\s*))?tool_(?:call|result)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex EscapedFrame();
}
