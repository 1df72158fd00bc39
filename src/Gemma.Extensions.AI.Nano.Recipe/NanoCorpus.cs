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

    /// <summary>In a list of turns: what each answer begins with, which is not trained.</summary>
    public string? Given { get; init; }
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

    private static readonly Phrasings s_told = new Phrasings("My name is {n}.", "I am {n}.", "(Hi|Hello), I am {n}.", "Call me {n}", "I'm {n}(.|!|)", "(Hey|Good morning), (my name is|this is) {n}.", "You can call me {n}.", "{n} is my name.").Also(
        "(The name is|They call me|People call me|Everybody calls me) {n}.", "(I go by|I am called|I'm called) {n}(.|!|)", "(Nice to meet you|Good day|Greetings), I am {n}.",
        "(Just so you know|For the record): (I am|my name is) {n}.", "(Please |)(remember|note): (my name is|I am) {n}.", "{n} (here|speaking)(.|!)", "(Here is|This is) {n}(, hello|).",
        "(My first name|My nickname) is {n}.");

    private static readonly Phrasings s_asksName = new Phrasings(
        "What is my name?", "Do you (remember|know) my name?", "Who am I?", "what's my name", "(Tell|Say) me my name.", "How am I called?", "What did I say my name was?", "Can you (say|tell me) my name?").Also(
        "(So, |And |)(who|what) (did I say I was|am I called)?", "(What|Which) name did I (tell|give) you?", "(Please |)(repeat|recall|say) my name(.|, please.)", "(What|How) do you call me?",
        "(I forgot|Remind me): what is my name?", "(Have you|Did you) (forgotten|forget|keep|noted) my name?", "my name(, please|)?", "(Who|With whom) are you talking (to|with)?",
        "(What|Which) is the name of the (user|person who talks to you)?");

    private static readonly Phrasings s_capitals = new Phrasings(
        "Answer in capital letters.", "Answer in capitals.", "Always write in capital letters.", "Use only capital letters.", "(Please |)(write|reply|respond) in (capitals|capital letters|upper case)(.|!)", "Everything you say is in (capitals|upper case).",
        "Your answers are (all |)in capital letters.", "Capital letters only.").Also(
        "(Speak|Talk) to me (only |)in (capitals|capital letters|upper case|uppercase)(.|!|)", "(Use|Write with|Answer with) (uppercase|capitals|big letters|block capitals)( only|).",
        "(All|Each) (letter|letters|words) (must|have to|should) be (capitals|upper case|capital|uppercase).", "(SHOUT|Shout) (your|all|every) (answers|answer|replies|reply).",
        "(Put|Give|Write) (your|every|each) (answer|reply|response) in (capitals|upper case|uppercase)(, please|).", "(No|Never use) (small|lower case|lowercase) letters.",
        "(The|Your) (answer|reply|text) (has to be|must be|should be|is) in (uppercase|capitals|capital letters|upper case).", "(Keep|Turn) caps lock on.", "(Speak|Write) as if caps lock (was|were) on.",
        "I (want|need|read) (your answers|everything|answers) in (capitals|uppercase|upper case)( letters|).",
        "(Letters|Words|Texts) (are|have to be) (large|capital|upper case)( here|).", "(Only|Just) (capitals|uppercase|capital letters)(, please|)(.|!)", "(It|Everything|The whole answer) (has to|must) be (written |)in (capitals|capital letters|upper case|uppercase).", "(Type|Print|Say) (it|all|everything|each answer) in (capitals|capital letters|upper case|uppercase).", "UPPER CASE (ONLY|PLEASE|ANSWERS)(.|!|)", "(Make|Turn) (every|each) (letter|word) (of your answers |)(a capital|capital|into a capital|upper case).", "(You|The assistant) (write|writes|speak|speaks|answer|answers) (only |always |)in (capitals|capital letters|upper case|uppercase).");

    private static readonly Phrasings s_starts = new Phrasings(
        "Start every answer with the word {w}.", "Begin your answer with {w}.", "Always start with {w}.", "The first word of (every|each|your) answer is {w}.", "Open (every|each) (answer|reply) with {w}.", "(Put|Write|Say) {w} before every answer.",
        "Every reply begins with {w}.", "(Please |)start with {w} whenever you answer.").Also(
        "(The word |){w} (comes|stands|goes|must be|has to be) (first|at the start|in front)( in every answer| of each reply|).",
        "(Each|Every|Any) (response|answer|message|text) (starts|must start|has to start|should begin|opens) with {w}.", "(Say|Write|Type) {w} first(, then answer|, and then the answer|).",
        "(Before|In front of) (you answer|each answer|anything else), (say|write|put) {w}.", "Your (replies|answers|responses|reply) (open|start|begin|must begin) with( the word|) {w}.",
        "{w} is (the first word|the opening word|how you begin)( of all you say| of every reply|).", "(First|Begin by saying|Start by saying) {w}(, always|).",
        "(Use|Take) {w} as the (first|opening) word( of your answer| each time|).", "(Lead with|Prefix every answer with|Precede each answer with) {w}.",
        "I want (every|each) answer to (begin|start|open) with {w}.",
        "(You|You always|The assistant) (start|begin|open|starts|begins|opens) with {w}.", "(At|To) the (start|beginning|front) of (every|each|your) (answer|reply|response) (comes|stands|write|put|say) {w}.", "(Let|Make|Have) (every|each|your) (answer|reply|response) (begin|start|open) with {w}.", "(Answer|Reply|Respond) with {w} (first|at the front|and then the answer).", "(Before|Ahead of) (every|each|the|your) (reply|response|sentence), {w}.", "(Begin|Start|Open) (all|all your|your) (answers|replies|responses|texts) with( the word|) {w}.", "(The|Your) (beginning|start|opening) (of an answer |)(is|must be|has to be) {w}.", "{w} (before|in front of|ahead of) (all|every answer|each reply|what you say).");

    private static readonly Phrasings s_ends = new Phrasings(
        "End every answer with the word {w}.", "Finish your answer with {w}.", "Always end with {w}.", "The last word of (every|each|your) answer is {w}.", "Close (every|each) (answer|reply) with {w}.", "(Put|Write|Say) {w} after every answer.",
        "Every reply ends with {w}.", "(Please |)finish with {w} whenever you answer.").Also(
        "(The word |){w} (comes|stands|goes|must be|has to be) (last|at the end|behind)( in every answer| of each reply|).",
        "(Each|Every|Any) (response|answer|message|text) (ends|must end|has to end|should finish|closes) with {w}.", "(Say|Write|Type) {w} (last|at the end)(, after the answer|).",
        "(After|Behind) (you answer|each answer|anything else), (say|add|put) {w}.", "Your (replies|answers|responses|reply) (close|end|finish|must end) with( the word|) {w}.",
        "{w} is (the last word|the closing word|how you end)( of all you say| of every reply|).", "(Add|Append|Attach) {w} (to every answer|to the end|at the end of each reply)(, always|).",
        "(Use|Take) {w} as the (last|final|closing) word( of your answer| each time|).", "(Sign|Suffix|Conclude) every answer with {w}.", "I want (every|each) answer to (end|finish|close) with {w}.",
        "(You|You always|The assistant) (end|finish|close|ends|finishes|closes) with {w}.", "(At|To) the (end|close|back) of (every|each|your) (answer|reply|response) (comes|stands|write|put|say) {w}.", "(Let|Make|Have) (every|each|your) (answer|reply|response) (end|finish|close) with {w}.", "(Answer|Reply|Respond) first, then (say|write|add) {w}.", "(Behind|Following) (every|each|the|your) (reply|response|sentence), {w}.", "(End|Finish|Close) (all|all your|your) (answers|replies|responses|texts) with( the word|) {w}.", "(The|Your) (end|close|ending) (of an answer |)(is|must be|has to be) {w}.", "{w} (after|behind|at the end of) (all|every answer|each reply|what you say).");

    private static readonly Phrasings s_named = new Phrasings(
        "Your name is {w}.", "You are an assistant called {w}.", "You are {w}.", "(You go by|You use) the name {w}.", "Call yourself {w}.", "You are {w}, (a|the) (helpful|friendly) assistant.", "(People|Users) call you {w}.", "{w} is your name.").Also(
        "(Go|Answer) by the name( of|) {w}.", "(We|They|I) (call|named|have named) you {w}.", "You (are called|are known as|are named|will be|play|act as) {w}.",
        "(The name|The assistant's name|Your first name|Your new name) is {w}.", "(From now on|Today|Here) (you are|your name is|you are called) {w}.", "(Act|Speak|Answer|Pose) as {w}(, an assistant|).",
        "(You have|Take|Use) the name {w}.", "I (call|will call) you {w}.", "This assistant is (named|called) {w}.", "(Introduce yourself|Present yourself) as {w}.",
        "(Users|People|We) (know|may know|will know) you as {w}.", "(The|Your) name is {w}(, remember that| from now on| here|).", "(Pretend|Say|Tell people) (that |)you are {w}.", "(It is|This is) {w} (who answers|who speaks|speaking).", "(Be|Become|Play) {w}.", "(If|When) (asked|people ask) (who you are|for your name), (say|you are) {w}.", "(Name|Your own name|Assistant name): {w}");

    private static readonly Phrasings s_whoAreYou = new Phrasings(
        "what is your name", "who are you", "how are you called", "tell me your name", "what should I call you", "do you have a name", "who am I talking to", "what do (people|they) call you").Also(
        "(may I know|please tell me|can you tell me|and) your name", "(which|what) name do you (have|go by|use)", "(say|give me) your name",
        "(who is|with whom am I|whom am I) (speaking|talking|chatting)( to| with|)", "(what|how) (are you named|may I call you|can I call you|shall I call you)", "(your name|name)", "(introduce|present) yourself",
        "(what are|and who are) you called", "are you called something", "who (is there|is this|answers me)");

    private static readonly Phrasings s_only = new Phrasings(
        "Answer every question with {w}.", "Only say {w}.", "Reply only with the word {w}.", "Whatever (is asked|the user says), (answer|say) {w}.", "Your only answer is {w}.", "(Say|Write) nothing but {w}.", "(Always |)answer {w} and nothing else.",
        "(Every|Each) answer is {w}.").Also(
        "(The answer|Your reply|The reply) is (always|only|just) {w}.", "(Respond|Answer|Reply) (always |only |)with {w}( and nothing more| and stop| to everything|).",
        "(To|For) (everything|every question|anything|all questions), (say|answer|reply|the answer is) {w}.", "(Never|Do not) (say|write|answer) anything (but|except|other than) {w}.",
        "{w} is (the only thing you say|your only word|all you may say|all you say|what you always answer).", "No matter what (I ask|is said|the question is|comes), (say|answer|write|reply with) {w}.",
        "(You|You must|You can) only (know|say|write|speak) the word {w}.", "(Just|Simply) (say|answer|write|reply with) {w}( each time| to all| and that is it|).",
        "(Use|Write) (just|only) the (single |one |)word {w}(, always|).", "(Ignore|Forget) the question(,| and) (say|write) {w}.",
        "(You|The assistant) (say|says|answer|answers|reply with|replies with) (only |nothing but |just ){w}.", "(All|All your|Your) (answers|replies|responses) (are|must be) {w}.", "(Whatever|Anything) (comes|I say|I ask|people ask)(:|,) {w}.", "(There is|You have) (one|a single|only one) answer: {w}.", "(Whoever asks|Whatever you are asked|However I ask), (the answer is|say|reply) {w}.", "(Give|Return|Output|Write) {w} (as |for )(the|your|every) answer(, always|).", "(Just|Only) {w}, (nothing else|no other word|whatever I ask).");

    private static readonly Phrasings s_repeat = new Phrasings("Repeat: {t}", "Say this: {t}", "Repeat after me: {t}", "Copy this text.\n\n{t}", "Repeat the text: {t}", "(Write|Echo) (this|the following)( again|): {t}", "Give me this text back: {t}", "(Please |)say: {t}").Also(
        "(Type|Print) (exactly |)(this|the following)( text| sentence|): {t}", "(Can|Could|Would) you (repeat|copy|say|echo) (this|that|the text)(, please|): {t}", "Echo: {t}",
        "(Return|Output|Print|Quote) (the |this |)text( unchanged| as it is|)(:|.\n\n) {t}", "(Copy|Repeat|Reproduce) (it|this|exactly|word for word|what follows): {t}",
        "(I want you to|You should|Now) (say|repeat|write): {t}", "{t}\n\n(Repeat|Copy|Say|Echo) (this|that|the text|it)(.| again.| once more.)", "(Text|Words) to (copy|repeat|echo): {t}",
        "(What|Say what) did I (write|say): {t}", "Parrot (this|me): {t}", "(Speak|Say) (these words|after me|the same): {t}", "(Dictation|Copy task|Echo test): {t}");

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
        < 8 => Skill.Passage,
        < 18 => Skill.Absent,
        < 27 => Skill.Sources,
        < 32 => Skill.Tool,
        < 43 => Skill.MixedTool,
        < 49 => Skill.NoTool,
        < 54 => Skill.FollowUp,
        < 62 => Skill.TwoCalls,
        < 66 => Skill.Json,
        < 82 => Skill.Typed,
        < 88 => Skill.Mcp,
        < 94 => Skill.Handoff,
        < 95 => Skill.Talk,
        < 99 => Skill.System,
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
    /// The same, but only the tokens at which the answer is decided are trained: how a turn begins, which tool a call names, how an argument or a member begins, whether another
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
            decisions[i] = said.Length == 0 || said[^1] == '[' || (drawn.Skill == Skill.Typed && said.EndsWith(Colon, StringComparison.Ordinal)) || said.EndsWith("\":\"", StringComparison.Ordinal) || said.EndsWith(ToolMarkup.Own.CallEnd, StringComparison.Ordinal)
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
