namespace Gemma.Extensions.AI.Engine;

/// <summary>Hands requests, work to be done between two steps, and the order to stop from other threads to the engine's thread.</summary>
internal sealed class EngineInbox(EngineOptions options)
{
    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly Queue<Sequence> _requests = new();
    private readonly Queue<Action> _commands = new();
    private int _accepted;
    private volatile bool _stopping;
    private volatile bool _cancelled;
    private volatile bool _closed;
    private volatile Exception? _failure;

    /// <summary>Requests that were accepted and are not complete; what is computed while there are none is not counted.</summary>
    public int Accepted => Volatile.Read(ref _accepted);

    /// <summary>Requests that the engine's thread has not taken over yet.</summary>
    public int Arriving
    {
        get
        {
            lock (_gate)
            {
                return _requests.Count;
            }
        }
    }

    /// <summary>No more requests are accepted.</summary>
    public bool IsStopping => _stopping;

    /// <summary>The engine's thread must end at once, and every request with it.</summary>
    public bool IsCancelled => _cancelled;

    /// <summary>The unexpected error that ended the engine's thread.</summary>
    public Exception? Failure
    {
        get => _failure;
        set => _failure = value;
    }

    /// <summary>Queues a request.</summary>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already, or the engine is stopping.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public void Accept(Sequence sequence)
    {
        lock (_gate)
        {
            ThrowIfClosed();
            if (!sequence.Request.IsIdle && Accepted >= (long)options.MaxConcurrentRequests + options.MaxQueuedRequests)
            {
                throw new GemmaOverloadedException(
                    $"{options.MaxConcurrentRequests:N0} requests run and {options.MaxQueuedRequests:N0} wait, which is as many as this engine accepts. Try again later, or raise GemmaOptions.MaxQueuedRequests.");
            }

            Interlocked.Add(ref _accepted, sequence.Request.IsIdle ? 0 : 1); // the engine's thread counts down without the lock
            _requests.Enqueue(sequence);
        }

        Wake();
    }

    /// <summary>A request that was accepted has ended.</summary>
    public void Complete(Sequence sequence) => Interlocked.Add(ref _accepted, sequence.Request.IsIdle ? 0 : -1);

    /// <summary>Runs <paramref name="work"/> on the engine's thread between two steps.</summary>
    /// <exception cref="GemmaOverloadedException">The engine is stopping.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public Task<T> RunBetweenSteps<T>(Func<T> work)
    {
        TaskCompletionSource<T> completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            ThrowIfClosed();
            _commands.Enqueue(() =>
            {
                try
                {
                    completion.SetResult(work());
                }
                catch (Exception exception)
                {
                    completion.SetException(exception);
                }
            });
        }

        Wake();
        return completion.Task;
    }

    /// <summary>The same for <paramref name="work"/> that cleans up: it runs while the engine stops too, and is dropped once the engine's memory is gone.</summary>
    public Task CleanUpBetweenSteps(Action work)
    {
        TaskCompletionSource completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_closed)
            {
                return Task.CompletedTask;
            }

            _commands.Enqueue(() =>
            {
                work();
                completion.SetResult();
            });
        }

        Wake();
        return completion.Task;
    }

    /// <summary>Accepts no more requests; those accepted go on.</summary>
    public void Stop() => _stopping = true;

    /// <summary>Accepts no more requests and has the engine's thread end.</summary>
    public void Cancel()
    {
        _cancelled = true;
        _stopping = true;
        Wake();
    }

    /// <summary>The engine's thread takes over what was accepted.</summary>
    public void MoveTo(Scheduler scheduler)
    {
        lock (_gate)
        {
            while (_requests.TryDequeue(out Sequence? sequence))
            {
                scheduler.Add(sequence);
            }
        }
    }

    /// <summary>Runs what is to be done between two steps.</summary>
    public void RunCommands()
    {
        while (true)
        {
            Action? command;
            lock (_gate)
            {
                if (!_commands.TryDequeue(out command))
                {
                    return;
                }
            }

            command();
        }
    }

    /// <summary>From now on nothing is accepted, not even cleaning up. Returns the requests that the engine's thread has not taken over.</summary>
    public Sequence[] Close()
    {
        lock (_gate)
        {
            _closed = true;
            Sequence[] left = [.. _requests];
            _requests.Clear();
            return left;
        }
    }

    /// <summary>Ends the wait of the engine's thread, or its next one.</summary>
    public void Wake()
    {
        lock (_gate)
        {
            if (_wake.CurrentCount == 0)
            {
                _wake.Release();
            }
        }
    }

    /// <summary>Waits until there is something new.</summary>
    /// <param name="milliseconds">How long at most; -1: for ever.</param>
    public void Wait(int milliseconds = Timeout.Infinite) => _wake.Wait(milliseconds);

    private void ThrowIfClosed()
    {
        if (_failure is { } failure)
        {
            throw new GemmaException("The Gemma engine stopped because of an unexpected error, which the log has in full. Load the model again.", failure);
        }

        if (_closed || _cancelled)
        {
            throw new ObjectDisposedException("GemmaModel", "The Gemma model was disposed.");
        }

        if (_stopping)
        {
            throw new GemmaOverloadedException("The Gemma engine is shutting down and accepts no more requests.", isStopping: true);
        }
    }
}
