using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Orleans;

/// <summary>
/// The node of this silo: which models it serves, changed while it runs. A service of every silo with <c>AddGemmaNode</c>. Safe for concurrent use.
/// </summary>
public sealed partial class GemmaNode
{
    private readonly NodeModels _models;
    private readonly NodeJobs _jobs;
    private readonly ClusterView _view;
    private readonly SiloName _silo;
    private readonly GemmaNodeOptions _options;
    private readonly ILogger _logger;

    internal GemmaNode(NodeModels models, NodeJobs jobs, ClusterView view, SiloName silo, IOptions<GemmaNodeOptions> options, ILogger<GemmaNode> logger) =>
        (_models, _jobs, _view, _silo, _options, _logger) = (models, jobs, view, silo, options.Value, logger);

    /// <summary>Names of the models that are served here, in alphabetical order.</summary>
    public IReadOnlyList<string> Models => [.. _models.All.Select(model => model.Name).Order(StringComparer.OrdinalIgnoreCase)];

    /// <summary>Calls that are being answered here.</summary>
    public int RunningCalls => _jobs.Count;

    /// <summary>True once the node takes no new calls.</summary>
    public bool IsDraining => _jobs.IsDraining;

    /// <summary>Told when others should know of a change at once.</summary>
    internal Action? Changed { get; set; }

    /// <summary>
    /// Loads a model and serves it under a name. Where the name is taken, the new model takes it over once it is loaded; calls that the old one has begun end with it, within
    /// <see cref="GemmaNodeOptions.DrainTimeout"/>. Both are in memory meanwhile.
    /// </summary>
    /// <param name="name">Name in the cluster, which clients ask for.</param>
    /// <param name="options">How to load it; <see cref="GemmaOptions.ModelPath"/> says what.</param>
    /// <param name="cancellationToken">Gives up loading.</param>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    /// <exception cref="GemmaModelFormatException">The model is missing, damaged or of a kind that is not supported.</exception>
    public async Task AddModelAsync(string name, GemmaOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentNullException.ThrowIfNull(options);
        string path = options.ModelPath ?? throw new ArgumentException($"The model '{name}' has no path. Set GemmaOptions.ModelPath.", nameof(options));
        GemmaModel model = await GemmaModel.LoadAsync(path, options, cancellationToken).ConfigureAwait(false);
        try
        {
            string identity = await ModelIdentity.OfAsync(model, options, cancellationToken).ConfigureAwait(false);
            Dictionary<string, string> adapters = [];
            foreach ((string adapter, string file) in options.Adapters)
            {
                adapters[adapter] = await ModelIdentity.HashAsync(file, cancellationToken).ConfigureAwait(false);
            }

            HostedModel? before = _models.Swap(name, new HostedModel(name, model, identity, adapters));
            LogServed(_logger, name, identity);
            Changed?.Invoke();
            await RetireAsync(before, cancellationToken).ConfigureAwait(false);
        }
        catch when (!_models.All.Any(hosted => hosted.Model == model))
        {
            model.Dispose();
            throw;
        }
    }

    /// <summary>Serves a model no longer: calls that it has begun end, or go on at other nodes. False: there was none of that name.</summary>
    /// <param name="name">Its name in the cluster.</param>
    /// <param name="cancellationToken">Ends the wait for them; they are handed over then.</param>
    public async Task<bool> RemoveModelAsync(string name, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        HostedModel? before = _models.Swap(name, null);
        Changed?.Invoke();
        await RetireAsync(before, cancellationToken).ConfigureAwait(false);
        return before is not null;
    }

    /// <summary>Adds an adapter (LoRA) to a model that is served here; see <see cref="GemmaModel.LoadAdapter"/>.</summary>
    /// <param name="model">The model's name in the cluster.</param>
    /// <param name="name">The adapter's name.</param>
    /// <param name="path">A directory that PEFT saved, or a GGUF adapter.</param>
    /// <param name="cancellationToken">Gives up before it is added.</param>
    /// <exception cref="ArgumentException">There is no such model here, or the name is taken.</exception>
    public async Task AddAdapterAsync(string model, string name, string path, CancellationToken cancellationToken = default)
    {
        using ModelUse use = Use(model);
        string hash = await ModelIdentity.HashAsync(path, cancellationToken).ConfigureAwait(false);
        await Task.Run(() => use.Model.LoadAdapter(name, path), cancellationToken).ConfigureAwait(false);
        use.Hosted.AddAdapter(name, hash);
        Changed?.Invoke();
    }

    /// <summary>Takes an adapter away from calls to come. False: there was none of that name.</summary>
    /// <param name="model">The model's name in the cluster.</param>
    /// <param name="name">The adapter's name.</param>
    /// <exception cref="ArgumentException">There is no such model here.</exception>
    public bool RemoveAdapter(string model, string name)
    {
        using ModelUse use = Use(model);
        use.Hosted.RemoveAdapter(name);
        bool removed = use.Model.UnloadAdapter(name);
        Changed?.Invoke();
        return removed;
    }

    /// <summary>
    /// Takes no new calls, and hands those that run over to nodes that compute the same; where there is none, they may end here within
    /// <see cref="GemmaNodeOptions.DrainTimeout"/>. A silo that stops does this by itself.
    /// </summary>
    /// <param name="cancellationToken">Ends the wait for calls that have nowhere to go.</param>
    public async Task DrainAsync(CancellationToken cancellationToken = default)
    {
        _jobs.IsDraining = true;
        Changed?.Invoke();
        await LetGoAsync(_ => true, cancellationToken).ConfigureAwait(false);
    }

    private ModelUse Use(string model) => _models.TryUse(model) ?? throw new ArgumentException($"This node serves no model '{model}'. It serves: {string.Join(", ", Models)}.", nameof(model));

    private async Task RetireAsync(HostedModel? model, CancellationToken cancellationToken)
    {
        if (model is not null)
        {
            await LetGoAsync(job => job.Identity?.StartsWith(model.Identity, StringComparison.Ordinal) == true && !_models.All.Any(other => other.Identity == model.Identity), cancellationToken).ConfigureAwait(false);
            await _models.DisposeUnusedAsync(model).ConfigureAwait(false);
        }
    }

    /// <summary>Has calls go on elsewhere, or end here, and waits until their callers know.</summary>
    private async Task LetGoAsync(Func<NodeJob, bool> which, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.DrainTimeout);
        while (_jobs.All.Any(job => which(job) && !job.HasEnded))
        {
            foreach (NodeJob job in _jobs.All.Where(which))
            {
                if (limit.IsCancellationRequested || HasHeir(job))
                {
                    job.End(WireState.LetGo);
                }
            }

            await Task.Delay(20, CancellationToken.None).ConfigureAwait(false);
        }

        while (_jobs.All.Any(which) && !limit.IsCancellationRequested)
        {
            await Task.Delay(20, CancellationToken.None).ConfigureAwait(false); // the last batches are on their way
        }
    }

    private bool HasHeir(NodeJob job) => _view.Nodes.Any(other =>
        other.Silo != _silo.Text && !other.IsDraining && other.Find(job.Model) is { } model && (job.Identity is not { } identity || model.Computes(identity)));

    [LoggerMessage(1, LogLevel.Information, "The node serves {Model}: {Identity}")]
    private static partial void LogServed(ILogger logger, string model, string identity);
}
