namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>The text that a command is asked about: of the command line, of a pipe, or both.</summary>
internal static class PromptInput
{
    /// <summary>Stands for the input in the place of a text.</summary>
    public const string Standard = "-";

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(2);

    /// <summary>The text, with what is piped in behind it after an empty line; <c>-</c> is the input alone.</summary>
    /// <param name="text">As given.</param>
    /// <param name="option">What it is called, for messages.</param>
    /// <param name="host">Where the input is.</param>
    /// <param name="cancellationToken">Ends the waiting for input.</param>
    public static async Task<string> ReadAsync(string text, string option, CliInvocation host, CancellationToken cancellationToken)
    {
        if (text != Standard && !host.IsInputPiped)
        {
            return text;
        }

        string piped = (await ReadToEndAsync(host, cancellationToken)).Trim();
        return text != Standard ? piped.Length > 0 ? $"{text}\n\n{piped}" : text
            : piped.Length > 0 ? piped
            : throw new ArgumentException($"{option} is '{Standard}', which stands for the input, but that is empty.");
    }

    private static async Task<string> ReadToEndAsync(CliInvocation host, CancellationToken cancellationToken)
    {
        Task<string> reading = Task.Run(host.Input.ReadToEnd, cancellationToken);
        if (host.IsInputPiped && await Task.WhenAny(reading, Task.Delay(s_patience, cancellationToken)) != reading && !cancellationToken.IsCancellationRequested)
        {
            host.Error.WriteLine("gemma: waiting for the end of the input; where nothing is piped in, add < /dev/null");
        }

        return await reading.WaitAsync(cancellationToken);
    }
}
