using System.CommandLine;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Says in a line what is wrong with a command line, and what was probably meant.</summary>
internal static partial class ParseErrors
{
    public static string Describe(ParseResult parsed)
    {
        Command command = parsed.CommandResult.Command;
        string name = FullName(command);
        string? stranger = parsed.UnmatchedTokens.FirstOrDefault();
        string problem = stranger is null
            ? string.Join(" ", parsed.Errors.Select(error => InWords(error.Message, command)).Distinct())
            : DescribeStranger(stranger, command, name);
        return $"{problem} See '{name} --help'.";
    }

    private static string DescribeStranger(string stranger, Command command, string name)
    {
        if (stranger.StartsWith('-') && stranger.Length > 1)
        {
            string option = stranger.Split('=')[0];
            return $"'{name}' has no option '{option}'.{Typos.DidYouMean(option, command.Options.SelectMany(known => known.Aliases.Prepend(known.Name)).Where(known => known.StartsWith("--", StringComparison.Ordinal)))}";
        }

        if (command.Action is null)
        {
            return $"There is no command '{stranger}'.{Typos.DidYouMean(stranger, command.Subcommands.Select(known => known.Name))}";
        }

        string meant = Typos.DidYouMean(stranger, command.Subcommands.Select(known => known.Name));
        return $"'{name}' has no place for '{stranger}'.{(meant.Length == 0 && command.Options.Any(option => option.Name == "--prompt") ? $" Did you mean '--prompt \"{stranger}\"'?" : meant)}";
    }

    private static string FullName(Command command) =>
        command is RootCommand ? "gemma" : $"{FullName((Command)command.Parents.First())} {command.Name}";

    /// <summary>The parser names types of .NET, which mean nothing at a terminal.</summary>
    private static string InWords(string message, Command command) => ExpectedType().Replace(message, match =>
    {
        Option? option = command.Options.FirstOrDefault(option => option.Name == match.Groups["option"].Value);
        string type = match.Groups["type"].Value;
        string expected = type.Contains("Int", StringComparison.Ordinal) ? "a whole number"
            : type.Contains("Single", StringComparison.Ordinal) || type.Contains("Double", StringComparison.Ordinal) ? "a number"
            : $"one of {option?.HelpName?.Replace("|", ", ", StringComparison.Ordinal)}";
        return $"{match.Groups["option"].Value} is '{match.Groups["value"].Value}', expected {expected}.";
    });

    [GeneratedRegex(@"Cannot parse argument '(?<value>.*)' for option '(?<option>[^']*)' as expected type '(?<type>[^']*)'\.?(?: Did you mean.*)?", RegexOptions.Singleline)]
    private static partial Regex ExpectedType();
}
