using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>One measured answer.</summary>
/// <param name="Figure">What it counts for.</param>
/// <param name="Phrasing">Put in a phrasing of training, or in one that was held out.</param>
/// <param name="Right">As it should be.</param>
/// <param name="Asked">The case as text.</param>
/// <param name="Answer">What the model said.</param>
internal sealed record Outcome(string Figure, Split Phrasing, bool Right, string Asked, string Answer);

/// <summary>Held-out cases of every skill, answered greedily by a chat client.</summary>
internal sealed class NanoEvaluation(IChatClient client)
{
    /// <summary>Cases of the evaluation have a seed of their own.</summary>
    internal const int Seed = 2;

    /// <summary>Cases asked at once: the engine batches them, so that weights are read once for all.</summary>
    private const int AtOnce = 16;

    /// <summary>Asks so many cases of every skill, in phrasings of training and in those held out. Outcomes are in the order of the cases.</summary>
    public async Task<IReadOnlyList<Outcome>> Run(int cases, IReadOnlyList<Skill> skills, CancellationToken cancellation = default)
    {
        (Skill Skill, int Index, Split Phrasing)[] all =
            [.. skills.SelectMany(skill => new[] { Split.Train, Split.HeldOut }.SelectMany(phrasing => Enumerable.Range(0, cases).Select(i => (skill, i, phrasing))))];
        List<Outcome>[] results = new List<Outcome>[all.Length];
        await Parallel.ForAsync(0, all.Length, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellation }, async (n, token) =>
        {
            NanoCase drawn = NanoCorpus.Draw(Seed, all[n].Index, Split.HeldOut, all[n].Skill, phrasing: all[n].Phrasing);
            string text = Commands.PlainText(drawn);
            results[n] = [.. (await Check(drawn, token).ConfigureAwait(false)).Select(o => new Outcome(o.Figure, all[n].Phrasing, o.Right, text, o.Answer))];
        }).ConfigureAwait(false);
        return [.. results.SelectMany(outcomes => outcomes)];
    }

    private async Task<List<Measured>> Check(NanoCase drawn, CancellationToken cancellation)
    {
        int last = drawn.Messages.FindLastIndex(message => message.Role == ChatRole.Assistant);
        int call = drawn.Messages.FindIndex(message => message.Contents.Any(content => content is FunctionCallContent));
        switch (drawn.Skill)
        {
            case Skill.Tool:
                List<Measured> outcomes = CheckCall(drawn.Messages[call], await Ask(drawn, call, cancellation).ConfigureAwait(false));
                string said = (await Ask(drawn, last, cancellation).ConfigureAwait(false)).Text;
                return [.. outcomes, new("answer contains the result", drawn.Contains.Length > 0 ? drawn.Contains.All(value => said.Contains(value, StringComparison.Ordinal)) : said.Trim() == drawn.Messages[last].Text, said)];
            case Skill.MixedTool:
                return [CheckCall(drawn.Messages[call], await Ask(drawn, call, cancellation).ConfigureAwait(false))[0] with { Figure = "tool chosen, every name in its own style" }];
            case Skill.FollowUp:
                int again = drawn.Messages.FindIndex(call + 1, message => message.Contents.Any(content => content is FunctionCallContent));
                return [await CheckAll("follow-up calls with the changed argument", drawn, again, cancellation).ConfigureAwait(false)];
            case Skill.TwoCalls:
                return [await CheckAll("two calls, answered from both", drawn, call, cancellation).ConfigureAwait(false)];
            case Skill.Mcp:
                Measured made = await CheckAll("tools of MCP servers: call exact", drawn, call, cancellation, calls: true).ConfigureAwait(false);
                string name = drawn.Messages[call].Contents.OfType<FunctionCallContent>().First().Name;
                bool unseen = McpServers.All.Where(tool => tool.Name == name).All(tool => McpServers.Unseen.Contains(tool.Server));
                return unseen ? [made, made with { Figure = "tools of MCP servers that training has not seen" }] : [made];
            case Skill.Handoff:
                return [await CheckAll("handoff, and agent as a tool", drawn, call < 0 ? last : call, cancellation, calls: call >= 0).ConfigureAwait(false)];
        }

        ChatResponse response = await Ask(drawn, last, cancellation).ConfigureAwait(false);
        string expected = drawn.Messages[last].Text, answer = response.Text.Trim();
        bool called = response.Messages.Any(m => m.Contents.Any(c => c is FunctionCallContent));
        bool exact = answer == expected && !called, ended = response.FinishReason == ChatFinishReason.Stop;
        return drawn.Skill switch
        {
            Skill.Passage => [new("passage questions exact", exact, answer)],
            Skill.Absent => [new("absent answers refused", exact, answer)],
            Skill.Sources => [new("numbered passages: answer and citation exact", exact, answer)],
            Skill.NoTool => [new("no tool called where none fits", exact, called ? "(a call)" : answer)],
            Skill.Json => [new("JSON fields exact", JsonEquals(expected, answer), answer)],
            Skill.Typed => [new("typed extraction exact", JsonEquals(expected, answer), answer), new("typed extraction ends by itself", ended, answer)],
            Skill.Talk => [new("small talk ends by itself", ended, answer), new("small talk answer exact", exact, answer)],
            Skill.System => [new("system instruction followed", exact, answer)],
            _ => [new("text repeated", exact, answer)],
        };
    }

    private static List<Measured> CheckCall(ChatMessage expected, ChatResponse response)
    {
        string wanted = expected.Contents.OfType<FunctionCallContent>().First().Name;
        FunctionCallContent[] called = Calls(response);
        bool chosen = called.Length > 0 && called.All(call => call.Name == wanted);
        return chosen
            ? [new("tool chosen", true, Text(response)), new("arguments exact", SameCalls(expected, response), Text(response))]
            : [new("tool chosen", false, Text(response))];
    }

    /// <summary>The model's turns from one on, each after the right turns before it: calls as they should be, answers with what they should hold.</summary>
    private async Task<Measured> CheckAll(string figure, NanoCase drawn, int from, CancellationToken cancellation, bool calls = false)
    {
        List<string> said = new();
        bool right = true;
        for (int i = from; i < drawn.Messages.Count && right; i++)
        {
            ChatMessage message = drawn.Messages[i];
            bool isCall = message.Contents.Any(content => content is FunctionCallContent);
            if (message.Role != ChatRole.Assistant || (!isCall && calls))
            {
                continue;
            }

            ChatResponse response = await Ask(drawn, i, cancellation).ConfigureAwait(false);
            said.Add(Text(response));
            right = isCall ? SameCalls(message, response)
                : drawn.Contains.Length > 0 ? Calls(response).Length == 0 && drawn.Contains.All(value => response.Text.Contains(value, StringComparison.Ordinal))
                : response.Text.Trim() == message.Text;
        }

        return new Measured(figure, right, string.Join('\n', said));
    }

    private static FunctionCallContent[] Calls(ChatResponse response) => [.. response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>()];

    private static string Text(ChatResponse response) =>
        Calls(response) is { Length: > 0 } calls ? string.Join('\n', calls.Select(static call => ChatTemplate.RenderCall(call))) : response.Text;

    /// <summary>The same calls, in any order, with the same arguments in any order.</summary>
    private static bool SameCalls(ChatMessage expected, ChatResponse response)
    {
        List<FunctionCallContent> called = [.. Calls(response)];
        foreach (FunctionCallContent wanted in expected.Contents.OfType<FunctionCallContent>())
        {
            if (called.FindIndex(call => call.Name == wanted.Name && JsonEquals(Arguments(wanted), Arguments(call))) is int found and >= 0)
            {
                called.RemoveAt(found);
            }
            else
            {
                return false;
            }
        }

        return called.Count == 0;

        static string Arguments(FunctionCallContent call) => ChatTemplate.RenderCall(new FunctionCallContent("", "", call.Arguments))[ToolMarkup.Own.CallStart.Length..^ToolMarkup.Own.CallEnd.Length];
    }

    private async Task<ChatResponse> Ask(NanoCase drawn, int messages, CancellationToken cancellation)
    {
        ChatOptions options = drawn.Options?.Clone() ?? new ChatOptions();
        options.Temperature = 0;
        options.MaxOutputTokens = 256;
        try
        {
            return await client.GetResponseAsync(drawn.Messages.Take(messages), options, cancellation).ConfigureAwait(false);
        }
        catch (GemmaContextLengthException exception)
        {
            // A model whose context is shorter than the case has no answer to it.
            return new ChatResponse(new ChatMessage(ChatRole.Assistant, exception.Message)) { FinishReason = ChatFinishReason.Length };
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

    private readonly record struct Measured(string Figure, bool Right, string Answer);
}
