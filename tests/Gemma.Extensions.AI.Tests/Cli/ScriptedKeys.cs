using Gemma.Extensions.AI.Cli.Terminal;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Keys that a test presses: letters as they are, keys by name in angle brackets as &lt;Left&gt;, &lt;Ctrl+A&gt;, &lt;Alt+Enter&gt;. A text after <see cref="Paste"/> comes at once.</summary>
internal sealed class ScriptedKeys : IKeyReader
{
    private readonly Queue<(ConsoleKeyInfo Key, bool IsPasted)> _keys = new();

    public bool HasKey => _keys.TryPeek(out (ConsoleKeyInfo Key, bool IsPasted) next) && next.IsPasted;

    public ScriptedKeys Type(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '<' && text.IndexOf('>', i) is > 0 and int end)
            {
                _keys.Enqueue((Named(text[(i + 1)..end]), false));
                i = end;
            }
            else
            {
                _keys.Enqueue((Letter(text[i]), false));
            }
        }

        return this;
    }

    public ScriptedKeys Paste(string text)
    {
        foreach (char c in text)
        {
            _keys.Enqueue((Letter(c), true));
        }

        return this;
    }

    public ConsoleKeyInfo? ReadKey() => _keys.TryDequeue(out (ConsoleKeyInfo Key, bool IsPasted) next) ? next.Key : null;

    private static ConsoleKeyInfo Letter(char c) => c == '\n' ? new('\r', ConsoleKey.Enter, false, false, false)
        : new(c, char.IsAsciiLetter(c) ? ConsoleKey.A + (char.ToUpperInvariant(c) - 'A') : ConsoleKey.None, char.IsAsciiLetterUpper(c), false, false);

    private static ConsoleKeyInfo Named(string name)
    {
        string[] parts = name.Split('+');
        ConsoleKey key = parts[^1] switch { "Left" => ConsoleKey.LeftArrow, "Right" => ConsoleKey.RightArrow, "Up" => ConsoleKey.UpArrow, "Down" => ConsoleKey.DownArrow, var other => Enum.Parse<ConsoleKey>(other) };
        return new('\0', key, false, parts.Contains("Alt"), parts.Contains("Ctrl"));
    }
}
