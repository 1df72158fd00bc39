using System.Collections.Concurrent;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>The calls that this silo's node answers.</summary>
internal sealed partial class NodeJobs(NodeModels models, ClusterView view, SiloName silo, NodeTimes times, ILogger<NodeJobs> logger) : IDisposable
{
    private readonly ConcurrentDictionary<Guid, NodeJob> _jobs = new();
    private ITimer? _sweep;

    /// <summary>Calls that are being answered.</summary>
    public int Count => _jobs.Values.Count(job => !job.HasEnded);

    /// <summary>True once no new call is taken.</summary>
    public bool IsDraining { get; set; }

    public IEnumerable<NodeJob> All => _jobs.Values;

    public void Start() => _sweep = times.Clock.CreateTimer(_ => Sweep(), null, NodeTimes.SweepInterval, NodeTimes.SweepInterval);

    public Task<WireBatch> BeginAsync(WireRequest request, RouteHints hints)
    {
        NodeJob job = new(request.Attempt, request.Model, silo.Text, times);
        if (_jobs.TryAdd(request.Attempt, job))
        {
            _ = Task.Run(() => RunAsync(job, request, hints));
        }

        return ReadAsync(request.Attempt, 1);
    }

    public Task<WireBatch> ReadAsync(Guid attempt, int sequence) => _jobs.TryGetValue(attempt, out NodeJob? job)
        ? job.ReadAsync(sequence)
        : Task.FromResult(new WireBatch { State = WireState.Gone, Node = silo.Text, Sequence = sequence });

    public void Cancel(Guid attempt)
    {
        if (_jobs.TryRemove(attempt, out NodeJob? job))
        {
            job.End(WireState.Gone);
        }
    }

    public void Dispose()
    {
        _sweep?.Dispose();
        foreach (NodeJob job in _jobs.Values)
        {
            job.End(WireState.LetGo);
        }
    }

    /// <summary>Ends what nobody asks for any more, and notes how busy the models are.</summary>
    private void Sweep()
    {
        Array.ForEach(models.All, model => model.Observe());
        foreach (NodeJob job in _jobs.Values)
        {
            if (job.IsForgotten)
            {
                Cancel(job.Attempt);
            }
        }
    }

    private async Task RunAsync(NodeJob job, WireRequest request, RouteHints hints)
    {
        try
        {
            using ModelUse? use = IsDraining ? null : models.TryUse(request.Model);
            if (use is null)
            {
                job.End(IsDraining ? WireState.LetGo : WireState.NotServed, NotServed(request.Model));
                return;
            }

            try
            {
                if (request.Question is not null)
                {
                    job.End(WireState.Done, answer: TokenQuestions.ToWire(TokenQuestions.FromWire(request).AnsweredBy(use.Model)));
                }
                else if (request.Texts is { } texts)
                {
                    job.End(WireState.Done, vectors: await Embeddings.ComputeAsync(use.Model, texts, job.Stopped).ConfigureAwait(false));
                }
                else
                {
                    await AnswerAsync(job, request, hints, use).ConfigureAwait(false);
                }
            }
            catch (Exception) when (use.Model.Engine.Status is { Failed: true } or { Stopping: true })
            {
                job.End(WireState.LetGo); // another node may do better
            }
        }
        catch (OperationCanceledException) when (job.Stopped.IsCancellationRequested)
        {
            job.End(WireState.Gone);
        }
        catch (GemmaOverloadedException e)
        {
            (int nodes, int running, int waiting, int maxRunning, int maxWaiting) = view.LoadOf(request.Model);
            job.End(WireState.Full, new WireFault
            {
                Message = $"Every node that serves '{request.Model}' is full: of {nodes:N0} nodes {running:N0} requests run (at most {maxRunning:N0}) and {waiting:N0} wait (at most {maxWaiting:N0}). Try again later, add nodes, or raise GemmaOptions.MaxQueuedRequests. The last node said: {e.Message}",
            });
        }
        catch (Exception e)
        {
            WireFault fault = Faults.ToWire(e);
            if (fault.Kind == WireFaultKind.Other && e is not GemmaException)
            {
                LogFailed(logger, request.Model, e);
            }

            job.End(WireState.Failed, fault);
        }
    }

    private async Task AnswerAsync(NodeJob job, WireRequest request, RouteHints hints, ModelUse use)
    {
        (ChatOptions options, GemmaGenerationOptions raw) = CallOptions.FromWire(request.Options);
        string? identity = use.Hosted.IdentityWith(hints.Adapter) ?? use.Hosted.Identity; // an unknown adapter is refused by the model, in its words
        if (request.Known is { } begun && begun.Identity != identity)
        {
            job.End(WireState.NotServed, new WireFault { Message = $"The answer began with {begun.Identity}, but this node computes with {identity}." });
            return;
        }

        ChatPrompt? conversation = request.Raw is null ? ChatTurn.Render(use.Model, Conversations.ToMessages(request.Messages), options) : null;
        int[] prompt = conversation?.Tokens ?? TokenQuestions.FromWire(request.Raw!).TokensFor(use.Model);
        if (view.Settle(hints, new RoutedPrompt(prompt), silo.Text, request.MayRedirect) is { } better)
        {
            job.End(WireState.Elsewhere, better: better);
            return;
        }

        prompt = request.Known?.Prompt ?? prompt;
        ChatTurn turn = conversation is null ? await ChatTurn.ContinueAsync(use.Model, prompt, options, raw, job.Stopped).ConfigureAwait(false)
            : await ChatTurn.CreateAsync(use.Model, conversation with { Tokens = prompt }, options, raw, job.Stopped).ConfigureAwait(false);
        identity = use.Hosted.IdentityOf(turn.Adapter);
        if (identity is null || (request.Known is { } expected && expected.Identity != identity))
        {
            job.End(WireState.LetGo); // the adapter was replaced meanwhile
            return;
        }

        turn = request.Known is { } goesOn ? turn with { Known = new KnownAnswer(goesOn.Tokens, goesOn.Parts) } : turn;
        job.Introduce(identity, prompt);
        await foreach (AnswerPart part in AnswerStream.PartsAsync(use.Model, turn, request.IsStreaming, keepsTokens: true, job.Stopped).ConfigureAwait(false))
        {
            job.Write(Answers.ToWire(part));
        }

        job.End(WireState.Done);
    }

    private WireFault NotServed(string model)
    {
        NodeSummary[] nodes = view.Nodes;
        string known = string.Join(", ", nodes.SelectMany(node => node.Models).Select(other => $"'{other.Name}'").Distinct().Order(StringComparer.Ordinal));
        return new WireFault
        {
            Message = nodes.Length == 0 ? $"No node of the cluster has told of itself, so none serves '{model}'. Start silos with AddGemmaNode; loading a model takes a while."
                : $"No node of the cluster serves '{model}' as it is asked for and takes work. {nodes.Length:N0} {(nodes.Length == 1 ? "node serves" : "nodes serve")} {(known.Length > 0 ? known : "nothing")}.",
        };
    }

    [LoggerMessage(1, LogLevel.Error, "A call of the model {Model} failed at this node with an unexpected error.")]
    private static partial void LogFailed(ILogger logger, string model, Exception exception);
}

/// <summary>The silo's address as text.</summary>
internal sealed record SiloName(string Text);
