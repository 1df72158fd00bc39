using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>A model that is loaded once, when it is first needed, by however many callers at the same time. A load that failed is tried again.</summary>
/// <param name="path">Full path of the file or directory.</param>
/// <param name="load">Loads it.</param>
/// <param name="loggerFactory">Where the model logs to.</param>
/// <param name="adapters">Names of the adapters that are loaded with it.</param>
internal sealed class ModelReference(string path, Func<CancellationToken, GemmaModel> load, ILoggerFactory? loggerFactory = null, IReadOnlyList<string>? adapters = null) : IDisposable
{
    private readonly Lock _lock = new();
    private readonly CancellationTokenSource _unwanted = new();
    private Task<GemmaModel>? _loading;
    private bool _disposed;

    /// <summary>A reference to a model that is loaded already and belongs to someone else.</summary>
    public ModelReference(GemmaModel model) : this(model.Path, _ => model, model.LoggerFactory)
    {
        _loading = Task.FromResult(model);
    }

    /// <summary>Where the model logs to, known without loading it.</summary>
    public ILoggerFactory LoggerFactory { get; } = loggerFactory ?? NullLoggerFactory.Instance;

    /// <summary>Full path of the file or directory.</summary>
    public string Path { get; } = path;

    /// <summary>The path as a URI. Outside Windows, <see cref="System.Uri"/> takes a percent sign of a path for an escape, unless it is one.</summary>
    public Uri Uri => new(ModelAliases.IsHub(Path) || OperatingSystem.IsWindows() ? Path : "file://" + string.Join('/', Path.Split('/').Select(Uri.EscapeDataString)));

    /// <summary>Name of the model, known without reading it.</summary>
    public string ModelId { get; } = ModelAliases.ModelId(path);

    /// <summary>The model; loads it if nobody has. Cancelling gives up waiting, not the load, since others may wait for it too.</summary>
    public Task<GemmaModel> GetAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, typeof(GemmaModel));
            if (_loading is null or { IsFaulted: true })
            {
                _loading = Task.Run(() => load(_unwanted.Token), CancellationToken.None);
            }

            return _loading.WaitAsync(cancellationToken);
        }
    }

    /// <summary>Names of the adapters that requests may ask for: those that are loaded, or will be with the model.</summary>
    public IReadOnlyList<string> AdapterNames => Loaded?.Adapters ?? adapters ?? [];

    /// <summary>The model where it has been loaded, else null.</summary>
    public GemmaModel? Loaded => _loading is { IsCompletedSuccessfully: true } loading && !_disposed ? loading.Result : null;

    /// <summary>Why the last load failed, else null.</summary>
    public Exception? LoadError => _loading?.Exception?.GetBaseException();

    /// <summary>Disposes the model. A load, or the download before it, is given up: a host that stops does not wait for gigabytes.</summary>
    public void Dispose()
    {
        Task<GemmaModel>? loading;
        lock (_lock)
        {
            if (_disposed)
            {
                return;
            }

            _disposed = true;
            loading = _loading;
        }

        _unwanted.Cancel();
        try
        {
            loading?.GetAwaiter().GetResult().Dispose();
        }
        catch (Exception) when (!loading!.IsCompletedSuccessfully)
        {
            // Whoever asked for the model has seen this exception, or is told that it was given up.
        }
    }
}
