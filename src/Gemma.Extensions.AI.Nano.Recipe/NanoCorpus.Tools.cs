using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// Conversations with tools.
internal static partial class NanoCorpus
{
    private static NanoCase Tool(Lexicon l, bool mixed)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, mixed);
        DrawnTool tool = Tools.Draw(l, naming, taken);
        ChatOptions options = Offer(l, naming, taken, tool, l.Random.Next(0, 6));
        ToolUse use = tool.Use();
        List<ChatMessage> messages = new();
        if (l.Chance(0.1))
        {
            AddExchange(l, messages);
        }

        messages.Add(User(use.Request));
        string answer = use.Answer;
        ToolUse[] uses = [use];
        if (use.Arguments.Length == 1 && l.Chance(0.08))
        {
            ToolUse second = tool.Use();
            uses = [use, second];
            messages[^1] = User(use.Request + " " + second.Request);
            answer += " " + second.Answer;
        }

        messages.Add(new ChatMessage(ChatRole.Assistant, [.. uses.Select((u, i) => new FunctionCallContent("call" + i, tool.Name, u.Arguments.ToDictionary(a => a.Name, a => (object?)a.Value)))]));
        messages.Add(new ChatMessage(ChatRole.Tool, [.. uses.Select((u, i) => new FunctionResultContent("call" + i, Plain(u.Result)))]));
        messages.Add(Model(answer));
        return new NanoCase(mixed ? Skill.MixedTool : Skill.Tool, messages, options) { Contains = [.. uses.SelectMany(u => Values(u.Result))] };
    }

    private static NanoCase WithoutTool(Lexicon l)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, mixed: false);
        DrawnTool missing = Tools.Draw(l, naming, taken);
        ChatOptions options = Offer(l, naming, taken, null, l.Random.Next(1, 6));
        List<ChatMessage> messages = new();
        if (l.Chance(0.5))
        {
            messages.AddRange([User(missing.Use().Request), Model(NoTool)]);
        }
        else
        {
            (string[] asked, string answer) = l.Pick(Talk.Exchanges.Where(e => !e.Answer.Contains("tool for it", StringComparison.Ordinal) && !e.Answer.All(char.IsDigit)).ToArray());
            messages.AddRange([User(Talk.Typed(l, l.Pick(asked))), Model(answer)]);
        }

        return new NanoCase(Skill.NoTool, messages, options);
    }

    /// <summary>
    /// Each tool is asked for once, mostly: what was asked before could be answered from the call before, without looking at the tools. Tools of
    /// one kind differ in nothing but what they are about.
    /// </summary>
    private static NanoCase ToolDrill(Lexicon l)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        // Some drills are easy, which is where the comparing begins: few tools, about one common word each, whose names begin differently.
        bool easy = l.Chance(0.25);
        Naming naming = new(l, easy || l.Chance(0.2));
        int? kind = easy ? l.Random.Next(Tools.LookupKinds) : l.Chance(0.7) ? l.Random.Next(Tools.Kinds) : null;
        IEnumerable<DrawnTool> many = Enumerable.Range(0, easy ? 10 : l.Random.Next(3, 8)).Select(_ => Tools.Draw(l, naming, taken, kind, easy));
        DrawnTool[] drawn = easy ? [.. many.DistinctBy(tool => tool.Name[..2].ToUpperInvariant()).Take(l.Random.Next(3, 5))] : [.. many.DistinctBy(tool => tool.Name)];
        DrawnTool[] offered = [.. drawn.Skip(1)];
        l.Random.Shuffle(drawn);
        List<ChatMessage> messages = new();
        foreach (DrawnTool next in drawn)
        {
            DrawnTool tool = l.Chance(0.15) ? l.Pick(drawn) : next;
            ToolUse use = tool.Use();
            messages.AddRange([User(use.Request), !offered.Contains(tool) ? Model(NoTool) : new ChatMessage(ChatRole.Assistant,
                [new FunctionCallContent("call", tool.Name, use.Arguments.ToDictionary(a => a.Name, a => (object?)a.Value))])]);
        }

        return new NanoCase(Skill.Tool, messages, new ChatOptions { Tools = [.. offered.Select(tool => tool.Declaration)] });
    }

    private static ChatOptions Offer(Lexicon l, Naming naming, HashSet<string> taken, DrawnTool? right, int others)
    {
        List<AITool> tools = new();
        HashSet<string> names = new(StringComparer.Ordinal);
        if (right is not null)
        {
            tools.Add(right.Declaration);
            names.Add(right.Name);
        }

        for (int i = 0; i < others; i++)
        {
            DrawnTool other = Tools.Draw(l, naming, taken);
            if (names.Add(other.Name))
            {
                tools.Insert(l.Random.Next(tools.Count + 1), other.Declaration);
            }
        }

        return new ChatOptions { Tools = tools };
    }

    private static object Plain(object result) =>
        result is (string Name, object Value)[] fields ? fields.ToDictionary(f => f.Name, f => (object?)f.Value) : result;

    private static IEnumerable<string> Values(object result) => result switch
    {
        (string, object)[] fields => fields.Select(f => Convert.ToString(f.Item2, CultureInfo.InvariantCulture)!),
        "ok" or "done" or "success" or "true" => [],
        _ => [Convert.ToString(result, CultureInfo.InvariantCulture)!],
    };
}
