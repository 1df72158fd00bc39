using System.CommandLine;
using System.CommandLine.Help;
using Gemma.Extensions.AI.Cli.Commands;
using Gemma.Extensions.AI.Cli.Terminal;

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

    /// <summary>True where the input is a pipe or a file, which can be read to its end.</summary>
    public bool IsInputPiped { get; init; } = Console.IsInputRedirected;

    /// <summary>Keys as a person presses them, for line editing; null: lines are read from <see cref="Input"/>.</summary>
    public IKeyReader? Keys { get; init; }
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
            AskCommand.Create(),
            EmbedCommand.Create(),
            ServeCommand.Create(),
            HealthCommand.Create(),
            McpCommand.Create(),
            PullCommand.Create(),
            ModelsCommand.Create(),
            InspectCommand.Create(),
            DoctorCommand.Create(),
            TokenizeCommand.Create(),
            LogitsCommand.Create(),
            PerplexityCommand.Create(),
#if !AHEAD_OF_TIME
            EvalCommand.Create(),
            ArenaCommand.Create(),
#endif
            BenchCommand.Create(),
            CompareCommand.Create(),
            ConvertCommand.Create(),
            ConvertCommand.CreateQuantize(),
            ImatrixCommand.Create(),
#if !AHEAD_OF_TIME
            TrainCommand.Create(),
            TrainCommand.CreateDistill(),
#endif
            CompletionCommand.Create(),
        };

    /// <summary>Runs a command line. 0: done; 1: failed, with one line on the error stream; 130: interrupted.</summary>
    public static async Task<int> RunAsync(string[] args, CliInvocation invocation)
    {
        RootCommand root = CreateRoot();
        ParseResult parsed = root.Parse(args);
        if (args.Length == 0 || (parsed.CommandResult.Command == root && parsed.Action is HelpAction))
        {
            CommandOverview.Write(root, invocation.Output);
            return Success;
        }

        if (parsed.Errors.Count > 0)
        {
            return Fail(invocation, ParseErrors.Describe(parsed));
        }

        try
        {
            return await parsed.InvokeAsync(invocation, invocation.Interrupts.Token);
        }
        catch (OperationCanceledException)
        {
            return Interrupted;
        }
        catch (Exception e)
        {
            Exception cause = e is AggregateException { InnerExceptions: [var only] } ? only : e;
            return Fail(invocation, OptionWords.Translate(Describe(cause), parsed.CommandResult.Command));
        }
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
