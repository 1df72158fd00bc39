using System.CommandLine;
using System.Globalization;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// The share of requests whose tool is chosen among 200 when eight at most are shown, beside the share among six that are not searched. What goes wrong is told apart: the right tool is not shown
/// (a failure of the search), or it is shown and another is called (one of the model).
/// </summary>
/// <param name="model">Answers.</param>
/// <param name="isMixed">Whether each tool is named in a style of its own, as those of many programs are; else all as one program's.</param>
/// <param name="seed">Seed of the tools.</param>
internal sealed class ToolSearchEvaluation(IChatClient model, bool isMixed, int seed)
{
    private const int Tools = 200, Few = 6, AtOnce = 8;

    public static Command Create()
    {
        Option<string> path = new("--model") { Required = true };
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 120 };
        Option<int> shown = new("--shown") { DefaultValueFactory = _ => 8 };
        Option<int> seed = new("--seed") { DefaultValueFactory = _ => 1, Description = "Of the tools and requests." };
        Command command = new("tool-search", "Measures how often the right one of 200 tools is chosen.") { path, cases, shown, seed };
        command.SetAction(async (parse, cancellation) =>
        {
            using GemmaModel loaded = GemmaModel.Load(parse.GetValue(path)!);
            using IChatClient client = loaded.AsIChatClient();
            Console.WriteLine("| names | right tool first | right tool shown | tools shown | chosen among 200 | among 6 | ratio | not shown | shown, another called |\n|---|---|---|---|---|---|---|---|---|");
            foreach (bool isMixed in (bool[])[false, true])
            {
                Console.WriteLine((await new ToolSearchEvaluation(client, isMixed, parse.GetValue(seed)).RunAsync(parse.GetValue(cases), parse.GetValue(shown), cancellation)).ToString());
            }
        });
        return command;
    }

    /// <summary>Asks so many requests, each for a tool of its own set.</summary>
    public async Task<Counts> RunAsync(int cases, int shown, CancellationToken cancellation = default)
    {
        Outcome[] outcomes = new Outcome[cases];
        await Parallel.ForAsync(0, cases, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellation }, async (i, token) =>
            outcomes[i] = await AskAsync(i, shown, token).ConfigureAwait(false)).ConfigureAwait(false);
        return new Counts(isMixed, cases, outcomes.Count(one => one.IsFirst), outcomes.Count(one => one.IsShown), outcomes.Average(one => one.Shown), outcomes.Count(one => one.IsChosen), outcomes.Count(one => one.IsChosenAmongFew));
    }

    private async Task<Outcome> AskAsync(int index, int shown, CancellationToken cancellation)
    {
        Lexicon lexicon = new(new Random(unchecked((seed * 7_368_787) + (index * 2))), Split.HeldOut, null);
        HashSet<string> nouns = new(StringComparer.Ordinal);
        Naming naming = new(lexicon, isMixed);
        List<DrawnTool> drawn = [];
        HashSet<string> names = new(StringComparer.OrdinalIgnoreCase);
        while (drawn.Count < Tools)
        {
            // The noun of every tool is another: of "price" and "daily price" one is meant.
            DrawnTool tool = Recipe.Tools.Draw(lexicon, naming, nouns);
            if (names.Add(tool.Name))
            {
                drawn.Add(tool);
            }
        }

        DrawnTool wanted = drawn[0];
        string request = wanted.Use().Request;
        AITool[] all = [.. drawn.Select(tool => tool.Declaration).OrderBy(tool => tool.Name, StringComparer.Ordinal)];
        AITool[] few = [.. drawn.Take(Few).Select(tool => tool.Declaration).OrderBy(tool => tool.Name, StringComparer.Ordinal)];
        Recorder recorder = new(model);
        string? amongMany = await CallAsync(recorder.AsBuilder().UseToolSearch(shown).Build(), all).ConfigureAwait(false);
        IReadOnlyList<string> offered = recorder.Offered;
        Recorder first = new(null);
        await CallAsync(first.AsBuilder().UseToolSearch(1).Build(), all).ConfigureAwait(false);
        return new Outcome(first.Offered.Contains(wanted.Name), offered.Contains(wanted.Name), offered.Count, amongMany == wanted.Name, await CallAsync(model, few).ConfigureAwait(false) == wanted.Name);

        async Task<string?> CallAsync(IChatClient client, AITool[] tools)
        {
            ChatResponse response = await client.GetResponseAsync(request, new ChatOptions { Tools = tools, Temperature = 0, MaxOutputTokens = 160 }, cancellation).ConfigureAwait(false);
            return response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>().FirstOrDefault()?.Name;
        }
    }

    /// <summary>The sums over all cases.</summary>
    internal sealed record Counts(bool IsMixed, int Cases, int First, int Shown, double MeanShown, int Chosen, int ChosenAmongFew)
    {
        public double Ratio => (double)Chosen / ChosenAmongFew;

        public override string ToString() => string.Create(CultureInfo.InvariantCulture,
            $"| {(IsMixed ? "each in its own style" : "as one program's")} | {First} of {Cases} | {Shown} | {MeanShown:F1} | {Chosen} | {ChosenAmongFew} | **{Ratio:F2}** | {Cases - Shown} | {Shown - Chosen} |");
    }

    private sealed record Outcome(bool IsFirst, bool IsShown, int Shown, bool IsChosen, bool IsChosenAmongFew);

    /// <summary>Keeps which tools reach the model; without one the answer is empty.</summary>
    private sealed class Recorder(IChatClient? inner) : IChatClient
    {
        public IReadOnlyList<string> Offered { get; private set; } = [];

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            Offered = [.. (options?.Tools ?? []).Select(tool => tool.Name)];
            return inner?.GetResponseAsync(messages, options, cancellationToken) ?? Task.FromResult(new ChatResponse());
        }

        public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
