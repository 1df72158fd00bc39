using System.Diagnostics;
using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>
/// A model that is loaded once, when it is first needed, by however many callers at the same time. A load that failed is tried again. A model that only leases use
/// can be unloaded while there are none; the next lease loads it again.
/// </summary>
/// <param name="path">Full path of the file or directory.</param>
/// <param name="load">Loads it.</param>
/// <param name="loggerFactory">The model's log.</param>
/// <param name="adapters">Names of the adapters that are loaded with it.</param>
/// <param name="idleUnload">Time without a lease after which it is unloaded; null: never.</param>
/// <param name="time">The clock; null: the system's.</param>
internal sealed partial class ModelReference(
    string path, Func<CancellationToken, GemmaModel> load, ILoggerFactory? loggerFactory = null, IReadOnlyList<string>? adapters = null, TimeSpan? idleUnload = null, TimeProvider? time = null) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _unwanted = new();
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly bool _isOwner = true;
    private readonly TimeSpan? _idleUnload = idleUnload;
    private TimeSpan? _keepAlive = idleUnload;
    private Task<GemmaModel>? _loading;
    private Task _unloading = Task.CompletedTask;
    private ITimer? _timer;
    private int _leases;
    private bool _isKept;
    private bool _disposed;

    /// <summary>A reference to a model that is loaded already and belongs to someone else.</summary>
    public ModelReference(GemmaModel model) : this(model.Path, _ => model, model.LoggerFactory)
    {
        _isOwner = false;
        _loading = Task.FromResult(model);
    }

    /// <summary>The model's log, known without loading it.</summary>
    public ILoggerFactory LoggerFactory { get; } = loggerFactory ?? NullLoggerFactory.Instance;

    /// <summary>Full path of the file or directory.</summary>
    public string Path { get; } = path;

    /// <summary>The path as a URI. Outside Windows, <see cref="System.Uri"/> takes a percent sign of a path for an escape, unless it is one.</summary>
    public Uri Uri => new(ModelAliases.IsHub(Path) || OperatingSystem.IsWindows() ? Path : "file://" + string.Join('/', Path.Split('/').Select(Uri.EscapeDataString)));

    /// <summary>Name of the model, known without reading it.</summary>
    public string ModelId { get; } = ModelAliases.ModelId(path);

    /// <summary>Names of the adapters that requests may ask for: those that are loaded, or will be with the model.</summary>
    public IReadOnlyList<string> AdapterNames => Loaded?.Adapters ?? adapters ?? [];

    /// <summary>The model where it has been loaded, else null.</summary>
    public GemmaModel? Loaded => _loading is { IsCompletedSuccessfully: true } loading && !_disposed ? loading.Result : null;

    /// <summary>True if it takes memory: it is loaded, being loaded, or being unloaded.</summary>
    public bool IsLoadedOrLoading => _loading is { IsFaulted: false, IsCanceled: false } || !_unloading.IsCompleted;

    /// <summary>True while it is being loaded.</summary>
    public bool IsLoading => _loading is { IsCompleted: false };

    /// <summary>Why the last load failed, else null.</summary>
    public Exception? LoadError => _loading?.Exception?.GetBaseException();

    /// <summary>Duration of the last load.</summary>
    public TimeSpan LoadTime { get; private set; }

    /// <summary>When the last lease ended.</summary>
    public DateTimeOffset LastUsed { get; private set; }

    /// <summary>When it will be unloaded if nobody uses it before; null: it stays, or it is in use.</summary>
    public DateTimeOffset? UnloadsAt { get; private set; }

    /// <summary>True if somebody uses it or waits for it.</summary>
    public bool IsInUse => Volatile.Read(ref _leases) > 0;

    /// <summary>True if it cannot be unloaded: somebody holds the model itself, or owns it.</summary>
    public bool IsKept => _isKept || !_isOwner;

    /// <summary>Called when it is no longer in use, and when it was unloaded.</summary>
    public Action? Freed { get; set; }

    /// <summary>Time without use after which it is unloaded; null: never. What is set holds until it is unloaded, then the option again.</summary>
    public TimeSpan? KeepAlive
    {
        get => _keepAlive;
        set
        {
            lock (_lock)
            {
                _keepAlive = value;
                if (_leases == 0)
                {
                    Schedule();
                }
            }
        }
    }

    /// <summary>
    /// The model, for whoever keeps it: it is not unloaded any more. Loads it if nobody has. Cancelling gives up waiting, not the load, since others may wait for it too.
    /// </summary>
    public Task<GemmaModel> GetAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            _isKept = true;
            return Load().WaitAsync(cancellationToken);
        }
    }

    /// <summary>The model, until the lease is disposed. Loads it if nobody has.</summary>
    public async ValueTask<ModelLease> LeaseAsync(CancellationToken cancellationToken)
    {
        Task<GemmaModel> loading;
        lock (_lock)
        {
            loading = Load();
            _leases++;
            _timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        }

        try
        {
            return new ModelLease(this, await loading.WaitAsync(cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            Release();
            throw;
        }
    }

    /// <summary>Unloads the model unless somebody uses or keeps it. The task ends when its memory is free; null: it cannot be unloaded now, or is not loaded.</summary>
    public Task? TryUnload()
    {
        lock (_lock)
        {
            if (_leases > 0 || IsKept || _disposed || _loading is not { IsCompletedSuccessfully: true } loaded)
            {
                return null;
            }

            _loading = null;
            _keepAlive = _idleUnload;
            UnloadsAt = null;
            GemmaModel?[] model = [loaded.Result];
            return _unloading = Task.Run(() => Unload(model));
        }
    }

    /// <summary>Disposes the model. A load, or the download before it, is given up: a host that stops does not wait for gigabytes.</summary>
    public void Dispose()
    {
        Task<GemmaModel>? loading;
        Task unloading;
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            loading = _loading;
            unloading = _unloading;
            _timer?.Dispose();
        }

        _unwanted.Cancel();
        unloading.GetAwaiter().GetResult();
        try
        {
            loading?.GetAwaiter().GetResult().Dispose();
        }
        catch (Exception) when (!loading!.IsCompletedSuccessfully)
        {
            // Whoever asked for the model has seen this exception, or is told that it was given up.
        }
    }

    internal void Release()
    {
        lock (_lock)
        {
            LastUsed = _time.GetUtcNow();
            if (--_leases > 0)
            {
                return;
            }

            Schedule();
        }

        Freed?.Invoke();
    }

    /// <summary>Within the lock.</summary>
    private Task<GemmaModel> Load()
    {
        ObjectDisposedException.ThrowIf(_disposed, typeof(GemmaModel));
        UnloadsAt = null;
        if (_loading is null or { IsFaulted: true } or { IsCanceled: true })
        {
            Task before = _unloading;
            _loading = Task.Run(async () =>
            {
                await before.ConfigureAwait(false); // never two of one model in memory
                long started = Stopwatch.GetTimestamp();
                GemmaModel model = load(_unwanted.Token);
                LoadTime = Stopwatch.GetElapsedTime(started);
                return model;
            });
        }

        return _loading;
    }

    /// <summary>Within the lock, when nobody uses the model.</summary>
    private void Schedule()
    {
        UnloadsAt = null;
        if (IsKept || _disposed || _keepAlive is not { } keep || keep < TimeSpan.Zero || _loading is null)
        {
            _timer?.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            return;
        }

        UnloadsAt = _time.GetUtcNow() + keep;
        _timer ??= _time.CreateTimer(static state => ((ModelReference)state!).UnloadIfDue(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _timer.Change(keep, Timeout.InfiniteTimeSpan);
    }

    private void UnloadIfDue()
    {
        lock (_lock)
        {
            if (UnloadsAt is { } due && due <= _time.GetUtcNow())
            {
                _ = TryUnload();
            }
        }
    }

    /// <param name="model">The model, which nothing else may hold while garbage is collected.</param>
    private void Unload(GemmaModel?[] model)
    {
        ILogger logger = LoggerFactory.CreateLogger("Gemma.Extensions.AI");
        try
        {
            model[0]!.Dispose();
            model[0] = null;
            GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true); // tables of the vocabulary; the system gets the pages back
            LogUnloaded(logger, ModelId);
        }
        catch (Exception exception)
        {
            LogNotUnloaded(logger, ModelId, exception);
        }

        Freed?.Invoke();
    }

    [LoggerMessage(8, LogLevel.Information, "Unloaded {ModelId}: nobody used it")]
    private static partial void LogUnloaded(ILogger logger, string modelId);

    [LoggerMessage(9, LogLevel.Error, "Unloading {ModelId} failed")]
    private static partial void LogNotUnloaded(ILogger logger, string modelId, Exception exception);
}

/// <summary>The use of a model, which stays loaded until the lease is disposed.</summary>
internal sealed class ModelLease(ModelReference reference, GemmaModel model) : IDisposable
{
    private ModelReference? _reference = reference;

    public GemmaModel Model => model;

    public void Dispose() => Interlocked.Exchange(ref _reference, null)?.Release();
}
