using System.Text;

namespace Gemma.Extensions.AI.Tests.Readme;

/// <summary>Catches what one program prints. There is one console for all, and other tests, or the loggers of their hosts, may print at the same time.</summary>
internal sealed class ConsoleOfCaller : TextWriter
{
    private static readonly AsyncLocal<StringWriter?> s_caller = new();
    private static readonly Lazy<TextWriter> s_installed = new(() =>
    {
        ConsoleOfCaller writer = new(Console.Out);
        Console.SetOut(writer);
        return writer;
    });

    private readonly TextWriter _console;

    private ConsoleOfCaller(TextWriter console) => _console = console;

    public override Encoding Encoding => _console.Encoding;

    private TextWriter Target => s_caller.Value ?? _console;

    /// <summary>What an action prints, and what it starts: tasks and threads.</summary>
    public static string Capture(Action action)
    {
        _ = s_installed.Value;
        StringWriter output = new();
        s_caller.Value = output;
        try
        {
            action();
        }
        finally
        {
            s_caller.Value = null;
        }

        return output.ToString();
    }

    public override void Write(char value) => Target.Write(value);

    public override void Write(string? value) => Target.Write(value);

    public override void Write(char[] buffer, int index, int count) => Target.Write(buffer, index, count);

    public override void Flush() => Target.Flush();
}
