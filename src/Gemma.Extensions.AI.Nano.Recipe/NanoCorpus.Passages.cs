using System.Globalization;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Answering;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// Questions about texts, and about numbered passages of documents.
internal static partial class NanoCorpus
{
    /// <summary>The instruction of the Rag package's DocumentAnswerer.</summary>
    private static readonly string s_sourceInstruction = DocumentAnswerer.Instruction(SourceRefusal);

    private static readonly Phrasings s_askAbout = new Phrasings(
        "{t}\n\n{q}", "Text: {t}\n\nQuestion: {q}", "Answer the question from the text.\n\n{t}\n\n{q}", "{q}\n\n{t}", "Passage: {t}\n\nQuestion: {q}", "(Read|Here is) (this|a text).\n\n{t}\n\n{q}", "{t}\n{q}", "(From|According to) this text: {t}\n\n{q}",
        "Context:\n{t}\n\nQuestion: {q}").Also(
        "(Use|Look at|See|Study) (this|the|the following) (text|passage|note)(.|:)\n\n{t}\n\n{q}", "(Document|Note|Article|Information|Source): {t}\n\n{q}",
        "{q}\n\n(Text|Context|Passage|Here is the text|See|Use this): {t}", "(Question|Q): {q}\n\n(Text|Passage|Context): {t}",
        "(Given|With|In|Based on) (the|this) (text|passage|note)(:|,) {t}\n\n{q}", "{t}\n\n(Q|My question|Question|Now|So|Answer this): {q}",
        "(Answer|Reply) (with|from|by) (the|this) (text|passage)( only|): {t}\n{q}", "(I read|It says|They write|I have this note): {t}\n\n{q}", "{q} {t}",
        "(Here are|These are) (some |the |)facts(.|:)\n\n{t}\n\n{q}");

    /// <summary>
    /// Many questions about one text, or requests for one set of tools, in one conversation: more decisions in fewer tokens than the cases of the
    /// mixture hold. Only for training, with <see cref="RenderDecisions"/>.
    /// </summary>
    public static NanoCase Drill(int seed, int index)
    {
        Lexicon l = Lexicon.Of(seed, index, Split.Train);
        return l.Random.Next(100) switch
        {
            < 19 => ToolDrill(l),
            < 28 => McpDrill(l),
            < 36 => HandoffDrill(l),
            < 43 => FollowUpDrill(l),
            < 59 => PassageDrill(l),
            < 76 => SourceDrill(l),
            _ => MemberDrill(l),
        };
    }

    /// <summary>
    /// Each fact is asked for once: a second question for it could be answered from the answer to the first. Where the question comes before the
    /// text only it is asked: what is read later has to be compared with it, which is harder than the other way round.
    /// </summary>
    private static NanoCase PassageDrill(Lexicon l)
    {
        Kind kind = Facts.Any(l);
        (string text, Profile[] profiles) = Describe(l, kind, l.Random.Next(2, 8), two: 0.9);
        (Profile About, Attribute Attribute, string Value)[] facts = [.. profiles.SelectMany(p => p.Facts.Select(f => (p, f.Attribute, f.Value)))];
        l.Random.Shuffle(facts);
        bool questionFirst = l.Chance(0.4);
        List<ChatMessage> messages = new();
        foreach ((Profile about, Attribute attribute, string value) in facts)
        {
            (string Question, string Answer) asked = (attribute.Ask(l, about.Subject), value);
            (string Question, string Answer)[] next = !l.Chance(0.3) ? [asked] : questionFirst ? [Question(l, kind, about, absent: true)] : [Question(l, kind, about, absent: true), asked];
            foreach ((string question, string answer) in next)
            {
                string first = questionFirst ? $"{question}\n\n{text}" : s_askAbout.Fill(l, ("t", text), ("q", question));
                messages.AddRange([User(messages.Count > 0 ? question : first), Model(answer)]);
            }

            if (questionFirst)
            {
                break;
            }
        }

        return new NanoCase(Skill.Absent, messages);
    }

    private static NanoCase SourceDrill(Lexicon l) => AskedOf(l, Library.Draw(l, l.Random.Next(2, 8)), l.Random.Next(6, 13), absent: 0.25);

    private static NanoCase Sources(Lexicon l) => AskedOf(l, Library.Draw(l, l.Random.Next(1, 6)), questions: 1, absent: 0.25);

    /// <summary>A long prompt of many passages, for the last part of the run: up to the whole context.</summary>
    public static NanoCase Long(int seed, int index)
    {
        Lexicon l = Lexicon.Of(seed, index, Split.Train);
        return AskedOf(l, Library.Draw(l, l.Random.Next(8, 24)), l.Random.Next(6, 14), absent: 0.2);
    }

    /// <summary>Questions about passages, which stand before the first one; a share of the questions is answered by none of them.</summary>
    private static NanoCase AskedOf(Lexicon l, Library library, int questions, double absent)
    {
        List<ChatMessage> messages = new();
        for (; questions > 0; questions--)
        {
            (string question, string answer) = library.Ask(l, l.Chance(absent));
            messages.AddRange([User(messages.Count > 0 ? "Question: " + question : library.Frame(question)), Model(answer)]);
        }

        return new NanoCase(Skill.Sources, messages, new ChatOptions { Instructions = s_sourceInstruction });
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

        string[] said = [.. profiles.SelectMany(p => p.Facts.Select(f => f.Attribute.Say(l, p.Subject, f.Value)))];
        if (l.Chance(0.6))
        {
            l.Random.Shuffle(said);
        }

        return (string.Join(l.Chance(0.9) ? " " : "\n", said), [.. profiles]);
    }

    private static NanoCase Passage(Lexicon l, bool absent)
    {
        Kind kind = Facts.Any(l);
        (string text, Profile[] profiles) = Describe(l, kind, l.Random.Next(1, 7));
        List<ChatMessage> messages = new();
        for (int turns = l.Chance(0.5) ? 1 : l.Random.Next(2, 5); turns > 0; turns--)
        {
            (string question, string answer) = Question(l, kind, l.Pick(profiles), turns == 1 ? absent : l.Chance(0.25));
            string asked = messages.Count > 0 ? l.Polite(question) : s_askAbout.Fill(l, ("t", text), ("q", question));
            messages.AddRange([User(asked), Model(answer)]);
        }

        return new NanoCase(absent ? Skill.Absent : Skill.Passage, messages);
    }

    private static (string Question, string Answer) Question(Lexicon l, Kind kind, Profile about, bool absent)
    {
        if (!absent)
        {
            (Attribute attribute, string value) = l.Pick(about.Facts);
            return (attribute.Ask(l, about.Subject), value);
        }

        // Either nothing is said about this attribute, or the subject is another one.
        return (l.Chance(0.6) ? l.Pick(about.Unsaid).Ask(l, about.Subject) : l.Pick(about.Facts).Attribute.Ask(l, kind.Subject(l)), Refusal);
    }

    /// <summary>Passages as the Rag package numbers them: pieces of documents with their headings in the first line, or bare sentences.</summary>
    internal sealed class Library
    {
        private readonly List<(string Text, Profile[] Profiles)> _texts = new();

        public static Library Draw(Lexicon l, int count)
        {
            Library library = new();
            Kind? same = l.Chance(0.4) ? Facts.Any(l) : null;
            bool documents = l.Chance(0.65);
            for (int i = 0; i < count; i++)
            {
                Kind kind = same is not null && l.Chance(0.7) ? same : Facts.Any(l);
                library._texts.Add(documents ? Documents.Passage(l, kind) : Plain(Describe(l, kind, l.Random.Next(1, 5))));
            }

            return library;

            static (string Text, Profile[] Profiles) Plain((string Text, Profile[] Profiles) described) => (described.Text.Replace('\n', ' '), described.Profiles);
        }

        /// <summary>The user's message.</summary>
        public string Frame(string question) => PassageFrame.Render(question, _texts.Select(text => text.Text));

        /// <summary>All that the passages say.</summary>
        public IEnumerable<(string Noun, string Subject, string Value, int Passage)> Said() =>
            _texts.SelectMany((text, i) => text.Profiles.SelectMany(profile => profile.Facts.Select(fact => (fact.Attribute.Called, profile.Subject, fact.Value, i + 1))));

        /// <summary>A question with its answer and source, or one that no passage answers.</summary>
        public (string Question, string Answer) Ask(Lexicon l, bool absent)
        {
            int chosen = l.Random.Next(_texts.Count);
            Profile about = l.Pick(_texts[chosen].Profiles);
            (Attribute attribute, string value) = l.Pick(about.Facts);
            return absent
                ? (about.AskWhatIsNotSaid(l, attribute), SourceRefusal)
                : (l.Polite(attribute.Ask(l, about.Subject)), string.Create(CultureInfo.InvariantCulture, $"{value} [{chosen + 1}]"));
        }
    }
}
