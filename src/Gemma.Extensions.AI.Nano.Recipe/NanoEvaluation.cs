using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Shares of held-out cases that a chat client gets right, answering greedily.</summary>
internal sealed class NanoEvaluation(IChatClient client, TextWriter? failures)
{
    /// <summary>Cases of the evaluation have a seed of their own.</summary>
    internal const int Seed = 2;

    /// <summary>Cases asked at once: the engine batches them, so that weights are read once for all.</summary>
    private const int AtOnce = 16;

    /// <summary>The floor that each figure is measured against.</summary>
    public static IReadOnlyDictionary<string, double> Targets { get; } = new Dictionary<string, double>
    {
        ["passage questions exact"] = 0.90,
        ["absent answers refused"] = 0.85,
        ["tool chosen"] = 0.95,
        ["arguments exact"] = 0.90,
        ["answer contains the result"] = 0.95,
        ["JSON fields exact"] = 0.85,
        ["small talk ends by itself"] = 0.99,
    };

    /// <summary>Asks so many cases of every skill and counts. The failures are written in the order of the cases.</summary>
    public async Task<IReadOnlyDictionary<string, (int Right, int All)>> Run(int cases, CancellationToken cancellation = default)
    {
        (Skill Skill, int Index)[] all = [.. Enum.GetValues<Skill>().SelectMany(skill => Enumerable.Range(0, cases).Select(i => (skill, i)))];
        List<Outcome>[] results = new List<Outcome>[all.Length];
        await Parallel.ForAsync(0, all.Length, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellation }, async (n, token) =>
            results[n] = await Check(NanoCorpus.Draw(Seed, all[n].Index, Split.HeldOut, all[n].Skill), token).ConfigureAwait(false)).ConfigureAwait(false);
        Dictionary<string, (int Right, int All)> counts = new(StringComparer.Ordinal);
        foreach (Outcome outcome in results.SelectMany(outcomes => outcomes))
        {
            (int right, int of) = counts.GetValueOrDefault(outcome.Figure);
            counts[outcome.Figure] = (right + (outcome.Right ? 1 : 0), of + 1);
            if (!outcome.Right)
            {
                failures?.WriteLine($"--- {outcome.Figure}\n{Commands.PlainText(outcome.Case)}\n>>> {outcome.Answer}");
            }
        }

        return counts;
    }

    private async Task<List<Outcome>> Check(NanoCase drawn, CancellationToken cancellation)
    {
        int last = drawn.Messages.FindLastIndex(message => message.Role == ChatRole.Assistant);
        if (drawn.Skill is Skill.Tool or Skill.MixedTool)
        {
            int call = drawn.Messages.FindIndex(message => message.Contents.Any(content => content is FunctionCallContent));
            List<Outcome> outcomes = CheckCall(drawn, drawn.Messages[call], await Ask(drawn, call, cancellation).ConfigureAwait(false));
            if (drawn.Skill == Skill.MixedTool)
            {
                return [outcomes[0] with { Figure = "tool chosen, every name in its own style" }];
            }

            string said = (await Ask(drawn, last, cancellation).ConfigureAwait(false)).Text;
            return [.. outcomes, new("answer contains the result", drawn.Contains.All(value => said.Contains(value, StringComparison.Ordinal)), drawn, said)];
        }

        ChatResponse response = await Ask(drawn, last, cancellation).ConfigureAwait(false);
        string expected = drawn.Messages[last].Text, answer = response.Text.Trim();
        bool called = response.Messages.Any(m => m.Contents.Any(c => c is FunctionCallContent));
        bool exact = answer == expected && !called;
        return drawn.Skill switch
        {
            Skill.Passage => [new("passage questions exact", exact, drawn, answer)],
            Skill.Absent => [new("absent answers refused", exact, drawn, answer)],
            Skill.Sources => [new("sources: answer and citation exact", exact, drawn, answer)],
            Skill.NoTool => [new("no tool called where none fits", exact, drawn, called ? "(a call)" : answer)],
            Skill.Json => [new("JSON fields exact", JsonEquals(expected, answer), drawn, answer)],
            Skill.Talk => [new("small talk ends by itself", response.FinishReason == ChatFinishReason.Stop, drawn, answer), new("small talk answer exact", exact, drawn, answer)],
            Skill.System => [new("system instruction followed", exact, drawn, answer)],
            _ => [new("text repeated", exact, drawn, answer)],
        };
    }

    private static List<Outcome> CheckCall(NanoCase drawn, ChatMessage expected, ChatResponse response)
    {
        FunctionCallContent[] wanted = [.. expected.Contents.OfType<FunctionCallContent>()];
        FunctionCallContent[] called = [.. response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>()];
        string text = called.Length == 0 ? response.Text : string.Join('\n', called.Select(static call => ChatTemplate.RenderCall(call)));
        bool chosen = called.Length > 0 && called.All(call => call.Name == wanted[0].Name);
        bool exact = wanted.Select(static call => ChatTemplate.RenderCall(call)).SequenceEqual(called.Select(static call => ChatTemplate.RenderCall(call)));
        return chosen
            ? [new("tool chosen", true, drawn, text), new("arguments exact", exact, drawn, text)]
            : [new("tool chosen", false, drawn, text)];
    }

    private async Task<ChatResponse> Ask(NanoCase drawn, int messages, CancellationToken cancellation)
    {
        ChatOptions options = drawn.Options?.Clone() ?? new ChatOptions();
        options.Temperature = 0;
        options.MaxOutputTokens = 160;
        return await client.GetResponseAsync(drawn.Messages.Take(messages), options, cancellation).ConfigureAwait(false);
    }

    private static bool JsonEquals(string expected, string answer)
    {
        try
        {
            return JsonNode.DeepEquals(JsonNode.Parse(expected), JsonNode.Parse(answer));
        }
        catch (Exception exception) when (exception is JsonException or ArgumentException) // ArgumentException: a name twice
        {
            return false;
        }
    }

    public static string Table(IReadOnlyDictionary<string, (int Right, int All)> counts)
    {
        StringBuilder text = new("| figure | right | of | share | target |\n|---|---|---|---|---|\n");
        foreach ((string figure, (int right, int all)) in counts)
        {
            string target = Targets.TryGetValue(figure, out double floor) ? floor.ToString("P0", CultureInfo.InvariantCulture) : "";
            text.AppendLine(CultureInfo.InvariantCulture, $"| {figure} | {right} | {all} | {(double)right / all:P1} | {target} |");
        }

        return text.ToString();
    }

    private sealed record Outcome(string Figure, bool Right, NanoCase Case, string Answer);
}
