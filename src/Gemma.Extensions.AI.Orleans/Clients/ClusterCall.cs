using System.Diagnostics;
using System.Threading.Channels;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Runtime;

namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>
/// One call of a cluster, from node to node until it is answered. It keeps what has come of the answer; a node that falls silent, is drained or is full is followed by another,
/// which goes on behind that.
/// </summary>
internal sealed partial class ClusterCall(IGrainFactory grains, NodeWays ways, GemmaClusterOptions options, ILogger logger, WireRequest call, RouteHints hints)
{
    /// <summary>A call that no node has begun fails sooner than one that was interrupted: the name is wrong, or the cluster is not there.</summary>
    private static readonly TimeSpan s_unbegunTimeout = TimeSpan.FromSeconds(10);

    /// <summary>
    /// Characters that a call may have. More fit no context, and Orleans drops messages above 100 MiB (three bytes a character at most) without a word to the caller, who would take the node for lost.
    /// </summary>
    private const int MostCharacters = 32 << 20;

    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly List<int> _tokens = [];
    private readonly List<GemmaLogProbabilities> _chances = [];
    private readonly HashSet<string> _excluded = new(StringComparer.Ordinal);
    private int[]? _prompt;
    private int _parts;
    private bool _mayRedirect = call.Texts is null && call.Question is null;
    private WireFault? _full;
    private long _progressAt = Stopwatch.GetTimestamp();

    /// <summary>The vectors, where the call was for embeddings.</summary>
    public WireVectors? Vectors { get; private set; }

    /// <summary>The answer of the tokenizer, where it was asked.</summary>
    public WireTokenAnswer? Answer { get; private set; }

    /// <inheritdoc cref="RouteHints.Home"/>
    public ulong Home => hints.Home;

    /// <summary>The silo that ended the answer; null before.</summary>
    public string? AnsweredBy { get; private set; }

    /// <summary>Times that the call went on at another node.</summary>
    public int Handovers { get; private set; }

    /// <exception cref="GemmaException">The call failed; the type is what it would be of a model in this process.</exception>
    /// <exception cref="ArgumentException">It is longer than what travels to a node.</exception>
    public async Task RunAsync(ChannelWriter<AnswerPart> output, CancellationToken cancellationToken)
    {
        if (call.Characters is var characters and > MostCharacters)
        {
            throw new ArgumentException($"The call has {characters:N0} characters, expected at most {MostCharacters:N0}, which is more than any context holds. {(call.Texts is null ? "Shorten the conversation." : "Embed fewer texts at once.")}");
        }

        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            WireOptions now = OptionsNow();
            Guid attempt = Guid.NewGuid();
            WireBatch? last = null;
            int way = 0;
            Exception? lost = null;
            try
            {
                last = await Within(Begin(attempt, now), cancellationToken).ConfigureAwait(false);
                Take(last, output);
                for (int sequence = 2; last.State == WireState.Running; sequence++)
                {
                    way = ways.Of(last.Node);
                    last = await Within(NodeOf(last.Node).ReadAsync(attempt, sequence), cancellationToken).ConfigureAwait(false);
                    Take(last, output);
                }
            }
            catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
            {
                Forget(attempt, last?.Node);
                throw;
            }
            catch (Exception e) when (e is TimeoutException or OrleansException or System.Net.Sockets.SocketException or IOException or OperationCanceledException)
            {
                lost = e;
                if (last is not null)
                {
                    ways.Leave(last.Node, way); // it may be the gateway that is lost, not the node
                }

                Forget(attempt, last?.Node);
            }

            if (lost is null && last!.State == WireState.Done)
            {
                AnsweredBy = last.Node;
                return;
            }

            await GoOnAsync(last, lost, cancellationToken).ConfigureAwait(false);
        }
    }

    private Task<WireBatch> Begin(Guid attempt, WireOptions now)
    {
        WireRequest request = new()
        {
            Attempt = attempt,
            Model = call.Model,
            Messages = call.Messages,
            Options = now,
            IsStreaming = call.IsStreaming,
            MayRedirect = _mayRedirect,
            Texts = call.Texts,
            Question = call.Question,
            Raw = call.Raw,
            Known = _prompt is null ? null : new WireKnown { Identity = hints.Identity!, Prompt = _prompt, Tokens = [.. _tokens], Parts = _parts },
        };
        object? before = RequestContext.Get(RouteHints.Key);
        RequestContext.Set(RouteHints.Key, new RouteHints
        {
            Model = hints.Model,
            Adapter = hints.Adapter,
            Home = hints.Home,
            Excluded = [.. _excluded],
            Identity = hints.Identity,
            Target = hints.Target,
            Unanswered = hints.Unanswered,
            GoesOn = hints.GoesOn,
            Last = hints.Last,
        });
        try
        {
            return grains.GetGrain<IEntryGrain>(attempt.ToString("N")).BeginAsync(request);
        }
        finally
        {
            if (before is null)
            {
                RequestContext.Remove(RouteHints.Key);
            }
            else
            {
                RequestContext.Set(RouteHints.Key, before);
            }
        }
    }

    /// <summary>The options with the rest of the time limit.</summary>
    private WireOptions OptionsNow()
    {
        if (call.Options.Timeout is not { } timeout || timeout <= TimeSpan.Zero)
        {
            return call.Options;
        }

        TimeSpan left = timeout - Stopwatch.GetElapsedTime(_began);
        WireOptions options = call.Options.Copy();
        options.Timeout = left > TimeSpan.Zero ? left : throw new TimeoutException($"The request was not finished within its time limit of {timeout}; {_tokens.Count:N0} tokens were generated.");
        return options;
    }

    /// <summary>Takes over a batch as a whole.</summary>
    private void Take(WireBatch batch, ChannelWriter<AnswerPart> output)
    {
        if (batch.Parts.Length > 0 && _prompt is null)
        {
            (hints.Identity, _prompt) = (batch.Identity, batch.Prompt);
        }

        foreach (WirePart part in batch.Parts)
        {
            _parts++;
            _tokens.AddRange(part.Tokens);
            _chances.AddRange(Answers.ChancesOf(part) ?? []);
            output.TryWrite(Answers.FromWire(part, call.Options.TopLogProbabilities is null ? null : _chances));
        }

        (Vectors, Answer) = (batch.Vectors, batch.Answer);
        if (batch.State == WireState.Running)
        {
            // A node that begins to work on the call is progress too, as is every token.
            _progressAt = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>Decides where the call goes on after an attempt that did not end it.</summary>
    private async Task GoOnAsync(WireBatch? last, Exception? lost, CancellationToken cancellationToken)
    {
        (string? target, hints.Target) = (hints.Target, null);
        switch (last?.State)
        {
            case WireState.Failed when lost is null:
                throw Faults.FromWire(last.Fault!);
            case WireState.Elsewhere when lost is null:
                (_mayRedirect, hints.Target) = (false, last.Better);
                ClusterMetrics.Count("redirect", call.Model);
                return;
            case WireState.Gone when lost is null:
                hints.Target = last.Node; // it is there and has the beginning warm
                break;
            case WireState.Full when lost is null:
                _full = last.Fault;
                ClusterMetrics.Count("full", call.Model);
                if (!_excluded.Add(last.Node))
                {
                    throw new GemmaOverloadedException(_full!.Message); // there is no other
                }

                return;
            case WireState.NotServed when lost is null:
                await WaitForNodeAsync(last.Fault!, cancellationToken).ConfigureAwait(false);
                return;
            default:
                Exclude(last?.Node ?? target);
                break;
        }

        _mayRedirect = false;
        Handovers++;
        ClusterMetrics.Count(lost is null ? "handover" : "lost", call.Model);
        LogGoesOn(logger, call.Model, last?.Node ?? target, lost?.GetType().Name ?? last!.State.ToString(), _tokens.Count);
        ThrowIfStuck(lost?.Message ?? $"The node {last!.Node} let go of the call.", lost);
        await Task.Delay(TimeSpan.FromMilliseconds(Math.Min(500, 10 << Math.Min(Handovers, 6))), cancellationToken).ConfigureAwait(false);
    }

    private async Task WaitForNodeAsync(WireFault fault, CancellationToken cancellationToken)
    {
        if (_full is not null)
        {
            throw new GemmaOverloadedException(_full.Message);
        }

        if (_parts == 0 && hints.Identity is not null)
        {
            (hints.Identity, _prompt) = (null, null); // nothing was delivered: it may begin again, elsewhere and otherwise
            return;
        }

        _excluded.Clear();
        ThrowIfStuck(fault.Message, null);
        await Task.Delay(200, cancellationToken).ConfigureAwait(false);
    }

    private void ThrowIfStuck(string reason, Exception? lost)
    {
        TimeSpan limit = _parts > 0 || Handovers > 0 ? options.FailoverTimeout : options.FailoverTimeout < s_unbegunTimeout ? options.FailoverTimeout : s_unbegunTimeout;
        if (Stopwatch.GetElapsedTime(_progressAt) < limit)
        {
            return;
        }

        throw _parts > 0
            ? new GemmaHandoverException($"The answer was interrupted after {_tokens.Count:N0} tokens and could not go on within {limit.TotalSeconds:0.#} s at a node that computes with {hints.Identity}. {reason} Ask again.", lost)
            : new GemmaException($"'{call.Model}' could not be asked within {limit.TotalSeconds:0.#} s. {reason}", lost) { IsTemporary = true };
    }

    private void Exclude(string? node)
    {
        if (node is null)
        {
            hints.Unanswered++;
        }
        else if (!_excluded.Add(node))
        {
            _excluded.Clear(); // there is no other: those that failed may do better by now
        }
    }

    private INodeGrain NodeOf(string silo) => grains.GetGrain<INodeGrain>(NodePlacement.KeyOf(silo, ways.Of(silo)));

    /// <summary>Tells a node that nobody waits any more; where that does not arrive, it notices by itself.</summary>
    private void Forget(Guid attempt, string? node)
    {
        if (node is not null)
        {
            NodeOf(node).CancelAsync(attempt).ContinueWith(static told => _ = told.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
        }
    }

    private async Task<WireBatch> Within(Task<WireBatch> batch, CancellationToken cancellationToken)
    {
        try
        {
            return await batch.WaitAsync(options.HeartbeatTimeout, cancellationToken).ConfigureAwait(false);
        }
        catch
        {
            _ = batch.ContinueWith(static late => _ = late.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            throw;
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "A call of {Model} goes on at another node than {Node} ({Reason}) behind {Tokens} tokens.")]
    private static partial void LogGoesOn(ILogger logger, string model, string? node, string reason, int tokens);
}
