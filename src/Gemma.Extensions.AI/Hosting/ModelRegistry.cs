using System.Collections.Concurrent;
using System.Diagnostics;
using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>The models of one service provider: one a path, however many clients and generators use it, disposed with the provider.</summary>
internal sealed partial class ModelRegistry(IOptionsMonitor<GemmaOptions> options, IEnumerable<GemmaRegistration> registrations, ILoggerFactory? loggerFactory = null, TimeProvider? time = null) : IDisposable
{
    private readonly MemoryBudget _memory = new();
    private readonly ConcurrentDictionary<string, (ModelReference Reference, GemmaOptions Options)> _models = new(StringComparer.Ordinal);
    private readonly ILogger _logger = (loggerFactory ?? Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance).CreateLogger("Gemma.Extensions.AI");

    /// <summary>Every model that was asked for.</summary>
    public IEnumerable<ModelReference> Models => _models.Values.Select(entry => entry.Reference);

    /// <summary>The model that the options of a registration describe. Nothing is loaded unless they say so.</summary>
    public ModelReference Get(GemmaRegistration registration) => Get(OptionsOf(registration));

    /// <summary>The model that options describe, which were checked. Nothing is loaded unless they say so.</summary>
    public ModelReference Get(GemmaOptions named)
    {
        string path = ModelAliases.Find(named.ModelPath!, out string? problem)
            ?? (named.AllowDownload && ModelAliases.IsHub(named.ModelPath!) ? named.ModelPath! : throw new GemmaModelFormatException(problem!));
        (ModelReference reference, GemmaOptions first) = _models.GetOrAdd(path, p => (Reference(p, named), named));
        if (!first.LoadsLike(named))
        {
            throw new InvalidOperationException(
                $"The model '{path}' is registered twice with different options, but one path is one model in memory. Give both registrations the same options.");
        }

        if (named.Preload)
        {
            reference.LeaseAsync(CancellationToken.None).AsTask().GetAwaiter().GetResult().Dispose();
        }

        return reference;
    }

    /// <summary>The options of a registration, with its own model where several under one key name different ones.</summary>
    public GemmaOptions OptionsOf(GemmaRegistration registration)
    {
        GemmaOptions named = options.Get(registration.OptionsName);
        string? path = GemmaRegistration.Paths(registrations, registration.OptionsName, named.ModelPath).FirstOrDefault(own => own.Registration == registration).Path;
        if (path is null || path == named.ModelPath)
        {
            return named;
        }

        GemmaOptions own = named.Clone();
        own.ModelPath = path;
        return own;
    }

    /// <summary>Refuses new requests and lets the accepted ones finish until <paramref name="cancellationToken"/> is cancelled, then ends the rest.</summary>
    public Task StopAsync(CancellationToken cancellationToken) =>
        Task.WhenAll(Models.Select(reference => reference.Loaded?.Engine.StopAsync(cancellationToken) ?? Task.CompletedTask));

    public void Dispose()
    {
        foreach ((ModelReference reference, _) in _models.Values)
        {
            reference.Dispose();
        }
    }

    private ModelReference Reference(string path, GemmaOptions named)
    {
        ModelReference? reference = null;
        reference = new ModelReference(
            path, unwanted => Load(reference!, path, named, unwanted), loggerFactory, [.. named.Adapters.Keys.Order(StringComparer.OrdinalIgnoreCase)], named.IdleUnload, time) { Freed = _memory.Pulse };
        return reference;
    }

    private GemmaModel Load(ModelReference reference, string path, GemmaOptions named, CancellationToken unwanted)
    {
        LogLoading(_logger, path);
        long started = Stopwatch.GetTimestamp();
        try
        {
            if (ModelAliases.IsHub(path))
            {
                path = GemmaModelHub.EnsureAsync(path, progress: new LogProgress(_logger), cancellationToken: unwanted).GetAwaiter().GetResult();
            }

            if (named.MemoryBudget is { } budget)
            {
                _memory.Reserve(reference, GemmaModel.MemoryOf(path, named), budget, Models, unwanted);
            }

            GemmaModel model = GemmaModel.LoadCore(path, named, new LogProgress(_logger), loggerFactory, unwanted);
            LogLoaded(_logger, model.ModelId, Stopwatch.GetElapsedTime(started).TotalSeconds, model.ContextLength, model.KernelName);
            if (model.FallbackReason is { } reason)
            {
                LogReduced(_logger, model.ModelId, reason);
            }

            return model;
        }
        catch (Exception e) when (!unwanted.IsCancellationRequested)
        {
            LogFailed(_logger, path, e);
            throw;
        }
    }

    [LoggerMessage(1, LogLevel.Information, "Loading Gemma model {Path}")]
    private static partial void LogLoading(ILogger logger, string path);

    [LoggerMessage(2, LogLevel.Debug, "Loading {Stage}: {Completed} of {Total}")]
    private static partial void LogProgressed(ILogger logger, string stage, long completed, long total);

    [LoggerMessage(3, LogLevel.Information, "Loaded {ModelId} in {Seconds:F2} s: context {ContextLength} tokens, kernels {Kernel}")]
    private static partial void LogLoaded(ILogger logger, string modelId, double seconds, int contextLength, string kernel);

    [LoggerMessage(7, LogLevel.Warning, "The server names no hash of {File}: its content cannot be checked")]
    private static partial void LogUnchecked(ILogger logger, string file);

    [LoggerMessage(5, LogLevel.Warning, "{ModelId} runs slower than it might: {Reason}")]
    private static partial void LogReduced(ILogger logger, string modelId, string reason);

    [LoggerMessage(4, LogLevel.Error, "Loading Gemma model {Path} failed")]
    private static partial void LogFailed(ILogger logger, string path, Exception exception);

    /// <summary>Writes progress to the log at every tenth, so that a slow disk can be told from a hang.</summary>
    private sealed class LogProgress(ILogger logger) : IProgress<GemmaLoadProgress>, IProgress<GemmaDownloadProgress>
    {
        private (string Stage, long Tenth) _last = ("", -1);
        private bool _saidUnchecked;

        public void Report(GemmaDownloadProgress value)
        {
            if (value.HasNoHash && !_saidUnchecked)
            {
                _saidUnchecked = true;
                LogUnchecked(logger, value.File);
            }

            Report(new GemmaLoadProgress("download", value.CompletedBytes, value.TotalBytes));
        }

        public void Report(GemmaLoadProgress value)
        {
            long tenth = value.Total > 0 ? value.Completed * 10 / value.Total : 10;
            if (_last != (value.Stage, tenth))
            {
                _last = (value.Stage, tenth);
                LogProgressed(logger, value.Stage, value.Completed, value.Total);
            }
        }
    }
}
