using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Shares of held-out cases that a chat client gets right, answering greedily.</summary>
internal sealed class Evaluation(IChatClient client, TextWriter? failures)
{
    /// <summary>Cases of the evaluation have a seed of their own.</summary>
    private const int Seed = 2;

    private readonly Dictionary<string, (int Right, int All)> _counts = new(StringComparer.Ordinal);

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

    public async Task<IReadOnlyDictionary<string, (int Right, int All)>> Run(int cases)
    {
        foreach (Skill skill in Enum.GetValues<Skill>())
        {
            for (int i = 0; i < cases; i++)
            {
                await Check(NanoCorpus.Draw(Seed, i, Split.HeldOut, skill));
            }
        }

        return _counts;
    }

    private async Task Check(NanoCase drawn)
    {
        int last = drawn.Messages.FindLastIndex(message => message.Role == ChatRole.Assistant);
        if (drawn.Skill == Skill.Tool)
        {
            int call = drawn.Messages.FindIndex(message => message.Contents.Any(content => content is FunctionCallContent));
            CheckCall(drawn, drawn.Messages[call], await Ask(drawn, call));
            string said = (await Ask(drawn, last)).Text;
            Count("answer contains the result", drawn.Contains.All(value => said.Contains(value, StringComparison.Ordinal)), drawn, said);
            return;
        }

        ChatResponse response = await Ask(drawn, last);
        string expected = drawn.Messages[last].Text, answer = response.Text.Trim();
        bool exact = answer == expected && !response.Messages.Any(m => m.Contents.Any(c => c is FunctionCallContent));
        switch (drawn.Skill)
        {
            case Skill.Passage:
                Count("passage questions exact", exact, drawn, answer);
                break;
            case Skill.Absent:
                Count("absent answers refused", exact, drawn, answer);
                break;
            case Skill.Sources:
                Count("sources: answer and citation exact", exact, drawn, answer);
                break;
            case Skill.NoTool:
                Count("no tool called where none fits", exact, drawn, response.Text);
                break;
            case Skill.Json:
                Count("JSON fields exact", JsonEquals(expected, answer), drawn, answer);
                break;
            case Skill.Talk:
                Count("small talk ends by itself", response.FinishReason == ChatFinishReason.Stop, drawn, answer);
                Count("small talk answer exact", exact, drawn, answer);
                break;
            case Skill.System:
                Count("system instruction followed", exact, drawn, answer);
                break;
            default:
                Count("text repeated", exact, drawn, answer);
                break;
        }
    }

    private void CheckCall(NanoCase drawn, ChatMessage expected, ChatResponse response)
    {
        FunctionCallContent[] wanted = [.. expected.Contents.OfType<FunctionCallContent>()];
        FunctionCallContent[] called = [.. response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>()];
        string text = called.Length == 0 ? response.Text : string.Join('\n', called.Select(ChatTemplate.RenderCall));
        bool chosen = called.Length > 0 && called.All(call => call.Name == wanted[0].Name);
        Count("tool chosen", chosen, drawn, text);
        if (chosen)
        {
            Count("arguments exact", wanted.Select(ChatTemplate.RenderCall).SequenceEqual(called.Select(ChatTemplate.RenderCall)), drawn, text);
        }
    }

    private async Task<ChatResponse> Ask(NanoCase drawn, int messages)
    {
        ChatOptions options = drawn.Options?.Clone() ?? new ChatOptions();
        options.Temperature = 0;
        options.MaxOutputTokens = 160;
        return await client.GetResponseAsync(drawn.Messages.Take(messages), options);
    }

    private void Count(string figure, bool right, NanoCase drawn, string answer)
    {
        (int rights, int all) = _counts.GetValueOrDefault(figure);
        _counts[figure] = (rights + (right ? 1 : 0), all + 1);
        if (!right)
        {
            failures?.WriteLine($"--- {figure}\n{Commands.PlainText(drawn)}\n>>> {answer}");
        }
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
        var text = new System.Text.StringBuilder("| figure | right | of | share | target |\n|---|---|---|---|---|\n");
        foreach ((string figure, (int right, int all)) in counts)
        {
            string target = Targets.TryGetValue(figure, out double floor) ? floor.ToString("P0", CultureInfo.InvariantCulture) : "";
            text.AppendLine(CultureInfo.InvariantCulture, $"| {figure} | {right} | {all} | {(double)right / all:P1} | {target} |");
        }

        return text.ToString();
    }
}
