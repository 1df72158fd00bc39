using System.CommandLine;
using Gemma.Extensions.AI.Cli.Commands;

namespace Gemma.Extensions.AI.Cli;

/// <summary>Input, output and settings of one invocation. Commands write to <see cref="InvocationConfiguration.Output"/> and never to the console itself.</summary>
internal sealed class CliInvocation : InvocationConfiguration
{
    public CliInvocation(Interrupts interrupts)
    {
        Interrupts = interrupts;
        EnableDefaultExceptionHandler = false;
        ProcessTerminationTimeout = null;
    }

    public Interrupts Interrupts { get; }

    public TextReader Input { get; init; } = Console.In;

    /// <summary>True at a terminal. Colours, prompts and progress are for people only.</summary>
    public bool IsInteractive { get; init; } = !Console.IsInputRedirected && !Console.IsOutputRedirected;
}

/// <summary>The <c>gemma</c> command. One file a subcommand.</summary>
internal static class GemmaCli
{
    public const int Success = 0;
    public const int Failure = 1;
    public const int Interrupted = 130;

    public static RootCommand CreateRoot() =>
        new("Gemma 2 in your own process: chat, serve, inspect, measure, convert, train.")
        {
            ChatCommand.Create(),
            ServeCommand.Create(),
            HealthCommand.Create(),
            InspectCommand.Create(),
            TokenizeCommand.Create(),
            LogitsCommand.Create(),
            PerplexityCommand.Create(),
#if !AHEAD_OF_TIME
            EvalCommand.Create(),
            ArenaCommand.Create(),
#endif
            BenchCommand.Create(),
            ConvertCommand.Create(),
            ConvertCommand.CreateQuantize(),
            ImatrixCommand.Create(),
            CompareCommand.Create(),
#if !AHEAD_OF_TIME
            TrainCommand.Create(),
            TrainCommand.CreateDistill(),
#endif
            PullCommand.Create(),
            ModelsCommand.Create(),
        };

    /// <summary>Runs a command line. 0: done; 1: failed, with one line on the error stream; 130: interrupted.</summary>
    public static async Task<int> RunAsync(string[] args, CliInvocation invocation)
    {
        ParseResult parsed = CreateRoot().Parse(args);
        if (parsed.Errors.Count > 0)
        {
            string command = parsed.CommandResult.Command is RootCommand ? "gemma" : $"gemma {parsed.CommandResult.Command.Name}";
            return Fail(invocation, $"{InWords(string.Join(" ", parsed.Errors.Select(error => error.Message)))} See '{command} --help'.");
        }

        try
        {
            return await parsed.InvokeAsync(invocation, invocation.Interrupts.Token);
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
        catch (AggregateException e) when (e.InnerExceptions.Count == 1)
        {
            return Fail(invocation, Describe(e.InnerExceptions[0]));
        }
        catch (Exception e)
        {
            return Fail(invocation, Describe(e));
        }
    }

    /// <summary>The parser names types of .NET, which mean nothing at a terminal.</summary>
    private static string InWords(string message)
    {
        foreach ((Type type, string words) in new[] { (typeof(int), "a whole number"), (typeof(long), "a whole number"), (typeof(float), "a number"), (typeof(double), "a number") })
        {
            message = message.Replace($"as expected type 'System.Nullable`1[{type}]'", $"as {words}", StringComparison.Ordinal).Replace($"as expected type '{type}'", $"as {words}", StringComparison.Ordinal);
        }

        return message;
    }

    // Names of parameters are the library's matter.
    private static string Describe(Exception e) =>
        e is ArgumentException argument && argument.Message.IndexOf(" (Parameter '", StringComparison.Ordinal) is > 0 and int end ? argument.Message[..end]
        : e is GemmaException or ArgumentException or IOException or NotSupportedException or UnauthorizedAccessException or InvalidOperationException or FormatException
            ? e.Message
            : $"unexpected {e.GetType().Name}: {e.Message}";

    private static int Fail(CliInvocation invocation, string message)
    {
        invocation.Error.WriteLine($"gemma: {message.ReplaceLineEndings(" ")}");
        return Failure;
    }
}
