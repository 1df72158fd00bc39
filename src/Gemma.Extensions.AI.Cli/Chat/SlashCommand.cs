namespace Gemma.Extensions.AI.Cli.Chat;

/// <summary>Something to do in a conversation that is no message.</summary>
/// <param name="Name">With its slash.</param>
/// <param name="Argument">What follows it, for help; empty where nothing does.</param>
/// <param name="Help">What it does.</param>
/// <param name="RunAsync">Does it with the argument; false ends the conversation.</param>
internal sealed record SlashCommand(string Name, string Argument, string Help, Func<string, CancellationToken, Task<bool>> RunAsync);
