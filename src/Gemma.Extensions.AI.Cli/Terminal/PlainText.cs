namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Text as it is, where a library would replace names of pictures in it: <c>ChangeLibraries.targets</c> has Spectre.Console ask here.</summary>
internal static class PlainText
{
    /// <summary>The same text.</summary>
    public static string Same(string text) => text;
}
