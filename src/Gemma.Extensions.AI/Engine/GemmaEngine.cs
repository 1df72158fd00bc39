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
    private readonly KvCache _cache;
    private readonly Backend _backend;
    private readonly GemmaForward _forward;
    private readonly Scheduler _scheduler;
    private readonly DraftModel? _draft;
    private readonly StepOutputs _outputs;
    private readonly EngineMetrics _metrics;
    private readonly byte[] _fingerprint;
    private readonly ForwardBatch _batch;
    private readonly Func<bool> _abandon;
    private readonly Thread _thread;

    private readonly Lock _gate = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly Queue<Sequence> _inbox = new();
    private readonly Queue<Action> _commands = new();
    private readonly CountdownEvent _saves = new(1);
    private long _submitted;
    private int _accepted;
    private volatile bool _stopping;
    private volatile bool _cancelAll;
    private volatile bool _closed;
    private volatile Exception? _failure;

    /// <summary>Bounds the bookkeeping where blocks are tiny.</summary>
    private const int MaxBlocks = 1 << 16;

    /// <summary>Starts the engine, with a smaller model that guesses ahead where one is given. Weights and backend belong to the caller and must outlive it.</summary>
    public GemmaEngine(GemmaConfig config, GemmaWeights weights, Backend backend, EngineOptions options, ILogger? logger = null, (GemmaConfig Config, GemmaWeights Weights)? draft = null)
    {
        _config = config;
        _options = options;
        _backend = backend;
        _logger = logger ?? NullLogger.Instance;
        ContextLength = Math.Min(options.ContextLength ?? config.ContextLength, config.ContextLength);
        var pool = CreatePool(config, backend, options, ContextLength);
        _cache = new KvCache(pool, config.SlidingWindow, options.PrefixCache);
        CapacityTokens = LargestSequence();
        _fingerprint = weights.Fingerprint;
        int maxRows = Scheduler.MaxRows(options);
        try
        {
            _forward = new GemmaForward(config, weights, backend, pool, maxRows, Math.Min(maxRows, 32));
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
        _batch = new ForwardBatch(maxRows, options.MaxConcurrentRequests);
        _abandon = ShouldAbandonStep;
        _thread = new Thread(Loop) { IsBackground = true, Name = "Gemma engine" };
        _thread.UnsafeStart(); // without the context of whoever loads the model, often a request that would never be let go
    }

    /// <summary>Most tokens of one sequence.</summary>
    public int ContextLength { get; }

    /// <summary>Most tokens of one sequence for which there is key/value memory.</summary>
    public int CapacityTokens { get; }

    /// <summary>Whether what was computed is kept for requests that begin the same way.</summary>
    public bool KeepsPrefixes => _options.PrefixCache;

    /// <summary>What the engine is doing, read without stopping it: the numbers are of about the same moment.</summary>
    public EngineStatus Status => new(
        _failure is not null, _stopping, _scheduler.Running.Count, Math.Max(0, Volatile.Read(ref _accepted) - _scheduler.Running.Count), _options.MaxConcurrentRequests, _options.MaxQueuedRequests,
        _cache.Blocks.Count, _cache.Blocks.FreeCount, _cache.Blocks.IdleCount, _scheduler.Preemptions);

    /// <summary>Blocks that the draft model holds for running sequences.</summary>
    public int DraftBlocks => _draft is null ? 0 : _draft.Blocks.Count - _draft.Blocks.FreeCount;

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
        Validate(request);
        var sequence = CreateSequence(request, _metrics.StartActivity(request));
        if (request.Constraint is { } constraint)
        {
            constraint.WhenPrepared = Wake;
        }

        try
        {
            Accept(sequence);
        }
        catch
        {
            sequence.Activity?.Dispose();
            throw;
        }

        Wake();
    }

    private void Accept(Sequence sequence)
    {
        lock (_gate)
        {
            ThrowIfClosed();
            if (_accepted >= (long)_options.MaxConcurrentRequests + _options.MaxQueuedRequests)
            {
                throw new GemmaOverloadedException(
                    $"{_options.MaxConcurrentRequests:N0} requests run and {_options.MaxQueuedRequests:N0} wait, which is as many as this engine accepts. Try again later, or raise GemmaOptions.MaxQueuedRequests.");
            }

            _accepted++;
            _inbox.Enqueue(sequence);
        }
    }

    /// <summary>Computes a prompt for its logits or hidden states without generating.</summary>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public async Task<GenerationResult> EvaluateAsync(int[] tokens, RowReader reader, CancellationToken cancellationToken = default, LoraWeights? adapter = null)
    {
        var sink = new CompletionSink();
        Submit(new GenerationRequest { Prompt = tokens, Sink = sink, Reader = reader, Adapter = adapter, CancellationToken = cancellationToken });
        var result = await sink.Completion.ConfigureAwait(false);
        if (result.Finish == EngineFinish.Cancelled)
        {
            throw new OperationCanceledException(cancellationToken);
        }

        if (result.Error is not null)
        {
            ExceptionDispatchInfo.Throw(result.Error);
        }

        return result;
    }

    /// <summary>Computes a prompt and writes its keys and values to a file, from which <see cref="LoadPromptCacheAsync"/> makes it warm at once.</summary>
    /// <exception cref="GemmaContextLengthException">The prompt is longer than the context.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off, or there was no memory to keep the prompt.</exception>
    public async Task SavePromptCacheAsync(string path, int[] tokens, CancellationToken cancellationToken = default)
    {
        var request = new GenerationRequest { Prompt = tokens, Sink = new CompletionSink(), Reader = NoRows.Instance };
        await EvaluateAsync(tokens, request.Reader, cancellationToken).ConfigureAwait(false);
        var sequence = await Between(() =>
        {
            var held = CreateSequence(request);
            _cache.Extend(held, tokens.Length);
            _saves.AddCount();
            return held;
        }).ConfigureAwait(false);
        try
        {
            if (sequence.Computed < tokens.Length)
            {
                throw new InvalidOperationException(
                    $"Only {sequence.Computed:N0} of {tokens.Length:N0} tokens stayed in the prefix cache. Turn GemmaOptions.PrefixCache on, or raise GemmaOptions.KvCacheBytes.");
            }

            await Task.Run(() => PromptCacheFile.Write(path, _fingerprint, _cache.Pool, _config.SlidingWindow, sequence), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await ReleaseAsync(sequence).ConfigureAwait(false);
            _saves.Signal();
        }
    }

    /// <summary>Reads a file of <see cref="SavePromptCacheAsync"/> into the prefix cache. Returns how many tokens are warm.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, or was saved with another model or type of key/value memory. Nothing was loaded.</exception>
    /// <exception cref="GemmaKvCacheException">The prompt does not fit the key/value memory that is not in use.</exception>
    /// <exception cref="InvalidOperationException">The prefix cache is off.</exception>
    public async Task<int> LoadPromptCacheAsync(string path, CancellationToken cancellationToken = default)
    {
        if (!KeepsPrefixes)
        {
            throw new InvalidOperationException($"'{path}' cannot be loaded: there is no prefix cache to load it into. Turn GemmaOptions.PrefixCache on.");
        }

        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
        int firstLocalBlock = 0;
        int[] tokens = await Task.Run(
            () => PromptCacheFile.Open(file, path, _fingerprint, _cache.Pool.Layout, _config.SlidingWindow, ContextLength, out firstLocalBlock), cancellationToken).ConfigureAwait(false);
        var request = new GenerationRequest { Prompt = tokens, Sink = new CompletionSink(), Reader = NoRows.Instance };
        Validate(request);
        return await Between(() =>
        {
            var sequence = CreateSequence(request);
            try
            {
                return _cache.TryRestore(sequence, file, firstLocalBlock) ? tokens.Length : throw DoesNotFit(tokens.Length);
            }
            finally
            {
                _cache.Release(sequence);
            }
        }).ConfigureAwait(false);
    }

    /// <summary>Refuses new requests, lets the accepted ones finish until <paramref name="deadline"/> is cancelled, then ends the rest and the thread.</summary>
    public async Task StopAsync(CancellationToken deadline)
    {
        _stopping = true;
        while (Volatile.Read(ref _accepted) > 0 && !deadline.IsCancellationRequested)
        {
            await Task.Delay(5, CancellationToken.None).ConfigureAwait(false);
        }

        _cancelAll = true;
        Wake();
        await Task.Run(_thread.Join).ConfigureAwait(false);
    }

    /// <summary>Cancels every request and ends the thread.</summary>
    public void Dispose()
    {
        _cancelAll = true;
        _stopping = true;
        Wake();
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
                Sweep();
                _outputs.Resume(_scheduler.Running, _scheduler.Waiting);
                CompleteFinished();
                _scheduler.Plan(_batch);
                if (_batch.Rows > 0)
                {
                    Step();
                    ThrowIfLost();
                }
                else if (_scheduler.HasWork)
                {
                    _wake.Wait(10); // a prompt that is being saved holds the memory, or masks are worked out; the end of that wakes the loop, a cancellation does not
                }
            }
        }
        catch (Exception exception)
        {
            _failure = exception;
            _logger.LogCritical(exception, "The Gemma engine stopped because of an unexpected error; every request fails from now on.");
        }
        finally
        {
            CompleteAll();
            _saves.Signal();
            _saves.Wait(); // A file that is being written is read from the blocks.
            _metrics.Dispose();
            _draft?.Dispose();
            _forward.Dispose();
            _cache.Dispose();
        }
    }

    /// <summary>Takes over what was submitted; sleeps where there is nothing to do. False: the engine ends.</summary>
    private bool TryGetWork()
    {
        while (true)
        {
            lock (_gate)
            {
                while (_inbox.TryDequeue(out var sequence))
                {
                    _scheduler.Add(sequence);
                }
            }

            if (_cancelAll)
            {
                return false;
            }

            RunCommands();
            if (_scheduler.HasWork)
            {
                return true;
            }

            _wake.Wait();
        }
    }

    private void Step()
    {
        long start = Stopwatch.GetTimestamp();
        Matrix? hidden = null;
        bool alone = false;
        try
        {
            hidden = _forward.Run(_batch, _abandon);
        }
        catch (Exception exception)
        {
            ThrowIfLost();
            _logger.LogError(exception, "A forward pass of the Gemma engine failed; the {Count} requests in it are tried one by one.", _scheduler.Planned.Count);
            alone = true;
        }

        if (alone)
        {
            StepOneByOne();
        }
        else if (hidden is not null) // else the step was abandoned
        {
            Deliver(hidden);
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

    /// <summary>
    /// After a fault that belongs to no request for all that is known: nothing was committed, so each one's rows are computed again, alone, and only
    /// the request ends with which the fault comes back.
    /// </summary>
    private void StepOneByOne()
    {
        foreach (var sequence in _scheduler.Planned.ToArray())
        {
            _scheduler.PlanAlone(_batch, sequence);
            Matrix? hidden = null;
            try
            {
                hidden = _forward.Run(_batch, _abandon);
            }
            catch (Exception exception)
            {
                _logger.LogError(exception, "The forward pass failed again with one request alone, which ends.");
                sequence.Fail(exception);
            }

            if (hidden is not null)
            {
                Deliver(hidden);
            }
        }
    }

    /// <summary>What follows a forward pass.</summary>
    private void Deliver(Matrix hidden)
    {
        try
        {
            Commit();
            _outputs.Deliver(_batch, _scheduler.Planned, hidden);
            CommitDrafts();
        }
        catch (Exception exception)
        {
            _logger.LogError(exception, "The outcome of a step of the Gemma engine could not be delivered; the {Count} requests in it end.", _scheduler.Planned.Count);
            foreach (var sequence in _scheduler.Planned)
            {
                sequence.Fail(exception);
            }
        }
    }

    /// <summary>The step computed these tokens: they are in memory now, and prompts that others have too can be shared.</summary>
    private void Commit()
    {
        foreach (var sequence in _scheduler.Planned)
        {
            _cache.Commit(sequence, sequence.Computed + Math.Min(sequence.StepRows, sequence.Pending));
        }
    }

    /// <summary>Guesses that were right have been computed as well.</summary>
    private void CommitDrafts()
    {
        foreach (var sequence in _scheduler.Planned)
        {
            if (sequence.DraftCount > 0)
            {
                _cache.Commit(sequence, sequence.Computed + sequence.AcceptedDraft);
                _metrics.Guesses(sequence.DraftCount, sequence.AcceptedDraft);
                NGramDraft.Learn(sequence, _options.SpeculativeTokens);
            }
        }
    }

    /// <summary>Whether the step that is running is not worth finishing: a prompt in it was cancelled or is late, or the engine ends.</summary>
    private bool ShouldAbandonStep()
    {
        if (_cancelAll)
        {
            return true;
        }

        foreach (var sequence in _scheduler.Planned)
        {
            if (sequence.StepRows > Scheduler.MaxForcedTokens && (sequence.Request.CancellationToken.IsCancellationRequested || Stopwatch.GetTimestamp() > sequence.Deadline))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Ends what was cancelled or is late.</summary>
    private void Sweep()
    {
        long now = Stopwatch.GetTimestamp();
        Mark(_scheduler.Waiting, now);
        Mark(_scheduler.Running, now);
        CompleteFinished();

        static void Mark(List<Sequence> sequences, long now)
        {
            foreach (var sequence in sequences)
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
        Interlocked.Decrement(ref _accepted);
        var result = new GenerationResult(
            sequence.Finish!.Value, sequence.PromptCount, sequence.GeneratedCount, sequence.CachedTokens, sequence.Error);
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
        List<Sequence> left;
        lock (_gate)
        {
            _closed = true;
            left = [.. _scheduler.Running, .. _scheduler.Waiting, .. _inbox];
            _inbox.Clear();
        }

        _scheduler.Running.Clear();
        _scheduler.Waiting.Clear();
        foreach (var sequence in left)
        {
            sequence.Fail(_failure ?? new ObjectDisposedException("GemmaModel", "The Gemma model was disposed before the request was finished."));
            Tell(sequence);
        }

        RunCommands();
    }

    private void RunCommands()
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

    /// <summary>Runs <paramref name="work"/> on the engine's thread between two steps.</summary>
    private Task<T> Between<T>(Func<T> work)
    {
        var completion = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
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

    /// <summary>Takes all blocks from a sequence that does not run, also while the engine stops; when it has ended there is nothing to take.</summary>
    private Task ReleaseAsync(Sequence sequence)
    {
        var completion = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            if (_closed)
            {
                return Task.CompletedTask;
            }

            _commands.Enqueue(() =>
            {
                _cache.Release(sequence);
                completion.SetResult();
            });
        }

        Wake();
        return completion.Task;
    }

    private void Wake()
    {
        lock (_gate)
        {
            if (_wake.CurrentCount == 0)
            {
                _wake.Release();
            }
        }
    }

    private void ThrowIfClosed()
    {
        if (_failure is { } failure)
        {
            throw new GemmaException("The Gemma engine stopped because of an unexpected error, which the log has in full. Load the model again.", failure);
        }

        if (_closed || _cancelAll)
        {
            throw new ObjectDisposedException("GemmaModel", "The Gemma model was disposed.");
        }

        if (_stopping)
        {
            throw new GemmaOverloadedException("The Gemma engine is shutting down and accepts no more requests.");
        }
    }

    private void Validate(GenerationRequest request)
    {
        ArgumentOutOfRangeException.ThrowIfZero(request.Prompt.Length, "Prompt.Length");
        if (!_config.HasLogits && request.Reader is not { WantsHidden: true })
        {
            throw new NotSupportedException($"'{_options.ModelName}' predicts no tokens: {_config.UseWithoutLogits()}");
        }

        if (request.Prompt.Length > ContextLength)
        {
            throw new GemmaContextLengthException(request.Prompt.Length, ContextLength);
        }

        foreach (int token in request.Prompt)
        {
            if ((uint)token >= (uint)_config.VocabularySize)
            {
                throw new ArgumentOutOfRangeException(nameof(request), token, $"The prompt has a token id outside the vocabulary of {_config.VocabularySize:N0}.");
            }
        }

        // Without a number of output tokens the answer may end early where memory does; a promised number must fit.
        long output = request.MaxOutputTokens == int.MaxValue ? 0 : request.MaxOutputTokens;
        int tokens = (int)Math.Min(ContextLength, request.Prompt.Length + output);
        if (tokens > CapacityTokens)
        {
            throw DoesNotFit(tokens);
        }
    }

    private GemmaKvCacheException DoesNotFit(int tokens)
    {
        var pool = _cache.Pool;
        return new GemmaKvCacheException(
            tokens, _cache.BlocksFor(tokens, _options.PrefillChunk) * pool.Layout.BlockBytes, pool.BlockCount * pool.Layout.BlockBytes);
    }

    private Sequence CreateSequence(GenerationRequest request, Activity? activity = null) =>
        new(request, Math.Min(ContextLength, CapacityTokens), _config.VocabularySize, _cache.BlockTokens, _options.SpeculativeTokens, Interlocked.Increment(ref _submitted))
        {
            Activity = activity,
        };

    private static KvPool CreatePool(GemmaConfig config, Backend backend, EngineOptions options, int contextLength)
    {
        var layout = GemmaForward.KvLayout(config, options.BlockTokens, options.KvType);
        long one = KvCache.BlocksFor(contextLength, options.PrefillChunk, config.SlidingWindow, options.BlockTokens);
        long budget = options.KvCacheBytes ?? Math.Clamp(
            options.MaxConcurrentRequests * one * layout.BlockBytes, one * layout.BlockBytes, Math.Max(one * layout.BlockBytes, backend.ReadMemory().LimitBytes / 4));
        long blocks = Math.Min(budget / layout.BlockBytes, MaxBlocks);
        if (blocks < 4)
        {
            throw new ArgumentOutOfRangeException(
                nameof(options), budget, $"KvCacheBytes holds {blocks} blocks of {layout.BlockBytes:N0} bytes; a whole context of {contextLength:N0} tokens needs {one:N0}, and less than 4 cannot work.");
        }

        return backend.CreateKvPool(layout, (int)blocks);
    }

    private int LargestSequence()
    {
        int low = 0;
        int high = ContextLength;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            bool fits = _cache.BlocksFor(middle, _options.PrefillChunk) <= _cache.Blocks.Count;
            (low, high) = fits ? (middle, high) : (low, middle - 1);
        }

        return low;
    }

    private sealed class CompletionSink : GenerationSink
    {
        private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<GenerationResult> Completion => _completion.Task;

        public override bool OnToken(int token) => true;

        public override void OnCompleted(GenerationResult result) => _completion.SetResult(result);
    }
}

/// <summary>What an engine is doing at a moment.</summary>
/// <param name="Failed">The engine ended because of an unexpected error.</param>
/// <param name="Stopping">The engine accepts no more requests.</param>
/// <param name="Running">Sequences in the batch.</param>
/// <param name="Waiting">Requests accepted but not running.</param>
/// <param name="MaxRunning">Sequences that may be in the batch at most.</param>
/// <param name="MaxWaiting">Requests that may wait at most.</param>
/// <param name="Blocks">Blocks of key/value memory.</param>
/// <param name="FreeBlocks">Blocks that hold nothing.</param>
/// <param name="CachedBlocks">Blocks that hold prefixes which no sequence uses: had back when needed.</param>
/// <param name="Preemptions">How often a sequence had to give its memory back.</param>
internal readonly record struct EngineStatus(
    bool Failed, bool Stopping, int Running, int Waiting, int MaxRunning, int MaxWaiting, int Blocks, int FreeBlocks, int CachedBlocks, long Preemptions)
{
    /// <summary>Blocks that sequences hold.</summary>
    public int UsedBlocks => Blocks - FreeBlocks - CachedBlocks;
}
