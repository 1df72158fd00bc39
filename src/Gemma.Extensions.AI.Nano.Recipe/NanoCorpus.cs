using System.Globalization;
using System.Text.Json;
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

    /// <summary>The instruction of the Rag package's DocumentAnswerer.</summary>
    private const string SourceInstruction =
        "Answer the question from the numbered passages only. After each statement, cite the passage it comes from with its number in brackets, like [1]. "
        + "If the passages do not hold the answer, reply exactly: " + SourceRefusal;

    public const string NoTool = "I have no tool for that.";

    private static readonly string[] s_assistants =
    [
        "You are a helpful assistant.", "You are a helpful assistant.", "You are a friendly assistant.", "You answer briefly.", "Be polite and brief.",
        "You are a concise assistant. Use the tools when they help.", "Answer the question of the user.",
    ];

    private const string NameKey = "\"name\":\"";

    /// <summary>Case <paramref name="index"/> of a seed.</summary>
    /// <param name="seed">Seed of the corpus.</param>
    /// <param name="index">Number of the case.</param>
    /// <param name="split">Side of the fence.</param>
    /// <param name="skill">What it practises; null: drawn from the mixture.</param>
    /// <param name="entities">Told every name, place, number, title and tool noun that was drawn for the case.</param>
    public static NanoCase Draw(int seed, int index, Split split, Skill? skill = null, Action<string>? entities = null)
    {
        Lexicon l = new(new Random(unchecked(seed * 7_368_787 + index * 2 + (split == Split.HeldOut ? 1 : 0))), split, entities);
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
            _ => Repetition(l),
        };
        if (drawn.Skill is not (Skill.System or Skill.Repeat or Skill.Sources) && l.Chance(0.12))
        {
            ChatOptions options = drawn.Options ?? new ChatOptions();
            options.Instructions = l.Pick(s_assistants);
            return drawn with { Options = options };
        }

        return drawn;
    }

    /// <summary>
    /// Many questions about one text, or requests for one set of tools, in one conversation: more decisions in fewer tokens than the cases of the
    /// mixture hold. Only for training, with <see cref="RenderDecisions"/>.
    /// </summary>
    public static NanoCase Drill(int seed, int index)
    {
        Lexicon l = new(new Random(unchecked(seed * 7_368_787 + index * 2)), Split.Train);
        return l.Random.Next(10) switch
        {
            < 2 => ToolDrill(l),
            < 8 => PassageDrill(l),
            _ => SourceDrill(l),
        };
    }

    /// <summary>
    /// Each fact is asked for once: a second question for it could be answered from the answer to the first. Where the question comes before the
    /// text only it is asked: what is read later has to be compared with it, which is harder than the other way round.
    /// </summary>
    private static NanoCase PassageDrill(Lexicon l)
    {
        Kind kind = l.Pick(Facts.Kinds);
        (string text, Profile[] profiles) = Describe(l, kind, l.Random.Next(2, 8), two: 0.9);
        (Profile About, Attribute Attribute, string Value)[] facts = [.. profiles.SelectMany(p => p.Facts.Select(f => (p, f.Attribute, f.Value)))];
        l.Random.Shuffle(facts);
        bool questionFirst = l.Chance(0.5);
        List<ChatMessage> messages = new();
        foreach ((Profile about, Attribute attribute, string value) in facts)
        {
            (string Question, string Answer) asked = (Facts.Fill(l, attribute.Questions, about.Subject, value), value);
            (string Question, string Answer)[] next = !l.Chance(0.3) ? [asked] : questionFirst ? [Question(l, kind, about, absent: true)] : [Question(l, kind, about, absent: true), asked];
            foreach ((string question, string answer) in next)
            {
                string first = questionFirst ? $"{question}\n\n{text}" : AskAbout(l, text, question);
                messages.AddRange([User(messages.Count > 0 ? question : first), Model(answer)]);
            }

            if (questionFirst)
            {
                break;
            }
        }

        return new NanoCase(Skill.Absent, messages);
    }

    private static NanoCase SourceDrill(Lexicon l)
    {
        (string Text, Profile[] Profiles)[] texts = [.. Enumerable.Range(0, l.Random.Next(1, 5)).Select(_ => Describe(l, l.Pick(Facts.Kinds), l.Random.Next(1, 4)))];
        string sources = string.Concat(texts.Select((text, i) => $"[{i + 1}] {text.Text.Replace('\n', ' ')}\n\n"));
        List<ChatMessage> messages = new();
        for (int turns = l.Random.Next(4, 9); turns > 0; turns--)
        {
            int chosen = l.Random.Next(texts.Length);
            Profile about = l.Pick(texts[chosen].Profiles);
            bool absent = l.Chance(0.3);
            (Attribute attribute, string value) = l.Pick(about.Facts);
            string question = "Question: " + Facts.Fill(l, attribute.Questions, absent ? about.Kind.Subject(l) : about.Subject, value);
            messages.AddRange([User(messages.Count > 0 ? question : $"Passages:\n\n{sources}{question}"), Model(absent ? SourceRefusal : $"{value} [{chosen + 1}]")]);
        }

        return new NanoCase(Skill.Sources, messages, new ChatOptions { Instructions = SourceInstruction });
    }

    private static Skill Mixture(Lexicon l) => l.Random.Next(100) switch
    {
        < 20 => Skill.Passage,
        < 28 => Skill.Absent,
        < 34 => Skill.Sources,
        < 56 => Skill.Tool,
        < 60 => Skill.MixedTool,
        < 63 => Skill.NoTool,
        < 75 => Skill.Json,
        < 86 => Skill.Talk,
        < 93 => Skill.System,
        _ => Skill.Repeat,
    };

    /// <summary>The whole conversation as tokens; the assistant's turns with their ends are what is trained.</summary>
    public static TrainingDocument Render(GemmaTokenizer tokenizer, NanoCase drawn) =>
        TrainingData.Conversation(TurnFormat.Gemma(tokenizer), drawn.Messages, modelTurnsOnly: true, drawn.Options);

    /// <summary>
    /// The same, but only the tokens at which the answer is decided are trained: how a turn begins, which tool a call names, which
    /// passage is cited. What follows a decision is copied, learned long before, and would drown it in the mean.
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
            decisions[i] = said.Length == 0 || said[^1] == '[' || (name >= 0 && said.IndexOf('"', name + NameKey.Length) < 0);
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
            messages.AddRange([User(l.Pick([$"My name is {name}.", $"I am {name}.", $"Hi, I am {name}.", $"Call me {name}"])), Model($"Nice to meet you, {name}!")]);
            if (l.Chance(0.4))
            {
                AddExchange(l, messages);
            }

            if (l.Chance(0.7))
            {
                messages.AddRange([User(l.Pick(["What is my name?", "Do you remember my name?", "Who am I?", "what's my name"])), Model($"Your name is {name}.")]);
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
        if (l.Chance(0.12))
        {
            messages.AddRange([User(Talk.Typed(l, Talk.WorldQuestion(l))), Model(Talk.DoNotKnow)]);
            return;
        }

        (string[] asked, string answer) = l.Pick(Talk.Exchanges);
        messages.AddRange([User(Talk.Typed(l, l.Pick(asked))), Model(answer)]);
    }

    /// <summary>Sentences about one or, with a probability, two subjects of a kind, in random order.</summary>
    private static (string Text, Profile[] Profiles) Describe(Lexicon l, Kind kind, int sentences, double two = 0.5)
    {
        int subjects = l.Chance(two) ? 2 : 1;
        int facts = Math.Min(kind.Attributes.Length - 1, Math.Max(1, sentences / subjects));
        List<Profile> profiles = new();
        for (int i = 0; i < subjects; i++)
        {
            Profile next = Facts.Draw(l, kind, facts);
            if (i == 1 && l.Chance(0.6))
            {
                // The same attributes with other values: the subject decides.
                next = next with { Facts = [.. profiles[0].Facts.Select(f => (f.Attribute, f.Attribute.Value(l)))] };
            }

            profiles.Add(next);
        }

        string[] said = [.. profiles.SelectMany(p => p.Facts.Select(f => Facts.Fill(l, f.Attribute.Statements, p.Subject, f.Value)))];
        if (l.Chance(0.6))
        {
            l.Random.Shuffle(said);
        }

        return (string.Join(l.Chance(0.9) ? " " : "\n", said), [.. profiles]);
    }

    private static NanoCase Passage(Lexicon l, bool absent)
    {
        Kind kind = l.Pick(Facts.Kinds);
        (string text, Profile[] profiles) = Describe(l, kind, l.Random.Next(1, 7));
        List<ChatMessage> messages = new();
        for (int turns = l.Chance(0.5) ? 1 : l.Random.Next(2, 5); turns > 0; turns--)
        {
            (string question, string answer) = Question(l, kind, l.Pick(profiles), turns == 1 ? absent : l.Chance(0.25));
            string asked = messages.Count > 0 ? question : AskAbout(l, text, question);
            messages.AddRange([User(asked), Model(answer)]);
        }

        return new NanoCase(absent ? Skill.Absent : Skill.Passage, messages);
    }

    private static string AskAbout(Lexicon l, string text, string question) => l.Random.Next(5) switch
    {
        0 => $"{text}\n\n{question}",
        1 => $"Text: {text}\n\nQuestion: {question}",
        2 => $"Answer the question from the text.\n\n{text}\n\n{question}",
        3 => $"{question}\n\n{text}",
        _ => $"Passage: {text}\n\nQuestion: {question}",
    };

    private static (string Question, string Answer) Question(Lexicon l, Kind kind, Profile about, bool absent)
    {
        if (!absent)
        {
            (Attribute attribute, string value) = l.Pick(about.Facts);
            return (Facts.Fill(l, attribute.Questions, about.Subject, value), value);
        }

        // Either nothing is said about this attribute, or the subject is another one.
        Attribute[] unsaid = [.. kind.Attributes.Where(a => about.Facts.All(f => f.Attribute != a))];
        return (l.Chance(0.6)
            ? Facts.Fill(l, l.Pick(unsaid).Questions, about.Subject, "")
            : Facts.Fill(l, l.Pick(about.Facts).Attribute.Questions, kind.Subject(l), ""), Refusal);
    }

    private static NanoCase Sources(Lexicon l)
    {
        int count = l.Random.Next(1, 5);
        List<(string Text, Profile[] Profiles)> texts = new();
        for (int i = 0; i < count; i++)
        {
            texts.Add(Describe(l, l.Pick(Facts.Kinds), l.Random.Next(1, 4)));
        }

        int chosen = l.Random.Next(count);
        Profile about = l.Pick(texts[chosen].Profiles);
        bool absent = l.Chance(0.25);
        (Attribute attribute, string value) = l.Pick(about.Facts);
        string question = Facts.Fill(l, attribute.Questions, absent ? about.Kind.Subject(l) : about.Subject, value);
        string sources = string.Concat(texts.Select((text, i) => $"[{i + 1}] {text.Text.Replace('\n', ' ')}\n\n"));
        return new NanoCase(
            Skill.Sources, [User($"Passages:\n\n{sources}Question: {question}"), Model(absent ? SourceRefusal : $"{value} [{chosen + 1}]")],
            new ChatOptions { Instructions = SourceInstruction });
    }

    private static NanoCase Extraction(Lexicon l)
    {
        Kind kind = l.Pick(Facts.Kinds);
        Profile profile = Facts.Draw(l, kind, l.Random.Next(1, Math.Min(6, kind.Attributes.Length)));
        string text = string.Join(' ', profile.Facts.Select(f => Facts.Fill(l, f.Attribute.Statements, profile.Subject, f.Value)));
        List<(string Key, string Value, bool IsNumber)> fields = new();
        if (l.Chance(0.6))
        {
            fields.Add((kind.Key, profile.Subject.StartsWith("the ", StringComparison.Ordinal) ? profile.Subject[4..] : profile.Subject, false));
        }

        foreach ((Attribute attribute, string value) in profile.Facts)
        {
            if (l.Chance(0.75) || fields.Count == 0)
            {
                fields.Add((attribute.Key, value, attribute.IsNumber));
            }
        }

        if (l.Chance(0.5))
        {
            (string, string, bool)[] shuffled = [.. fields];
            l.Random.Shuffle(shuffled);
            fields = [.. shuffled];
        }

        string names = fields.Count == 1 ? fields[0].Key : string.Join(", ", fields.Take(fields.Count - 1).Select(f => f.Key)) + " and " + fields[^1].Key;
        string list = string.Join(", ", fields.Select(f => f.Key));
        string typed = string.Join(", ", fields.Select(f => f.Key + (f.IsNumber ? ": number" : ": string")));
        string asked = l.Random.Next(6) switch
        {
            0 => $"Extract {names} as JSON.\n\n{text}",
            1 => $"Extract {names} as JSON: {text}",
            2 => $"{text}\n\nGive me {names} as JSON.",
            3 => $"Return JSON with the fields {list}.\n\n{text}",
            4 => $"Extract the fields {typed} as JSON.\n\n{text}",
            _ => $"Text: {text}\n\nJSON with {names}:",
        };
        string json = "{" + string.Join(',', fields.Select(f => $"\"{f.Key}\":" + (f.IsNumber ? f.Value : JsonSerializer.Serialize(f.Value)))) + "}";
        return new NanoCase(Skill.Json, [User(asked), Model(json)]);
    }

    private static NanoCase Instruction(Lexicon l)
    {
        List<ChatMessage> messages = new();
        (string[] asked, string answer) = l.Pick(Talk.Exchanges);
        string question = Talk.Typed(l, l.Pick(asked)), word = l.Chance(0.5) ? l.Capital(l.Word()) : l.FirstName();
        string instruction;
        switch (l.Random.Next(6))
        {
            case 0 or 1:
                instruction = l.Pick(["Answer in capital letters.", "Answer in capitals.", "Always write in capital letters.", "Use only capital letters."]);
                answer = answer.ToUpperInvariant();
                break;
            case 2:
                instruction = l.Pick([$"Start every answer with the word {word}.", $"Begin your answer with {word}.", $"Always start with {word}."]);
                answer = $"{word} {answer}";
                break;
            case 3:
                instruction = l.Pick([$"End every answer with the word {word}.", $"Finish your answer with {word}.", $"Always end with {word}."]);
                answer = $"{answer} {word}";
                break;
            case 4:
                instruction = l.Pick([$"Your name is {word}.", $"You are an assistant called {word}.", $"You are {word}."]);
                question = Talk.Typed(l, l.Pick(["what is your name", "who are you", "how are you called", "tell me your name"]));
                answer = $"My name is {word}.";
                break;
            default:
                instruction = l.Pick([$"Answer every question with {word}.", $"Only say {word}.", $"Reply only with the word {word}."]);
                answer = word;
                break;
        }

        messages.AddRange([User(question), Model(answer)]);
        return new NanoCase(Skill.System, messages, new ChatOptions { Instructions = l.Chance(0.2) ? "You are a helpful assistant. " + instruction : instruction });
    }

    private static NanoCase Repetition(Lexicon l)
    {
        string text = l.Random.Next(3) switch
        {
            0 => l.Phrase(),
            1 => Describe(l, l.Pick(Facts.Kinds), l.Random.Next(1, 6)).Text.Replace('\n', ' '),
            _ => string.Join(' ', Enumerable.Range(0, l.Random.Next(2, 16)).Select(_ => l.Chance(0.5) ? l.Word() : l.City())),
        };
        string asked = l.Pick([$"Repeat: {text}", $"Say this: {text}", $"Repeat after me: {text}", $"Copy this text.\n\n{text}", $"Repeat the text: {text}"]);
        return new NanoCase(Skill.Repeat, [User(asked), Model(text)]);
    }
}
