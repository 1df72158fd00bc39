using System.CommandLine;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>The short help that <c>gemma</c> alone prints: a line a command.</summary>
internal static partial class CommandOverview
{
    public static void Write(RootCommand root, TextWriter output)
    {
        Command[] commands = [.. root.Subcommands.Where(command => !command.Hidden)];
        int width = commands.Max(command => command.Name.Length) + 2;
        output.WriteLine("Usage: gemma COMMAND [options]");
        output.WriteLine();
        foreach (Command command in commands)
        {
            output.WriteLine($"  {command.Name.PadRight(width)}{Summary(command)}");
        }

        output.WriteLine();
        output.WriteLine("'gemma COMMAND --help' explains a command, 'gemma --version' says which version this is.");
        output.WriteLine("Without --model, GEMMA_MODEL names the model, else it is nano, which ships with gemma.");
    }

    /// <summary>The first sentence of a command's description, or what stands before its first colon.</summary>
    public static string Summary(Command command) => FirstSentence().Match(command.Description ?? "").Value.TrimEnd('.', ':');

    [GeneratedRegex(@"^[^\n]*?([.:](?=\s)|$)", RegexOptions.Multiline)]
    private static partial Regex FirstSentence();
}
