using System.Globalization;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// Conversations with tools.
internal static partial class NanoCorpus
{
    private static readonly Phrasings s_joined = new Phrasings("{a} {b}", "{a} And {b}", "{a} Then: {b}", "{a} Also: {b}", "Two things. {a} {b}", "{a}\n{b}", "{a} After that: {b}", "First: {a} Second: {b}").Also(
        "{a} (Next|Afterwards|Besides|Moreover|In addition|Furthermore)(:|,) {b}", "(Do two things|I have two wishes|I need two things|Two questions|Both, please)(.|:) {a} {b}", "1. {a} 2. {b}", "{a}\n\n{b}",
        "- {a}\n- {b}", "{a} (And then|Plus|Another thing|One more|As well)(:|,|) {b}", "(One|A): {a} (Two|B): {b}", "{a} (When that is done|At the same time|Also please|Once more)(:|,) {b}",
        "(Please do both|Together). {a} {b}", "(To begin|At first|Start with this): {a} (To end|At last|Finish with this): {b}");

    private static NanoCase Tool(Lexicon l, bool mixed)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, mixed);
        DrawnTool tool = Tools.Draw(l, naming, taken);
        ChatOptions options = Offer(l, naming, taken, [tool], l.Random.Next(0, 8));
        ToolUse use = tool.Use();
        List<ChatMessage> messages = new();
        if (l.Chance(0.1))
        {
            AddExchange(l, messages);
        }

        if (l.Chance(0.15))
        {
            AddUse(messages, tool, tool.Use());
        }

        AddUse(messages, tool, use);
        return new NanoCase(mixed ? Skill.MixedTool : Skill.Tool, messages, options) { Contains = [.. Values(use.Result)] };
    }

    /// <summary>A request that is answered, and another that only the conversation explains: it calls again with what has changed.</summary>
    private static NanoCase FollowUp(Lexicon l) => FollowUps(l, others: 6, fewest: 2, most: 4);

    /// <summary>A conversation about one tool among fewer than <paramref name="others"/> others, of <paramref name="fewest"/> requests or more, but fewer than <paramref name="most"/>.</summary>
    private static NanoCase FollowUps(Lexicon l, int others, int fewest, int most)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, l.Chance(0.5));
        DrawnTool tool = Tools.Draw(l, naming, taken, l.Random.Next(Tools.LookupKinds));
        ChatOptions options = Offer(l, naming, taken, [tool], l.Random.Next(0, others));
        List<ChatMessage> messages = new();
        ToolUse use = tool.Use();
        for (int turns = l.Random.Next(fewest, most); turns > 0; turns--)
        {
            AddUse(messages, tool, use);
            use = tool.FollowUp!(use);
        }

        return new NanoCase(Skill.FollowUp, messages, options);
    }

    /// <summary>Two calls at once, of one tool or of two, or one after the other, the second with what the first returned; answered from both results.</summary>
    private static NanoCase TwoCalls(Lexicon l)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, l.Chance(0.5));
        List<ChatMessage> messages = new();
        switch (l.Random.Next(3))
        {
            case 0:
                DrawnTool one = Tools.Draw(l, naming, taken, l.Random.Next(Tools.LookupKinds));
                ChatOptions options = Offer(l, naming, taken, [one], l.Random.Next(0, 5));
                (string request, ToolUse first, ToolUse second) = one.Both!();
                messages.Add(User(request));
                AddCalls(messages, [(one, first), (one, second)]);
                messages.Add(Model(first.Answer + " " + second.Answer));
                return new NanoCase(Skill.TwoCalls, messages, options) { Contains = [.. Values(first.Result), .. Values(second.Result)] };
            case 1:
                DrawnTool left = Tools.Draw(l, naming, taken), right = Tools.Draw(l, naming, taken);
                while (right.Name == left.Name)
                {
                    right = Tools.Draw(l, naming, taken);
                }

                ToolUse a = left.Use(), b = right.Use();
                messages.Add(User(s_joined.Fill(l, ("a", a.Request), ("b", b.Request))));
                AddCalls(messages, [(left, a), (right, b)]);
                messages.Add(Model(a.Answer + " " + b.Answer));
                return new NanoCase(Skill.TwoCalls, messages, Offer(l, naming, taken, [left, right], l.Random.Next(0, 4))) { Contains = [.. Values(a.Result), .. Values(b.Result)] };
            default:
                return Chain(l, naming, taken, messages);
        }
    }

    private static NanoCase Chain(Lexicon l, Naming naming, HashSet<string> taken, List<ChatMessage> messages)
    {
        DrawnTool finds, uses;
        (string Request, ToolUse First, ToolUse Second) chain;
        do
        {
            (finds, uses, chain) = Tools.Chain(l, naming, taken);
        }
        while (finds.Name == uses.Name);

        messages.Add(User(chain.Request));
        AddCalls(messages, [(finds, chain.First)]);
        AddCalls(messages, [(uses, chain.Second)]);
        messages.Add(Model(chain.Second.Answer));
        return new NanoCase(Skill.TwoCalls, messages, Offer(l, naming, taken, [finds, uses], l.Random.Next(0, 4))) { Contains = [.. Values(chain.First.Result), .. Values(chain.Second.Result)] };
    }

    /// <summary>A request that no tool answers, or small talk, at once or after a tool was used.</summary>
    private static NanoCase WithoutTool(Lexicon l)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, l.Chance(0.5));
        DrawnTool missing = Tools.Draw(l, naming, taken);
        DrawnTool[] used = l.Chance(0.35) ? [Tools.Draw(l, naming, taken)] : [];
        ChatOptions options = Offer(l, naming, taken, used, l.Random.Next(1 - used.Length, 7));
        List<ChatMessage> messages = new();
        foreach (DrawnTool tool in used)
        {
            AddUse(messages, tool, tool.Use());
        }

        if (l.Chance(0.5))
        {
            messages.AddRange([User(missing.Use().Request), Model(NoTool)]);
        }
        else if (used.Length > 0 && l.Chance(0.5))
        {
            messages.AddRange([User(Talk.Typed(l, Talk.Thanks.Asked.Fill(l))), Model(Talk.Thanks.Answer)]);
        }
        else
        {
            (Phrasings asked, string answer) = l.Pick(Talk.Exchanges.Where(e => !e.Answer.Contains("tool for it", StringComparison.Ordinal) && !e.Answer.All(char.IsDigit)).ToArray());
            messages.AddRange([User(Talk.Typed(l, asked.Fill(l))), Model(answer)]);
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
        bool easy = l.Chance(0.15);
        Naming naming = new(l, easy || l.Chance(0.6));
        int? kind = easy ? l.Random.Next(Tools.LookupKinds) : l.Chance(0.6) ? l.Random.Next(Tools.Kinds) : null;
        IEnumerable<DrawnTool> many = Enumerable.Range(0, easy ? 10 : l.Random.Next(3, 10)).Select(_ => Tools.Draw(l, naming, taken, kind, easy));
        DrawnTool[] drawn = easy ? [.. many.DistinctBy(tool => tool.Name[..2].ToUpperInvariant()).Take(l.Random.Next(3, 5))] : [.. many.DistinctBy(tool => tool.Name)];
        DrawnTool[] offered = [.. drawn.Skip(1)];
        l.Random.Shuffle(drawn);
        List<ChatMessage> messages = new();
        foreach (DrawnTool next in drawn)
        {
            DrawnTool tool = l.Chance(0.15) ? l.Pick(drawn) : next;
            ToolUse use = tool.Use();
            DrawnTool other = l.Pick(drawn);
            if (other != tool && offered.Contains(tool) && offered.Contains(other) && l.Chance(0.3))
            {
                ToolUse second = other.Use();
                messages.AddRange([User(s_joined.Fill(l, ("a", use.Request), ("b", second.Request))), new ChatMessage(ChatRole.Assistant, [Call(tool, use, "0"), Call(other, second, "1")])]);
            }
            else
            {
                messages.AddRange([User(use.Request), !offered.Contains(tool) ? Model(NoTool) : new ChatMessage(ChatRole.Assistant, [Call(tool, use, "0")])]);
            }
        }

        return new NanoCase(Skill.Tool, messages, new ChatOptions { Tools = [.. offered.Select(tool => tool.Declaration)] });
    }

    /// <summary>A conversation of many requests that only what stands before explains: each call takes what was said last.</summary>
    private static NanoCase FollowUpDrill(Lexicon l) => FollowUps(l, others: 5, fewest: 4, most: 8);

    private static FunctionCallContent Call(DrawnTool tool, ToolUse use, string id) => new(id, tool.Name, use.Arguments.ToDictionary(a => a.Name, a => (object?)a.Value));

    /// <summary>A request, the call, its result and the answer.</summary>
    private static void AddUse(List<ChatMessage> messages, DrawnTool tool, ToolUse use)
    {
        messages.Add(User(use.Request));
        AddCalls(messages, [(tool, use)]);
        messages.Add(Model(use.Answer));
    }

    private static void AddCalls(List<ChatMessage> messages, IReadOnlyList<(DrawnTool Tool, ToolUse Use)> calls)
    {
        string id = string.Create(CultureInfo.InvariantCulture, $"call{messages.Count}");
        messages.Add(new ChatMessage(ChatRole.Assistant, [.. calls.Select((c, i) => Call(c.Tool, c.Use, id + i))]));
        messages.Add(new ChatMessage(ChatRole.Tool, [.. calls.Select((c, i) => new FunctionResultContent(id + i, Plain(c.Use.Result)))]));
    }

    private static ChatOptions Offer(Lexicon l, Naming naming, HashSet<string> taken, DrawnTool[] right, int others)
    {
        List<AITool> tools = [.. right.Select(tool => tool.Declaration)];
        HashSet<string> names = [.. right.Select(tool => tool.Name)];
        for (int i = 0; i < others && tools.Count < 8; i++)
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
