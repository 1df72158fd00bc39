using System.Globalization;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// Tools of servers, and agents that are called as tools.
internal static partial class NanoCorpus
{
    /// <summary>The instruction of agents that can hand off, as the Agent Framework gives one, in words of this project.</summary>
    private const string HandoffInstruction =
        "You are one of several agents. Where another agent fits the user's request better, hand the conversation to it: call its function, which is named `handoff_to_<agent_id>`; "
        + "its description says what that agent does. Say nothing to the user about the handoff.";

    private static readonly (string Field, string[] Words)[] s_fields =
    [
        ("billing", ["invoice", "payment", "refund", "charge", "bill", "discount"]), ("shipping", ["parcel", "delivery", "package", "courier", "tracking number"]), ("travel", ["flight", "hotel", "visa", "luggage", "train ticket"]),
        ("math", ["equation", "fraction", "triangle", "sum", "percentage"]), ("history", ["empire", "war", "revolution", "king", "treaty"]), ("cooking", ["recipe", "sauce", "oven", "dough", "soup"]), ("music", ["song", "guitar", "melody", "concert", "album"]),
        ("health", ["headache", "fever", "medicine", "doctor", "diet"]), ("law", ["contract", "lawsuit", "court", "licence", "lawyer"]), ("gardening", ["rose", "lawn", "seed", "hedge", "compost"]), ("sports", ["match", "league", "goal", "coach", "training"]),
        ("insurance", ["claim", "policy", "damage", "accident", "premium"]), ("banking", ["loan", "account", "credit card", "transfer", "mortgage"]), ("hardware", ["screen", "keyboard", "printer", "battery", "charger"]), ("software", ["crash", "update", "password", "login", "bug"]),
        ("weather", ["storm", "rain", "snow", "temperature", "forecast"]), ("news", ["headline", "election", "report", "article", "interview"]), ("art", ["painting", "museum", "sculpture", "drawing", "gallery"]), ("cars", ["engine", "tyre", "brake", "gearbox", "fuel"]),
        ("pets", ["dog", "cat", "vet", "leash", "aquarium"]), ("housing", ["rent", "landlord", "flat", "heating", "lease"]), ("education", ["exam", "course", "homework", "teacher", "grade"]), ("fashion", ["dress", "shoes", "jacket", "fabric", "belt"]),
        ("astronomy", ["planet", "comet", "telescope", "moon", "galaxy"]), ("recruiting", ["job", "interview", "application", "salary", "career"]), ("security", ["alarm", "camera", "lock", "burglar", "key"]), ("archaeology", ["excavation", "tomb", "relic", "ruin", "mummy"]),
        ("plumbing", ["tap", "drain", "leak", "toilet", "water pipe"]), ("cycling", ["bicycle", "pedal", "saddle", "race bike", "bell"]), ("publishing", ["manuscript", "cover", "editor", "print run", "novel"]),
        ("customs", ["tariff", "border", "import", "duty", "declaration"]), ("furniture", ["sofa", "wardrobe", "armchair", "stool", "bookcase"]),
    ];

    private static readonly Phrasings s_agents = new Phrasings(
        "(Handles|Answers) (questions about |)(everything around |){f}: {a}, {b}.", "(Specialist|Expert) (for|in) {f} ({a}, {b})", "(Helps|Helps users|Assists) with {f}, such as {a} and {b}.", "{a}, {b} and other {f} (questions|matters)", "Knows about {f}: {a}, {b}.",
        "(The|An) agent for {f}, {a} and {b}.", "(Takes|Looks after) {f} (cases|requests), such as {a} and {b}.", "Use (this|it) for {f}, {a}, {b}.").Also(
        "(Deals|Works|Is busy) with {f}: {a}, {b}( and more| and so on|).", "(Ask|Call|Choose|Take) (it|this|this agent) (about|for|on) {a}, {b} (and|or) (other|anything in) {f}.",
        "(Responsible|In charge|There) for {f}(:|,| such as) {a}, {b}.", "{f}: {a} and {b}", "(Solves|Covers|Treats|Explains|Knows) {f}( questions| problems| topics|), (for example|like|say) {a} and {b}.",
        "(Advises|Supports|Serves) (users|customers|people) (in|on|with) {f}, (for instance|like|as) {a}, {b}.", "(Everything|All|Anything) (about|in|around) {f}, {a}, {b}.",
        "(Desk|Team|Service|Help) (for|of) {f} ({a}, {b}).", "(If it is about|When the user asks about|For) {a} or {b}( or other {f}|).", "Good (at|with|in) {f}, {a} and {b}.", "{a}, {b}, {f}.");

    private static readonly Phrasings s_concern = new Phrasings(
        "I have a (question|problem) (about|with) (my|the|a) {w}.", "My {w} (is wrong|does not work|is missing|is broken).", "(Can|Could) you help me with (my|a|the) {w}?", "I need help with (my|the|a) {w}(, please|).", "What (about|is with) my {w}?",
        "There is (something wrong|an issue) with the {w}", "(Where|How) (do|can) I (get|find|change) (a|the|my) {w}?", "(Please |)(explain|tell me about) the {w}.", "Who can help me with (a|my) {w}?", "I (want|would like) to (talk|ask) about (my|the) {w}.", "{w} (question|problem)",
        "It is about (my|a|the) {w}.").Also(
        "(Is|Was) (my|the|a) {w} (ready|ok|fine|right|included)?", "(Why|When|How) (is|was|will be) (my|the) {w} (late|wrong|changed|so bad|ready)?",
        "(Please |)(look at|check|fix|see to|take care of) (my|the) {w}.", "I (lost|forgot|do not understand|don't understand|am worried about|complain about|am unhappy with) (my|the) {w}.",
        "(Something|Anything) (about|on) (the|a|my) {w}(, please|)(?|.)", "(Do you|Does anybody|Who) (know|knows) (about|something about|more about) (the |a |my |){w}?",
        "(What|Which) {w} (is|do I have|should I take|is right)?", "(Tell|Inform|Advise) me (on|about) (a|my|the) {w}.", "(Help|Support|Advice)(, my {w}| with the {w}|: {w})(!|.|)",
        "(We|I) (have|got) (no|a new|an old|a broken|a bad) {w}(, what now|).", "{w}(?|!|, please.)", "My {w} (was|has been) (lost|changed|cancelled|damaged|forgotten).",
        "(How|What) (much is|does|about) (a|the|my) {w}( cost| mean|)?");

    private static JsonElement QuerySchema { get; } = JsonElement.Parse("""{"type":"object","properties":{"query":{"description":"Input query to invoke the agent.","type":"string"}},"required":["query"]}""");

    private static JsonElement FreeReasonSchema { get; } = JsonElement.Parse("""{"type":"object","properties":{"reasonForHandoff":{"description":"The reason for the handoff","type":["string","null"],"default":null}}}""");

    private static JsonElement ReasonSchema { get; } = JsonElement.Parse("""{"type":"object","properties":{"reasonForHandoff":{"description":"The reason for the handoff","type":"string"}},"required":["reasonForHandoff"]}""");

    private static NanoCase Mcp(Lexicon l)
    {
        List<McpTool> offered = Serve(l, l.Random.Next(1, 9), out McpTool right);
        (string request, Dictionary<string, object?> arguments) = McpServers.Use(l, right);
        string result = l.Random.Next(3) switch { 0 => l.Phrase(), 1 => l.Medium(), _ => l.Word() + " " + l.Code() };
        List<ChatMessage> messages =
        [
            User(l.Polite(request)), new ChatMessage(ChatRole.Assistant, [new FunctionCallContent("call", right.Name, arguments)]),
            new ChatMessage(ChatRole.Tool, [new FunctionResultContent("call", result)]), Model($"The result is: {result}"),
        ];
        return new NanoCase(Skill.Mcp, messages, new ChatOptions { Tools = [.. offered.Select(tool => tool.Declaration)] }) { Contains = [result] };
    }

    /// <summary>A request for each tool of a server.</summary>
    private static NanoCase McpDrill(Lexicon l)
    {
        McpTool[] offered = [.. Serve(l, l.Random.Next(3, 10), out _)];
        ChatOptions options = new() { Tools = [.. offered.Select(tool => tool.Declaration)] };
        l.Random.Shuffle(offered);
        List<ChatMessage> messages = new();
        foreach (McpTool tool in offered)
        {
            (string request, Dictionary<string, object?> arguments) = McpServers.Use(l, tool);
            messages.AddRange([User(l.Polite(request)), new ChatMessage(ChatRole.Assistant, [new FunctionCallContent("call", tool.Name, arguments)])]);
        }

        return new NanoCase(Skill.Mcp, messages, options);
    }

    /// <summary>A tool, and others beside it: of its server first.</summary>
    private static List<McpTool> Serve(Lexicon l, int count, out McpTool chosen)
    {
        McpTool[] usable = [.. McpServers.All.Where(tool => l.Split == Split.HeldOut || !McpServers.Unseen.Contains(tool.Server))];
        McpTool right = chosen = l.Pick(usable);
        List<McpTool> offered = [right];
        McpTool[] others = [.. usable.Where(tool => tool.Server == right.Server), .. l.Chance(0.4) ? usable : []];
        l.Random.Shuffle(others);
        foreach (McpTool other in others)
        {
            // A query is run by whatever runs queries: two servers that do are not told apart by the request.
            if (offered.Count < count && offered.All(tool => tool.Name != other.Name && (tool.Server == other.Server || !Alike(other, tool))))
            {
                offered.Insert(l.Random.Next(offered.Count + 1), other);
            }
        }

        return offered;
    }

    private static bool Alike(McpTool a, McpTool b) =>
        a.Arguments.Where(x => x[0] != '?').Select(Kind).SequenceEqual(b.Arguments.Where(x => x[0] != '?').Select(Kind)) && Kind(a.Arguments.FirstOrDefault() ?? "") is not "city";

    private static string Kind(string argument) => argument[(argument.IndexOf(':', StringComparison.Ordinal) + 1)..];

    /// <summary>Another agent takes over, as handoffs of the Agent Framework are offered, or is asked as a tool; small talk and what is nobody's stays here.</summary>
    private static NanoCase Handoff(Lexicon l)
    {
        Team team = Team.Draw(l);
        List<ChatMessage> messages = new();
        if (l.Chance(0.15))
        {
            (Phrasings asked, string answer) = l.Pick(Talk.Exchanges);
            messages.AddRange([User(Talk.Typed(l, asked.Fill(l))), Model(answer)]);
        }
        else
        {
            messages.AddRange(team.Ask(l, l.Random.Next(team.Options.Tools!.Count)));
            if (team.AsTool)
            {
                string result = Facts.Sentence(l.Phrase()) + ".";
                messages.AddRange([new ChatMessage(ChatRole.Tool, [new FunctionResultContent("call", result)]), Model(result)]);
            }
        }

        return new NanoCase(Skill.Handoff, messages, team.Options);
    }

    /// <summary>A concern for every word that a description names, each once: a second one could be answered from the first.</summary>
    private static NanoCase HandoffDrill(Lexicon l)
    {
        Team team = Team.Draw(l);
        (int Agent, string Word)[] asked = [.. team.Words.SelectMany((words, agent) => words[..2].Select(word => (agent, word)))];
        l.Random.Shuffle(asked);
        return new NanoCase(Skill.Handoff, [.. asked.SelectMany(a => team.Ask(l, a.Agent, a.Word))], team.Options);
    }

    /// <summary>Agents that can be called.</summary>
    /// <param name="AsTool">Each is a tool with a query; otherwise the conversation is handed to it.</param>
    /// <param name="NeedsReason">A handoff has to say why.</param>
    /// <param name="IsOpen">What the agents are about was drawn, so that only their descriptions say it.</param>
    /// <param name="Options">The tools, and the instruction of handoffs.</param>
    /// <param name="Words">What each agent is about; its description names the first two.</param>
    private sealed record Team(bool AsTool, bool NeedsReason, bool IsOpen, ChatOptions Options, string[][] Words)
    {
        public static Team Draw(Lexicon l)
        {
            bool asTool = l.Chance(0.4), needsReason = l.Chance(0.2);
            bool isOpen = l.Split == Split.Train && l.Chance(0.75);
            (string Field, string[] Words)[] fields = isOpen ? OpenFields(l) : [.. s_fields.Where(f => Lexicon.IsHeldOut(f.Field) == (l.Split == Split.HeldOut))];
            l.Random.Shuffle(fields);
            fields = fields[..Math.Min(fields.Length, l.Random.Next(1, 6))];
            int style = l.Random.Next(5);
            List<AITool> tools = new();
            List<string[]> about = new();
            foreach ((int i, (string field, string[] words)) in fields.Index())
            {
                string[] examples = [.. words];
                l.Random.Shuffle(examples);
                about.Add(examples);
                string description = s_agents.Fill(l, ("f", field), ("a", examples[0]), ("b", examples[1]));
                tools.Add(asTool
                    ? AIFunctionFactory.CreateDeclaration(Name(l, field, style), description, QuerySchema)
                    : AIFunctionFactory.CreateDeclaration("handoff_to_" + (style == 0 ? (i + 1).ToString(CultureInfo.InvariantCulture) : Name(l, field, style)), description, needsReason ? ReasonSchema : FreeReasonSchema));
            }

            return new Team(asTool, needsReason, isOpen, new ChatOptions { Tools = tools, Instructions = asTool ? null : HandoffInstruction }, [.. about]);
        }

        /// <summary>
        /// A concern, and the call that passes it on. In training some concerns are not in the description: what fields are about is learned by heart then, which no field can be
        /// that is held out.
        /// </summary>
        public ChatMessage[] Ask(Lexicon l, int agent)
        {
            bool described = IsOpen || l.Split == Split.HeldOut || l.Chance(0.75);
            return Ask(l, agent, l.Pick(described ? Words[agent][..2] : Words[agent]));
        }

        /// <summary>A concern about a word, and the call that passes it on.</summary>
        public ChatMessage[] Ask(Lexicon l, int agent, string word)
        {
            string request = Concern(l, word);
            Dictionary<string, object?> arguments = AsTool ? new() { ["query"] = request } : NeedsReason ? new() { ["reasonForHandoff"] = request } : [];
            return [User(request), new ChatMessage(ChatRole.Assistant, [new FunctionCallContent("call", ((AIFunctionDeclaration)Options.Tools![agent]).Name, arguments)])];
        }

        /// <summary>A request about a word.</summary>
        public static string Concern(Lexicon l, string word) => l.Polite(Facts.Sentence(s_concern.Fill(l, ("w", word))));

        /// <summary>Fields that nobody has listed, of words that belong to no other.</summary>
        private static (string Field, string[] Words)[] OpenFields(Lexicon l)
        {
            List<string> taken = [];
            return [.. Enumerable.Range(0, 5).Select(_ => (New(Name), new[] { New(Concern), New(Concern), New(Concern) }))];

            string Name() => Tools.TopicOrWord(l);

            string Concern() => l.Chance(0.2) ? l.Thing() : Name();

            string New(Func<string> draw)
            {
                string word;
                do
                {
                    word = draw();
                }
                while (taken.Any(other => other.Contains(word, StringComparison.Ordinal) || word.Contains(other, StringComparison.Ordinal))); // "cable" is also of who has "flat cable"

                taken.Add(word);
                return word;
            }
        }

        private static string Name(Lexicon l, string field, int style) => style switch
        {
            1 => field + "_agent",
            2 => l.Capital(field) + "Agent",
            3 => field,
            4 => field + "-expert",
            _ => l.Capital(field),
        };
    }
}
