namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Keys as a person presses them.</summary>
internal interface IKeyReader
{
    /// <summary>True while a key waits, as in text that is pasted.</summary>
    bool HasKey { get; }

    /// <summary>Waits for the next key, which is not shown; null at the end of the input.</summary>
    ConsoleKeyInfo? ReadKey();
}

/// <summary>The keys of the process's terminal.</summary>
internal sealed class ConsoleKeys : IKeyReader
{
    public bool HasKey => Console.KeyAvailable;

    public ConsoleKeyInfo? ReadKey() => Console.ReadKey(intercept: true);
}
