using System.Diagnostics;
using System.Runtime.ExceptionServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Runs any number of requests on one model: a thread of its own takes one step after another, each with rows of many sequences. Requests join
/// and leave between any two steps; one request is a batch of one.
/// </summary>
internal sealed class GemmaEngine : IDisposable
{
    private readonly GemmaConfig _config;
    private readonly EngineOptions _options;
    private readonly ILogger _logger;
    private readonly EngineInbox _inbox;
    private readonly EngineCapacity _capacity;
    private readonly KvCache _cache;
    private readonly Backend _backend;
    private readonly GemmaForward _forward;
    private readonly Scheduler _scheduler;
    private readonly DraftModel? _draft;
    private readonly StepOutputs _outputs;
    private readonly PromptCaches _promptCaches;
    private readonly EngineMetrics _metrics;
    private readonly ForwardBatch _batch;
    private readonly Func<bool> _abandon;
    private readonly Thread _thread;
    private long _submitted;

    /// <summary>Starts the engine, with a smaller model that guesses ahead where one is given. Weights and backend belong to the caller and must outlive it.</summary>
    public GemmaEngine(GemmaConfig config, GemmaWeights weights, Backend backend, EngineOptions options, ILogger? logger = null, (GemmaConfig Config, GemmaWeights Weights)? draft = null)
    {
        _config = config;
        _options = options;
        _backend = backend;
        _logger = logger ?? NullLogger.Instance;
        _inbox = new EngineInbox(options);
        _capacity = new EngineCapacity(config, backend, options);
        _cache = new KvCache(backend.CreateKvPool(_capacity.Layout, _capacity.Blocks), config.SlidingWindow, options.PrefixCache);
        int maxRows = Scheduler.MaxRows(options);
        try
        {
            _forward = new GemmaForward(config, weights, backend, _cache.Pool, maxRows, Math.Min(maxRows, 32));
            _draft = draft is { } small ? new DraftModel(small.Config, small.Weights, backend, config.VocabularySize, ContextLength, options) : null;
        }
        catch
        {
            _forward?.Dispose();
            _cache.Dispose();
            throw;
        }

        _scheduler = new Scheduler(_cache, options, _draft);
        _metrics = new EngineMetrics(options.ModelName, () => Status, _logger);
        _outputs = new StepOutputs(config, _forward, _metrics, options.Gaps, maxRows);
        _promptCaches = new PromptCaches(_cache, _capacity, _inbox, weights, config.SlidingWindow, backend.HasPromptKernels);
        IdlePrefixes = new IdlePrefixes(this, _promptCaches, _inbox, _logger);
        _batch = new ForwardBatch(maxRows, options.MaxConcurrentRequests);
        _abandon = ShouldAbandonStep;
        _thread = new Thread(Loop) { IsBackground = true, Name = "Gemma engine" };
        _thread.UnsafeStart(); // without the execution context of the loading thread, often a request's, which would never be released
    }

    /// <inheritdoc cref="EngineCapacity.ContextLength"/>
    public int ContextLength => _capacity.ContextLength;

    /// <inheritdoc cref="EngineCapacity.MaxTokens"/>
    public int CapacityTokens => _capacity.MaxTokens;

    public int BlockTokens => _cache.BlockTokens;

    /// <summary>True if keys and values are kept for requests that share a prefix.</summary>
    public bool KeepsPrefixes => _options.PrefixCache;

    /// <summary>State of the engine, read without stopping it, so the numbers are only about simultaneous.</summary>
    public EngineStatus Status => new(
        _inbox.Failure is not null, _inbox.IsStopping, _scheduler.Running.Count, Math.Max(0, _inbox.Accepted - _scheduler.Running.Count), _options.MaxConcurrentRequests, _options.MaxQueuedRequests,
        _cache.Blocks.Count, _cache.Blocks.FreeCount, _cache.Blocks.IdleCount, _scheduler.Preemptions)
    {
        Arriving = _inbox.Arriving,
    };

    /// <summary>Blocks that the draft model holds for running sequences.</summary>
    public int DraftBlocks => _draft is null ? 0 : _draft.Blocks.Count - _draft.Blocks.FreeCount;

    /// <summary>Prompts that are computed while there are no requests.</summary>
    public IdlePrefixes IdlePrefixes { get; }

    /// <summary>Times the loop went round.</summary>
    public long Steps { get; private set; }

    /// <summary>Queues a request and returns at once; everything else is told to its sink on the engine's thread.</summary>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    /// <exception cref="GemmaKvCacheException">The request needs more key/value memory than there is in total.</exception>
    /// <exception cref="GemmaOverloadedException">Too many requests wait already, or the engine is stopping.</exception>
    /// <exception cref="NotSupportedException">The request needs logits, and the model predicts no tokens.</exception>
    /// <exception cref="ObjectDisposedException">The engine was disposed.</exception>
    public void Submit(GenerationRequest request)
    {
        if (!_config.HasLogits && request.Reader is not { WantsHidden: true })
        {
            throw new NotSupportedException($"'{_options.ModelName}' predicts no tokens: {_config.UseWithoutLogits()}");
        }

        _capacity.ThrowIfTooSmallFor(request);
        Sequence sequence = new(request, CapacityTokens, _config.VocabularySize, _cache.BlockTokens, _options.SpeculativeTokens, Interlocked.Increment(ref _submitted), _backend.HasPromptKernels)
        {
            Activity = _metrics.StartActivity(request),
        };
        request.Constraint?.WhenPrepared = _inbox.Wake;

        try
        {
            _inbox.Accept(sequence);
        }
        catch
        {
            sequence.Activity?.Dispose();
            throw;
        }

        IdlePrefixes.GiveWay(request);
    }

    /// <summary>Computes a prompt for its logits or hidden states without generating.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<GenerationResult> EvaluateAsync(int[] tokens, RowReader reader, CancellationToken cancellationToken = default, LoraWeights? adapter = null, bool isIdle = false)
    {
        CompletionSink sink = new();
        Submit(new GenerationRequest { Prompt = tokens, Sink = sink, Reader = reader, Adapter = adapter, CancellationToken = cancellationToken, IsIdle = isIdle });
        return await sink.WaitAsync(cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Computes a prompt and writes its keys and values to a file, from which <see cref="LoadPromptCacheAsync"/> makes it warm at once.</summary>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off, or there was no memory to keep the prompt.</exception>
    public async Task SavePromptCacheAsync(string path, int[] tokens, CancellationToken cancellationToken = default)
    {
        await EvaluateAsync(tokens, NoRows.Instance, cancellationToken).ConfigureAwait(false);
        await _promptCaches.SaveAsync(path, tokens, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Reads a file of <see cref="SavePromptCacheAsync"/> into the prefix cache. Returns how many tokens are warm.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, or was saved with another model or type of key/value memory. Nothing was loaded.</exception>
    /// <exception cref="GemmaKvCacheException">The prompt does not fit the key/value memory that is not in use.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off.</exception>
    public Task<int> LoadPromptCacheAsync(string path, CancellationToken cancellationToken = default) => KeepsPrefixes
        ? _promptCaches.LoadAsync(path, cancellationToken)
        : Task.FromException<int>(new InvalidOperationException($"'{path}' cannot be loaded: there is no prefix cache to load it into. Turn GemmaOptions.PrefixCache on."));

    /// <summary>Hashes of the full blocks whose keys and values are kept, most recently used first; comparable with <see cref="PrefixTree.HashBlocks"/>.</summary>
    public Task<ulong[]> WarmBlocksAsync(int most) => _inbox.RunBetweenSteps(() => _cache.Tree.Hashes(most));

    /// <summary>Refuses new requests, lets the accepted ones finish until <paramref name="deadline"/> is cancelled, then ends the rest and the thread.</summary>
    public async Task StopAsync(CancellationToken deadline)
    {
        _inbox.Stop();
        while (_inbox.Accepted > 0 && !deadline.IsCancellationRequested)
        {
            await Task.Delay(5, CancellationToken.None).ConfigureAwait(false);
        }

        _inbox.Cancel();
        await Task.Run(_thread.Join).ConfigureAwait(false);
    }

    /// <summary>Cancels every request and ends the thread.</summary>
    public void Dispose()
    {
        _inbox.Cancel();
        if (Thread.CurrentThread != _thread)
        {
            _thread.Join();
        }
    }

    private void Loop()
    {
        try
        {
            while (TryGetWork())
            {
                Steps++;
                Schedule();
                if (_batch.Rows > 0)
                {
                    Step();
                    ThrowIfLost();
                }
                else if (_scheduler.HasWork)
                {
                    _inbox.Wait(10); // a prompt that is being saved holds the memory, or masks are worked out; the end of that wakes the loop, a cancellation does not
                }
            }
        }
        catch (Exception exception)
        {
            _inbox.Failure = exception;
            _logger.LogCritical(exception, "The Gemma engine stopped because of an unexpected error; every request fails from now on.");
        }
        finally
        {
            CompleteAll();
            _promptCaches.Dispose();
            _metrics.Dispose();
            _draft?.Dispose();
            _forward.Dispose();
            _cache.Dispose();
        }
    }

    /// <summary>Takes over new requests and sleeps while there is nothing to do. False: the engine stops.</summary>
    private bool TryGetWork()
    {
        while (true)
        {
            _inbox.MoveTo(_scheduler);
            if (_inbox.IsCancelled)
            {
                return false;
            }

            _inbox.RunCommands();
            if (_scheduler.HasWork)
            {
                return true;
            }

            _inbox.Wait();
        }
    }

    /// <summary>Fills the batch, after sequences that are due to end have ended and those whose masks were worked out meanwhile have their next token.</summary>
    private void Schedule()
    {
        Sweep();
        _outputs.Resume(_scheduler.Running, _scheduler.Waiting);
        CompleteFinished();
        _scheduler.Plan(_batch);
    }

    private void Step()
    {
        long start = Stopwatch.GetTimestamp();
        Matrix? hidden = Run(out Exception? error);
        if (error is not null)
        {
            ThrowIfLost();
            _logger.LogError(error, "A forward pass of the Gemma engine failed; the {Count} requests in it are tried one by one.", _scheduler.Planned.Count);
            StepOneByOne();
        }
        else if (hidden is not null)
        {
            Postprocess(hidden);
            _backend.Wait();
            _scheduler.Observe(_batch.Rows, Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        _scheduler.Forget(_batch);
        CompleteFinished();
    }

    /// <summary>Ends the engine where the device it computed on is gone: nothing can be tried again, and what was committed of the step is void.</summary>
    private void ThrowIfLost()
    {
        if (_backend.Failure is { } failure)
        {
            ExceptionDispatchInfo.Throw(failure);
        }
    }

    /// <summary>The failing request is unknown and nothing was committed, so every request is run again alone; only one that fails again is ended.</summary>
    private void StepOneByOne()
    {
        foreach (Sequence sequence in _scheduler.Planned.ToArray())
        {
            _scheduler.PlanAlone(_batch, sequence);
            Matrix? hidden = Run(out Exception? error);
            if (error is not null)
            {
                _logger.LogError(error, "The forward pass failed again with one request alone, which ends.");
                sequence.Fail(error);
            }
            else if (hidden is not null)
            {
                Postprocess(hidden);
            }
        }
    }

    /// <summary>The forward pass of the batch: final hidden states [rows, hidden]; null where it failed, or was given up.</summary>
    private Matrix? Run(out Exception? error)
    {
        try
        {
            error = null;
            return _forward.Run(_batch, _abandon);
        }
        catch (Exception exception)
        {
            error = exception;
            return null;
        }
    }

    /// <summary>Commits what the step computed, draws the next tokens and gives them to their sinks.</summary>
    private void Postprocess(Matrix hidden)
    {
        try
        {
            Commit();
            _outputs.Process(_batch, _scheduler.Planned, hidden);
            CommitDrafts();
        }
        catch (Exception exception)
        {
            _logger.LogError(exception, "The outcome of a step of the Gemma engine could not be delivered; the {Count} requests in it end.", _scheduler.Planned.Count);
            foreach (Sequence sequence in _scheduler.Planned)
            {
                sequence.Fail(exception);
            }
        }
    }

    /// <summary>Commits the tokens that the step computed, so that other sequences can share them.</summary>
    private void Commit()
    {
        foreach (Sequence sequence in _scheduler.Planned)
        {
            _cache.Commit(sequence.Blocks, sequence.Tokens[..(sequence.Computed + Math.Min(sequence.StepRows, sequence.Pending))]);
        }
    }

    /// <summary>Commits the accepted guesses, whose keys and values the step computed as well.</summary>
    private void CommitDrafts()
    {
        foreach (Sequence sequence in _scheduler.Planned)
        {
            if (sequence.DraftCount > 0)
            {
                _cache.Commit(sequence.Blocks, sequence.Tokens[..(sequence.Computed + sequence.AcceptedDraft)]);
                _metrics.Guesses(sequence.DraftCount, sequence.AcceptedDraft);
                NGramDraft.Learn(sequence, _options.SpeculativeTokens);
            }
        }
    }

    /// <summary>True if the running step is not worth finishing: one of its prompts was cancelled or is past its deadline, or the engine stops.</summary>
    private bool ShouldAbandonStep() => _inbox.IsCancelled || _scheduler.HoldsEndedPrompt;

    /// <summary>Ends requests that were cancelled or are past their deadline.</summary>
    private void Sweep()
    {
        long now = Stopwatch.GetTimestamp();
        Mark(_scheduler.Waiting, now);
        Mark(_scheduler.Running, now);
        CompleteFinished();

        static void Mark(List<Sequence> sequences, long now)
        {
            foreach (Sequence sequence in sequences)
            {
                if (sequence.Request.CancellationToken.IsCancellationRequested)
                {
                    sequence.Finish = EngineFinish.Cancelled;
                }
                else if (now > sequence.Deadline)
                {
                    sequence.Fail(new TimeoutException(
                        $"The request was not finished within its time limit of {sequence.Request.Timeout}; {sequence.GeneratedCount:N0} tokens were generated."));
                }
                else if (sequence.Count >= sequence.MaxTokens && sequence.Request.Reader is null)
                {
                    sequence.Finish ??= EngineFinish.Length;
                }
            }
        }
    }

    private void CompleteFinished()
    {
        CompleteFinished(_scheduler.Running);
        CompleteFinished(_scheduler.Waiting);
    }

    private void CompleteFinished(List<Sequence> sequences)
    {
        for (int i = sequences.Count - 1; i >= 0; i--)
        {
            if (sequences[i].Finish is not null)
            {
                Complete(sequences[i]);
            }
        }
    }

    /// <summary>Gives the memory back, then tells the sink, once.</summary>
    private void Complete(Sequence sequence)
    {
        _scheduler.Remove(sequence);
        Tell(sequence);
    }

    private void Tell(Sequence sequence)
    {
        sequence.Request.Constraint?.Stop();
        sequence.LetGo();
        _inbox.Complete(sequence);
        IdlePrefixes.Start();
        GenerationResult result = new(
            sequence.Finish!.Value, sequence.PromptCount, sequence.GeneratedCount, Math.Min(sequence.CachedTokens, sequence.PromptCount), sequence.Error);
        _metrics.Completed(sequence, result);
        try
        {
            sequence.Request.Sink.OnCompleted(result);
        }
        catch (Exception exception)
        {
            _logger.LogError(exception, "A sink threw when its request was complete.");
        }
    }

    /// <summary>
    /// Ends everything that is left when the engine ends, requests that were accepted meanwhile included. Their memory goes with the pool: after an
    /// unexpected error its bookkeeping is not to be relied on.
    /// </summary>
    private void CompleteAll()
    {
        Sequence[] left = [.. _scheduler.Running, .. _scheduler.Waiting, .. _inbox.Close()];
        _scheduler.Running.Clear();
        _scheduler.Waiting.Clear();
        foreach (Sequence sequence in left)
        {
            sequence.Fail(_inbox.Failure ?? new ObjectDisposedException("GemmaModel", "The Gemma model was disposed before the request was finished."));
            Tell(sequence);
        }

        _inbox.RunCommands();
    }
}
