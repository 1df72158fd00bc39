using System.Globalization;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// What no client asks: lists in which every line is a decision. Finding the passage, the line or the tool that a word belongs to is one skill under many answers, and comes
// late or never where a case of 300 tokens practises it once.
internal static partial class NanoCorpus
{
    private const int MostLines = 24;

    /// <summary>Words that can stand between one that is asked for and its answer: no list asks for any of them.</summary>
    internal static string[] Between { get; } = ["so", "well", "then", "now", "and", "this", "that", "it", "is", "of", "to", "by", "with", "here", "goes", "means", "belongs", "thus", "hence", "again", "just", "very", "such", "therefore"];

    /// <summary>A list of words, each answered by what it belongs to. Only for training, with <see cref="RenderList"/>.</summary>
    public static NanoCase List(int seed, int index)
    {
        Lexicon l = Lexicon.Of(seed, index, Split.Train);
        return l.Random.Next(100) switch
        {
            < 32 => Entries(l),
            < 36 => Cited(l),
            < 48 => ReadOut(l),
            < 60 => ToolNames(l),
            < 84 => AgentNames(l),
            _ => Days(l),
        };
    }

    /// <summary>The document of a list; only what stands behind a bracket, from a colon to the end of the line, or in its frame is trained.</summary>
    public static TrainingDocument RenderList(GemmaTokenizer tokenizer, NanoCase drawn)
    {
        TrainingDocument document = Render(tokenizer, drawn);
        if (drawn.Given is { } given)
        {
            return Behind(tokenizer, document, given);
        }

        bool[] trained = new bool[document.Tokens.Length];
        bool answers = false;
        for (int i = 0; i < trained.Length; i++)
        {
            string piece = tokenizer.GetPiece(document.Tokens[i]);
            trained[i] = answers && document.Trained![i];
            answers = document.Trained![i] && (piece.EndsWith('[') || (piece.EndsWith(':') && !answers) || (answers && !piece.Contains('\n', StringComparison.Ordinal) && !piece.Contains(']', StringComparison.Ordinal)));
        }

        return document with { Trained = trained };
    }

    /// <summary>Of each turn of the model that which comes behind what is given; of a call its name with the piece behind it.</summary>
    private static TrainingDocument Behind(GemmaTokenizer tokenizer, TrainingDocument document, string given)
    {
        bool[] trained = new bool[document.Tokens.Length];
        string said = "";
        for (int i = 0; i < trained.Length; i++)
        {
            if (!document.Trained![i])
            {
                said = "";
                continue;
            }

            int name = said.LastIndexOf(NameKey, StringComparison.Ordinal);
            string piece = tokenizer.GetPiece(document.Tokens[i]);
            trained[i] = said.StartsWith(ToolMarkup.Own.CallStart, StringComparison.Ordinal)
                ? name >= 0 && said.IndexOf('"', name + NameKey.Length) < 0
                : said.Length + piece.Length > given.Length && piece != ToolMarkup.Own.CallStart;
            said += piece;
        }

        return document with { Trained = trained };
    }

    /// <summary>
    /// Numbered or named lines of a few words each. A number is found soon, any other name not at all: some names stand in brackets, where the numbers stand that are found. Names begin with one
    /// of few pieces where they are letters or begin with a verb, as those of tools do: that a line's name is what is asked for is learned from these before it is from words.
    /// </summary>
    private static NanoCase Entries(Lexicon l)
    {
        int heads = l.Random.Next(10);
        bool numbered = heads < 3, bracketed = numbered || l.Chance(0.6), cited = numbered || l.Chance(0.6), blank = l.Chance(0.5);
        Naming naming = new(l, mixed: true);
        HashSet<string> taken = new(StringComparer.OrdinalIgnoreCase);
        List<(string Word, string Head)> all = new();
        List<string> lines = new();
        int most = l.Random.Next(1, 6);
        for (int n = l.Random.Next(2, 11), i = 1; i <= n; i++)
        {
            string head = numbered ? i.ToString(CultureInfo.InvariantCulture) : New(heads switch
            {
                3 => () => ((char)('A' + l.Random.Next(26))).ToString(),
                4 or 5 or 6 => () => naming.Name(Tools.LookupVerbs, Word()),
                7 => () => l.Capital(Word()) + "Agent",
                _ => Word,
            });
            string[] words = [.. Enumerable.Range(0, l.Random.Next(1, most + 1)).Select(_ => New(Any))];
            all.AddRange(words.Select(word => (word, head)));
            lines.Add((bracketed ? $"[{head}] " : $"- {head}: ") + string.Join(l.Chance(0.5) ? ", " : " ", words));
        }

        string text = string.Join(blank ? "\n\n" : "\n", lines);
        return Listed(l, null, asked => text + "\n\n" + string.Join("; ", asked), [.. all.Select(a => (a.Word, Answered(a.Word, a.Head, cited)))]);

        string Word() => Tools.TopicOrWord(l);

        string Any() => l.Random.Next(6) switch { 0 => l.City(), 1 => l.Code(), 2 => l.Medium() + " " + l.Pick(["euros", "pages", "units", "days", "percent"]), _ => Word() };

        string New(Func<string> draw)
        {
            string word;
            do
            {
                word = draw();
            }
            while (!taken.Add(word));

            return word;
        }
    }

    /// <summary>Values of passages with the numbers of these.</summary>
    private static NanoCase Cited(Lexicon l)
    {
        Library library = Library.Draw(l, l.Random.Next(2, 9));
        return Listed(l, s_sourceInstruction, asked => library.Frame("Cite: " + string.Join("; ", asked)), [.. library.Said().Select(f => (f.Value, string.Create(CultureInfo.InvariantCulture, $"{f.Value} [{f.Passage}]")))]);
    }

    /// <summary>Attributes of subjects, each with its value and the passage.</summary>
    private static NanoCase ReadOut(Lexicon l)
    {
        Library library = Library.Draw(l, l.Random.Next(1, 7));
        return Listed(l, s_sourceInstruction, asked => library.Frame("Read: " + string.Join("; ", asked)),
            [.. library.Said().Select(f => ($"{f.Noun} of {f.Subject}", string.Create(CultureInfo.InvariantCulture, $"{f.Noun} of {f.Subject}: {f.Value} [{f.Passage}]")))]);
    }

    /// <summary>Tools with what they are about, or with a request for each.</summary>
    private static NanoCase ToolNames(Lexicon l)
    {
        HashSet<string> taken = new(StringComparer.Ordinal);
        Naming naming = new(l, l.Chance(0.85));
        int? kind = l.Chance(0.5) ? l.Random.Next(Tools.Kinds) : null;
        DrawnTool[] tools = [.. Enumerable.Range(0, l.Random.Next(2, 10)).Select(_ => Tools.Draw(l, naming, taken, kind)).DistinctBy(tool => tool.Name)];
        bool requests = l.Chance(0.4), cited = l.Chance(0.5);
        return Listed(l, null, asked => string.Join(requests ? "\n" : "; ", asked), [.. tools.Select(tool => (tool, asked: requests ? Request(tool) : tool.Noun)).Select(t => (t.asked, Answered(t.asked, t.tool.Name, cited)))],
            [.. tools.Select(tool => tool.Declaration)]);

        static string Request(DrawnTool tool) => Sayable(tool.Use().Request, tool.Noun);
    }

    /// <summary>Agents with words that their descriptions name, or with a concern about each.</summary>
    private static NanoCase AgentNames(Lexicon l)
    {
        Team team = Team.Draw(l);
        bool requests = l.Chance(0.6), cited = l.Chance(0.5);
        (string, string)[] lines = [.. team.Words.SelectMany((words, agent) => words[..2].Select(word => requests ? Sayable(Team.Concern(l, word), word) : word)
            .Select(asked => (asked, Answered(asked, team.Options.Tools![agent].Name, cited))))];
        return Listed(l, team.Options.Instructions, asked => string.Join(requests ? "\n" : "; ", asked), lines, [.. team.Options.Tools!]);
    }

    /// <summary>A line: what was asked and what it belongs to.</summary>
    private static string Answered(string asked, string name, bool cited) => cited ? $"{asked} [{name}]" : $"{asked}: {name}";

    /// <summary>A request that a line can hold in front of its colon, or the word that it is about.</summary>
    private static string Sayable(string request, string word) => request.AsSpan().IndexOfAny(":[\n") < 0 ? request : word;

    /// <summary>Days as texts say them, each as JSON does.</summary>
    private static NanoCase Days(Lexicon l) =>
        Listed(l, null, asked => string.Join("; ", asked), [.. Enumerable.Range(0, l.Random.Next(4, 20)).Select(_ => Day(l)).Select(day => (day.Said, $"{day.Said}: {day.Iso}"))]);

    /// <summary>
    /// Each thing once, in an order of its own, as far as it stands for one answer only. Before a name other words can come, or it is a turn of its own (of tools and agents a call, since that is how
    /// they are answered elsewhere), as far away as a request is from the name in its call.
    /// </summary>
    private static NanoCase Listed(Lexicon l, string? instructions, Func<IEnumerable<string>, string> ask, (string Asked, string Line)[] all, AITool[]? tools = null)
    {
        (string Asked, string Line)[] lines = [.. all.GroupBy(line => line.Asked, StringComparer.OrdinalIgnoreCase).Where(same => same.Count() == 1).Select(same => same.First())];
        if (lines.Length == 0)
        {
            return Entries(l);
        }

        l.Random.Shuffle(lines);
        lines = lines[..Math.Min(lines.Length, MostLines)];
        ChatOptions? options = instructions is null && tools is null ? null : new ChatOptions { Instructions = instructions, Tools = tools };
        bool named = lines.All(line => line.Line.StartsWith(line.Asked + ": ", StringComparison.Ordinal));

        // A value of a passage is never answered by the passage's number alone.
        bool cited = instructions != s_sourceInstruction && lines.All(line => line.Line.StartsWith(line.Asked + " [", StringComparison.Ordinal));
        int apart = named || cited ? l.Random.Next(100) : 0;
        if (apart < 40)
        {
            string? same = l.Chance(0.5) ? Filling(l) : null;
            string said = string.Join('\n', lines.Select(line => apart < 25 ? line.Line : $"{line.Asked} {same ?? Filling(l)}{line.Line[line.Asked.Length..]}"));
            return new NanoCase(Skill.Sources, [User(ask(lines.Select(line => line.Asked))), Model(said)], options);
        }

        bool calls = tools is not null;
        string given = calls || l.Chance(0.5) ? "" : Filling(l) + (named ? ": " : " ");
        IEnumerable<ChatMessage> turns = lines.Index().SelectMany(line =>
        {
            string answer = line.Item.Line[(line.Item.Asked.Length + (named ? 2 : 1))..];
            return new[]
            {
                User(line.Index == 0 ? ask([line.Item.Asked]) : line.Item.Asked),
                calls ? new ChatMessage(ChatRole.Assistant, [new FunctionCallContent("call", answer.Trim('[', ']'), new Dictionary<string, object?>())]) : Model(given + answer),
            };
        });
        return new NanoCase(Skill.Sources, [.. turns], options) { Given = given };
    }

    private static string Filling(Lexicon l) => string.Join(' ', Enumerable.Range(0, l.Random.Next(1, 11)).Select(_ => l.Pick(Between)));
}
