using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Cli;

/// <summary>
/// Ctrl+C and requests to terminate. They cancel the innermost thing that runs: an answer of the chat where there is one, else the command.
/// </summary>
internal sealed class Interrupts : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Stack<CancellationTokenSource> _scopes = new();
    private readonly List<PosixSignalRegistration> _registrations = [];

    public Interrupts() => _scopes.Push(new CancellationTokenSource());

    /// <summary>Cancelled when the command as a whole is to end.</summary>
    public CancellationToken Token
    {
        get
        {
            lock (_lock)
            {
                return _scopes.Last().Token;
            }
        }
    }

    /// <summary>Listens to the signals of the process.</summary>
    public static Interrupts FromSignals()
    {
        Interrupts interrupts = new();
        interrupts._registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGINT, context =>
        {
            context.Cancel = interrupts.Raise();
        }));
        interrupts._registrations.Add(PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            interrupts.RaiseAll();
        }));
        return interrupts;
    }

    /// <summary>
    /// Cancels the innermost scope; the command itself where no scope is open. False: that was asked for before and has not happened yet, so that the second
    /// Ctrl+C ends the process.
    /// </summary>
    public bool Raise()
    {
        CancellationTokenSource innermost;
        lock (_lock)
        {
            innermost = _scopes.Peek();
        }

        bool first = !innermost.IsCancellationRequested;
        innermost.Cancel();
        return first;
    }

    private void RaiseAll()
    {
        CancellationTokenSource[] all;
        lock (_lock)
        {
            all = [.. _scopes];
        }

        Array.ForEach(all, scope => scope.Cancel());
    }

    /// <summary>Until the result is disposed, an interrupt cancels only its token.</summary>
    public Scope Begin()
    {
        lock (_lock)
        {
            CancellationTokenSource source = CancellationTokenSource.CreateLinkedTokenSource(_scopes.Peek().Token);
            _scopes.Push(source);
            return new Scope(this, source);
        }
    }

    public void Dispose()
    {
        _registrations.ForEach(registration => registration.Dispose());
    }

    internal readonly struct Scope(Interrupts owner, CancellationTokenSource source) : IDisposable
    {
        public CancellationToken Token => source.Token;

        public void Dispose()
        {
            lock (owner._lock)
            {
                owner._scopes.Pop();
            }
        }
    }
}
