using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Prompts that requests are going to begin with, computed while there are no requests. The first request that comes ends that, in the middle of a step; what was computed until then stays in the prefix
/// cache, and the rest follows when the last request has gone.
/// </summary>
/// <param name="engine">The engine that computes.</param>
/// <param name="caches">Tells what is in its prefix cache.</param>
/// <param name="inbox">Tells whether there are requests.</param>
/// <param name="logger">Told of prompts that cannot be computed.</param>
internal sealed class IdlePrefixes(GemmaEngine engine, PromptCaches caches, EngineInbox inbox, ILogger logger)
{
    private readonly Lock _gate = new();
    private volatile int[][] _prompts = [];
    private CancellationTokenSource? _work;
    private Task _task = Task.CompletedTask;

    /// <summary>Ends when the prompts are in the cache, or a request has come; ended where neither is waited for.</summary>
    public Task Running
    {
        get
        {
            lock (_gate)
            {
                return _task;
            }
        }
    }

    /// <summary>Keeps these prompts in the cache from now on. Returns <see cref="Running"/>.</summary>
    public Task Keep(int[][] prompts)
    {
        _prompts = prompts;
        Start();
        return Running;
    }

    /// <summary>Begins, or goes on, unless there are requests.</summary>
    public void Start()
    {
        if (_prompts.Length == 0)
        {
            return;
        }

        lock (_gate)
        {
            // A request is counted before it stops this, so that none is missed.
            if (_work is null && inbox.Accepted == 0 && !inbox.IsStopping)
            {
                CancellationTokenSource work = _work = new CancellationTokenSource();
                _task = Task.Run(() => RunAsync(work));
            }
        }
    }

    /// <summary>A request has come: unless it is of these prompts itself, it ends what runs of them.</summary>
    public void GiveWay(GenerationRequest request)
    {
        if (_prompts.Length > 0 && !request.IsIdle)
        {
            CancellationTokenSource? work;
            lock (_gate)
            {
                (work, _work) = (_work, null);
            }

            work?.Cancel();
            Start(); // the request may have ended before this stopped anything, and would start nothing again
        }
    }

    private async Task RunAsync(CancellationTokenSource work)
    {
        try
        {
            foreach (int[] prompt in _prompts)
            {
                // One that is there need not be computed to be kept.
                if (await caches.CountAsync(prompt).ConfigureAwait(false) < prompt.Length)
                {
                    work.Token.ThrowIfCancellationRequested();
                    await engine.EvaluateAsync(prompt, NoRows.Instance, work.Token, isIdle: true).ConfigureAwait(false);
                }
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or ObjectDisposedException or GemmaOverloadedException || inbox.Failure is not null)
        {
            // A request has come, or the engine goes or is lost, which it says itself.
        }
        catch (Exception exception)
        {
            logger.LogWarning(exception, "The beginnings of conversations that GemmaOptions.Warm names cannot be computed ahead and are left to the requests.");
            _prompts = [];
        }

        lock (_gate)
        {
            _work = _work == work ? null : _work;
        }
    }
}
