using System.Globalization;
using Gemma.Extensions.AI.Cli.Terminal;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>Writes each entry of the log on a line of its own.</summary>
internal sealed class LineLoggerProvider(TextWriter output) : ILoggerProvider, ILogger
{
    private readonly Lock _lock = new();

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => logLevel != LogLevel.None;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        string time = DateTime.Now.ToString("HH:mm:ss", CultureInfo.InvariantCulture);
        string level = logLevel switch { LogLevel.Warning => " warning:", LogLevel.Error or LogLevel.Critical => " error:", _ => "" };
        string text = OptionWords.OfTool(formatter(state, exception)).ReplaceLineEndings(" ");
        lock (_lock)
        {
            output.WriteLine(exception is null ? $"{time}{level} {text}" : $"{time}{level} {text}{Environment.NewLine}{exception}");
        }
    }

    public void Dispose()
    {
    }
}

/// <summary>A host whose life is that of the command that runs it: signals are not its own.</summary>
internal sealed class CommandLifetime : IHostLifetime
{
    public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
