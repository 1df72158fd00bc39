using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>The skill that a case trains; the evaluation reports each separately.</summary>
internal enum Skill
{
    Talk,
    Passage,
    Absent,
    Sources,
    Tool,
    NoTool,
    Json,
    System,
    Repeat,
    MixedTool,
    FollowUp,
    TwoCalls,
    Typed,
    Mcp,
    Handoff,
}

/// <summary>A generated conversation; its assistant messages are the right answers.</summary>
internal sealed record NanoCase(Skill Skill, List<ChatMessage> Messages, ChatOptions? Options = null)
{
    /// <summary>Values that the last answer has to contain.</summary>
    public string[] Contains { get; init; } = [];
}

/// <summary>
/// The generated corpus of gemma2-nano. Case i of a seed is always the same, training and held-out cases share no name, place, number or tool,
/// and every case is rendered by the chat template that serves requests.
/// </summary>
internal static partial class NanoCorpus
{
    public const string Refusal = "The text does not say that.";
    public const string SourceRefusal = "That is not in the documents.";
    public const string NoTool = "I have no tool for that.";

    private const string NameKey = "\"name\":\"", Colon = "\":";

    private static readonly string[] s_assistants =
    [
        "You are a helpful assistant.", "You are a helpful assistant.", "You are a friendly assistant.", "You answer briefly.", "Be polite and brief.",
        "You are a concise assistant. Use the tools when they help.", "Answer the question of the user.", "You are a helpful assistant who answers in one sentence.", "You are an assistant. Answer in a few words.",
        "You are an expert who helps people.", "You help the customers of a shop.",
    ];

    private static readonly Phrasings s_told = new("My name is {n}.", "I am {n}.", "(Hi|Hello), I am {n}.", "Call me {n}", "I'm {n}(.|!|)", "(Hey|Good morning), (my name is|this is) {n}.", "You can call me {n}.", "{n} is my name.");

    private static readonly Phrasings s_asksName = new(
        "What is my name?", "Do you (remember|know) my name?", "Who am I?", "what's my name", "(Tell|Say) me my name.", "How am I called?", "What did I say my name was?", "Can you (say|tell me) my name?");

    private static readonly Phrasings s_capitals = new(
        "Answer in capital letters.", "Answer in capitals.", "Always write in capital letters.", "Use only capital letters.", "(Please |)(write|reply|respond) in (capitals|capital letters|upper case)(.|!)", "Everything you say is in (capitals|upper case).",
        "Your answers are (all |)in capital letters.", "Capital letters only.");

    private static readonly Phrasings s_starts = new(
        "Start every answer with the word {w}.", "Begin your answer with {w}.", "Always start with {w}.", "The first word of (every|each|your) answer is {w}.", "Open (every|each) (answer|reply) with {w}.", "(Put|Write|Say) {w} before every answer.",
        "Every reply begins with {w}.", "(Please |)start with {w} whenever you answer.");

    private static readonly Phrasings s_ends = new(
        "End every answer with the word {w}.", "Finish your answer with {w}.", "Always end with {w}.", "The last word of (every|each|your) answer is {w}.", "Close (every|each) (answer|reply) with {w}.", "(Put|Write|Say) {w} after every answer.",
        "Every reply ends with {w}.", "(Please |)finish with {w} whenever you answer.");

    private static readonly Phrasings s_named = new(
        "Your name is {w}.", "You are an assistant called {w}.", "You are {w}.", "(You go by|You use) the name {w}.", "Call yourself {w}.", "You are {w}, (a|the) (helpful|friendly) assistant.", "(People|Users) call you {w}.", "{w} is your name.");

    private static readonly Phrasings s_whoAreYou = new(
        "what is your name", "who are you", "how are you called", "tell me your name", "what should I call you", "do you have a name", "who am I talking to", "what do (people|they) call you");

    private static readonly Phrasings s_only = new(
        "Answer every question with {w}.", "Only say {w}.", "Reply only with the word {w}.", "Whatever (is asked|the user says), (answer|say) {w}.", "Your only answer is {w}.", "(Say|Write) nothing but {w}.", "(Always |)answer {w} and nothing else.",
        "(Every|Each) answer is {w}.");

    private static readonly Phrasings s_repeat = new("Repeat: {t}", "Say this: {t}", "Repeat after me: {t}", "Copy this text.\n\n{t}", "Repeat the text: {t}", "(Write|Echo) (this|the following)( again|): {t}", "Give me this text back: {t}", "(Please |)say: {t}");

    /// <summary>Case <paramref name="index"/> of a seed.</summary>
    /// <param name="seed">Seed of the corpus.</param>
    /// <param name="index">Number of the case.</param>
    /// <param name="split">Side of the fence for names of everything.</param>
    /// <param name="skill">What it practises; null: drawn from the mixture.</param>
    /// <param name="entities">Told every name, place, number, title and tool noun that was drawn for the case.</param>
    /// <param name="phrasing">Side of the fence for phrasings.</param>
    /// <param name="templates">Told every template that the case was put in, and its side of the fence.</param>
    public static NanoCase Draw(int seed, int index, Split split, Skill? skill = null, Action<string>? entities = null, Split phrasing = Split.Train, Action<string, Split>? templates = null)
    {
        Lexicon l = Lexicon.Of(seed, index, split, entities, phrasing, templates);
        NanoCase drawn = (skill ?? Mixture(l)) switch
        {
            Skill.Talk => Conversation(l),
            Skill.Passage => Passage(l, absent: false),
            Skill.Absent => Passage(l, absent: true),
            Skill.Sources => Sources(l),
            Skill.Tool => Tool(l, mixed: false),
            Skill.MixedTool => Tool(l, mixed: true),
            Skill.NoTool => WithoutTool(l),
            Skill.Json => Extraction(l),
            Skill.System => Instruction(l),
            Skill.FollowUp => FollowUp(l),
            Skill.TwoCalls => TwoCalls(l),
            Skill.Typed => Typed(l),
            Skill.Mcp => Mcp(l),
            Skill.Handoff => Handoff(l),
            _ => Repetition(l),
        };
        if (drawn.Skill is not (Skill.System or Skill.Repeat or Skill.Sources or Skill.Handoff) && l.Chance(drawn.Skill == Skill.Talk ? 0.3 : 0.12))
        {
            ChatOptions options = drawn.Options ?? new ChatOptions();
            options.Instructions = l.Pick(s_assistants);
            return drawn with { Options = options };
        }

        return drawn;
    }

    private static Skill Mixture(Lexicon l) => l.Random.Next(100) switch
    {
        < 9 => Skill.Passage,
        < 21 => Skill.Absent,
        < 29 => Skill.Sources,
        < 33 => Skill.Tool,
        < 40 => Skill.MixedTool,
        < 49 => Skill.NoTool,
        < 53 => Skill.FollowUp,
        < 59 => Skill.TwoCalls,
        < 64 => Skill.Json,
        < 75 => Skill.Typed,
        < 81 => Skill.Mcp,
        < 84 => Skill.Handoff,
        < 88 => Skill.Talk,
        < 98 => Skill.System,
        _ => Skill.Repeat,
    };

    /// <summary>
    /// The whole conversation as tokens; the assistant's turns with their ends are what is trained. Names of JSON members too, though a grammar gives them: a grammar leaves open into
    /// which pieces a name is cut, and after a cut that training has never seen the model does not know where it is.
    /// </summary>
    public static TrainingDocument Render(GemmaTokenizer tokenizer, NanoCase drawn)
    {
        TrainingDocument document = TrainingData.Conversation(TurnFormat.Gemma(tokenizer), drawn.Messages, modelTurnsOnly: true, drawn.Options);
        return drawn.Skill is Skill.Json or Skill.Typed ? CutAtColons(tokenizer, document) : document;
    }

    /// <summary>
    /// The document with no piece that goes on behind the colon of a member. Whether a text, a number, a list or nothing comes there is said by the schema, which no prompt shows: a piece that
    /// opens a text would have to be chosen before the grammar can tell that it is one.
    /// </summary>
    private static TrainingDocument CutAtColons(GemmaTokenizer tokenizer, TrainingDocument document)
    {
        int colon = tokenizer.Encode(Colon, matchSpecial: false).Single();
        List<int> tokens = new(document.Tokens.Length);
        List<bool> trained = new(document.Tokens.Length);
        for (int i = 0; i < document.Tokens.Length; i++)
        {
            string piece = tokenizer.GetPiece(document.Tokens[i]);
            int[] cut = document.Trained![i] && piece.Length > Colon.Length && piece.StartsWith(Colon, StringComparison.Ordinal)
                ? [colon, .. tokenizer.Encode(piece.AsSpan(Colon.Length), matchSpecial: false)]
                : [document.Tokens[i]];
            tokens.AddRange(cut);
            trained.AddRange(Enumerable.Repeat(document.Trained[i], cut.Length));
        }

        return new TrainingDocument([.. tokens], [.. trained]);
    }

    /// <summary>
    /// The same, but only the tokens at which the answer is decided are trained: how a turn begins, which tool a call names, how an argument begins, whether another
    /// call follows, which passage is cited. What follows a decision is copied, learned long before, and would drown it in the mean.
    /// </summary>
    public static TrainingDocument RenderDecisions(GemmaTokenizer tokenizer, NanoCase drawn)
    {
        TrainingDocument document = Render(tokenizer, drawn);
        bool[] decisions = new bool[document.Tokens.Length];
        string said = "";
        for (int i = 1; i < decisions.Length; i++)
        {
            if (!document.Trained![i])
            {
                said = "";
                continue;
            }

            int name = said.LastIndexOf(NameKey, StringComparison.Ordinal);
            decisions[i] = said.Length == 0 || said[^1] == '[' || said.EndsWith("\":\"", StringComparison.Ordinal) || said.EndsWith(ToolMarkup.Own.CallEnd, StringComparison.Ordinal)
                || (name >= 0 && said.IndexOf('"', name + NameKey.Length) < 0);
            said += tokenizer.GetPiece(document.Tokens[i]);
        }

        return document with { Trained = decisions };
    }

    private static ChatMessage User(string text) => new(ChatRole.User, text);

    private static ChatMessage Model(string text) => new(ChatRole.Assistant, text);

    private static NanoCase Conversation(Lexicon l)
    {
        List<ChatMessage> messages = new();
        if (l.Chance(0.2))
        {
            // A name that is told and asked for later.
            string name = l.FirstName();
            messages.AddRange([User(s_told.Fill(l, ("n", name))), Model($"Nice to meet you, {name}!")]);
            if (l.Chance(0.4))
            {
                AddExchange(l, messages);
            }

            if (l.Chance(0.7))
            {
                messages.AddRange([User(s_asksName.Fill(l)), Model($"Your name is {name}.")]);
            }

            return new NanoCase(Skill.Talk, messages);
        }

        for (int turns = l.Random.Next(1, 4); turns > 0; turns--)
        {
            AddExchange(l, messages);
        }

        return new NanoCase(Skill.Talk, messages);
    }

    private static void AddExchange(Lexicon l, List<ChatMessage> messages)
    {
        if (l.Chance(0.2))
        {
            messages.AddRange([User(Talk.Typed(l, Talk.WorldQuestion(l))), Model(Talk.DoNotKnow)]);
            return;
        }

        (Phrasings asked, string answer) = l.Pick(l.Chance(0.2) ? Talk.Common : Talk.Exchanges);
        messages.AddRange([User(Talk.Typed(l, asked.Fill(l))), Model(answer)]);
    }

    private static NanoCase Instruction(Lexicon l)
    {
        (Phrasings asked, string answer) = l.Pick(Talk.Exchanges);
        string question = Talk.Typed(l, asked.Fill(l)), word = l.Chance(0.5) ? l.Capital(l.Word()) : l.FirstName();
        string instruction;
        switch (l.Random.Next(6))
        {
            case 0 or 1:
                instruction = s_capitals.Fill(l);
                answer = answer.ToUpperInvariant();
                break;
            case 2:
                instruction = s_starts.Fill(l, ("w", word));
                answer = $"{word} {answer}";
                break;
            case 3:
                instruction = s_ends.Fill(l, ("w", word));
                answer = $"{answer} {word}";
                break;
            case 4:
                instruction = s_named.Fill(l, ("w", word));
                question = Talk.Typed(l, s_whoAreYou.Fill(l));
                answer = $"My name is {word}.";
                break;
            default:
                instruction = s_only.Fill(l, ("w", word));
                answer = word;
                break;
        }

        List<ChatMessage> messages = [User(question), Model(answer)];
        return new NanoCase(Skill.System, messages, new ChatOptions { Instructions = l.Chance(0.2) ? "You are a helpful assistant. " + instruction : instruction });
    }

    private static NanoCase Repetition(Lexicon l)
    {
        string text = l.Random.Next(3) switch
        {
            0 => l.Phrase(),
            1 => Describe(l, Facts.Any(l), l.Random.Next(1, 6)).Text.Replace('\n', ' '),
            _ => string.Join(' ', Enumerable.Range(0, l.Random.Next(2, 16)).Select(_ => l.Chance(0.5) ? l.Word() : l.City())),
        };
        return new NanoCase(Skill.Repeat, [User(s_repeat.Fill(l, ("t", text))), Model(text)]);
    }
}
