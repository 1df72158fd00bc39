using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Nano.Recipe;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Answering;
using Gemma.Extensions.AI.Rag.Ingestion;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Xunit;
using static Gemma.Extensions.AI.Tests.Training.NanoData;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>The generated corpus: what it trains is what the engine asks, and can be read from what stands before.</summary>
public sealed class NanoCorpusTests
{
    private const int Cases = 40;

    public static TheoryData<string> Skills { get; } = [.. Enum.GetNames<Skill>()];

    /// <summary>
    /// Every turn of the model in a training document stands behind the very tokens that the engine makes of the conversation before it, and the grammar that holds the
    /// answer at that place allows every token of it, the end included.
    /// </summary>
    [Theory]
    [MemberData(nameof(Skills))]
    public async Task WhatIsTrainedIsWhatTheEngineAsksAndAllows(string name)
    {
        using GemmaModel model = GemmaModel.Load("nano");
        int checkedTurns = 0;
        for (int i = 0; i < Cases; i++)
        {
            NanoCase drawn = NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, Enum.Parse<Skill>(name));
            TrainingDocument document = NanoCorpus.Render(Vocabulary, drawn);
            for (int m = 0; m < drawn.Messages.Count; m++)
            {
                if (drawn.Messages[m].Role != ChatRole.Assistant || document.Tokens.Length >= model.ContextLength)
                {
                    continue;
                }

                ChatTurn turn = await ChatTurn.CreateAsync(model, [.. drawn.Messages.Take(m)], drawn.Options, Citing(drawn), TestContext.Current.CancellationToken);
                Assert.Equal(turn.Prompt, document.Tokens[..turn.Prompt.Length]);
                for (int at = turn.Prompt.Length; turn.Constraint is { } constraint; at++)
                {
                    int token = document.Tokens[at];
                    Assert.True(constraint.IsAllowed(token), $"'{Vocabulary.GetPiece(token)}' at {at} of\n{Commands.PlainText(drawn)}");
                    if (token == Vocabulary.EndOfTurnId)
                    {
                        break;
                    }

                    constraint.Accept(token);
                }

                checkedTurns++;
            }
        }

        Assert.True(checkedTurns >= Cases);
    }

    /// <summary>Nothing has to be known: values of answers, calls and JSON stand in the conversation before them, but for what is computed or fixed.</summary>
    [Theory]
    [InlineData(nameof(Skill.Passage))]
    [InlineData(nameof(Skill.Sources))]
    [InlineData(nameof(Skill.Tool))]
    [InlineData(nameof(Skill.MixedTool))]
    [InlineData(nameof(Skill.FollowUp))]
    [InlineData(nameof(Skill.TwoCalls))]
    [InlineData(nameof(Skill.Mcp))]
    [InlineData(nameof(Skill.Handoff))]
    [InlineData(nameof(Skill.Typed))]
    public void AnswersCanBeReadFromWhatStandsBefore(string name)
    {
        for (int i = 0; i < 300; i++)
        {
            NanoCase drawn = NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, Enum.Parse<Skill>(name));
            string before = drawn.Options?.Tools is { Count: > 0 } tools ? string.Join(' ', tools.OfType<AIFunctionDeclaration>().Select(tool => tool.Name + tool.JsonSchema.GetRawText())) : "";
            foreach (ChatMessage message in drawn.Messages)
            {
                foreach (AIContent content in message.Contents)
                {
                    if (content is FunctionCallContent call)
                    {
                        Assert.Contains(call.Name, before, StringComparison.Ordinal);
                        Assert.All(Leaves(JsonSerializer.SerializeToNode(call.Arguments)), leaf => Assert.Contains(leaf, before + " thing", StringComparison.Ordinal));
                    }

                    if (drawn.Skill == Skill.Typed && message.Role == ChatRole.Assistant)
                    {
                        string told = before;
                        Assert.All(Leaves(JsonNode.Parse(message.Text)), leaf => Assert.True(
                            told.Contains(leaf, StringComparison.OrdinalIgnoreCase) || (DateOnly.TryParseExact(leaf, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day)
                                && told.Contains(day.ToString("MMMM", CultureInfo.InvariantCulture), StringComparison.Ordinal) && told.Contains(day.Year.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal)),
                            $"{leaf} in {told}"));
                    }

                    if (drawn.Skill is Skill.Passage or Skill.Sources && message.Role == ChatRole.Assistant && message.Text is not (NanoCorpus.Refusal or NanoCorpus.SourceRefusal))
                    {
                        int bracket = drawn.Skill == Skill.Sources ? message.Text.LastIndexOf(" [", StringComparison.Ordinal) : message.Text.Length;
                        string passage = drawn.Skill == Skill.Sources ? PassageOf(before, message.Text[(bracket + 1)..]) : before;
                        Assert.Contains(message.Text[..bracket], passage, StringComparison.Ordinal);
                    }

                    before += content switch
                    {
                        TextContent text => "\n" + text.Text,
                        FunctionResultContent result => "\n" + JsonSerializer.Serialize(result.Result),
                        _ => "",
                    };
                }
            }

            Assert.All(drawn.Contains, value => Assert.Contains(value, drawn.Messages[^1].Text, StringComparison.Ordinal));
        }

        static string PassageOf(string text, string number)
        {
            int start = text.LastIndexOf($"\n{number} ", StringComparison.Ordinal);
            Assert.True(start >= 0, $"No passage {number} in {text}");
            int end = text.IndexOf($"\n\n[{int.Parse(number.Trim('[', ']'), CultureInfo.InvariantCulture) + 1}] ", start, StringComparison.Ordinal);
            return end < 0 ? text[start..] : text[start..end];
        }
    }

    /// <summary>A question about documents is put exactly as the Rag package puts it: its instruction, its frame, and a passage as its chunker cuts the Markdown.</summary>
    [Fact]
    public void PassagesLookAsTheRagPackageWritesThem()
    {
        Lexicon lexicon = new(new Random(5), Split.Train);
        for (int i = 0; i < 200; i++)
        {
            Page page = Documents.Draw(lexicon, Facts.Any(lexicon));
            Assert.Equal(Cut(System.Text.Encoding.UTF8.GetBytes(Documents.Markdown(page)), DocumentFormat.Markdown), Documents.Passage(page, DocumentFormat.Markdown, "name"));
            Assert.Equal(Cut(System.Text.Encoding.UTF8.GetBytes(Documents.Html(page)), DocumentFormat.Html), Documents.Passage(page, DocumentFormat.Html, "name"));

            // Where a paragraph of a PDF ends is a guess of its reader.
            Assert.Equal(Words(Cut(Documents.Pdf(page), DocumentFormat.Pdf)), Words(Documents.Passage(page, DocumentFormat.Pdf, "name")));
        }

        NanoCase drawn = NanoCorpus.Draw(1, 4, Split.Train, Skill.Sources);
        Assert.Equal("Answer the question from the numbered passages only. After each statement, cite the passage it comes from with its number in brackets, like [1]. If the passages do not hold the answer, reply exactly: That is not in the documents.",
            drawn.Options!.Instructions);
        string asked = drawn.Messages[0].Text;
        string[] passages = System.Text.RegularExpressions.Regex.Split(asked["Passages:\n\n".Length..asked.LastIndexOf("Question: ", StringComparison.Ordinal)], "(?:^|\n\n)\\[\\d+\\] ")[1..];
        Assert.Equal(PassageFrame.Render(asked[(asked.LastIndexOf("Question: ", StringComparison.Ordinal) + 10)..], passages.Select(p => p.TrimEnd('\n'))), asked);

        static string Cut(byte[] bytes, DocumentFormat format)
        {
            ParsedDocument parsed = DocumentReader.Read(bytes, format, TestContext.Current.CancellationToken);
            return Assert.Single(new Chunker(Vocabulary, 2000, 2000, 0).Split(parsed, parsed.Title ?? "name", TestContext.Current.CancellationToken)).Text;
        }

        static string[] Words(string text) => text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Each format that a document is written in holds every value for the reader of that format.</summary>
    [Fact]
    public void DocumentsSayTheSameInEveryFormat()
    {
        Lexicon lexicon = new(new Random(6), Split.HeldOut);
        for (int i = 0; i < 60; i++)
        {
            Page page = Documents.Draw(lexicon, Facts.Any(lexicon));
            foreach ((byte[] bytes, DocumentFormat format) in new[]
            {
                (System.Text.Encoding.UTF8.GetBytes(Documents.Markdown(page)), DocumentFormat.Markdown), (System.Text.Encoding.UTF8.GetBytes(Documents.Html(page)), DocumentFormat.Html), (Documents.Pdf(page), DocumentFormat.Pdf),
            })
            {
                string text = string.Join(' ', DocumentReader.Read(bytes, format, TestContext.Current.CancellationToken).Blocks.Select(block => block.Text)).ReplaceLineEndings(" ");
                Assert.All(page.Profiles.SelectMany(profile => profile.Facts), fact => Assert.Contains(fact.Value, text, StringComparison.Ordinal));
            }
        }
    }

    /// <summary>A quarter of all templates is never used in training, whatever is drawn, and the evaluation of phrasings does use it.</summary>
    [Fact]
    public void AQuarterOfTheTemplatesIsHeldOut()
    {
        HashSet<string> trained = new(StringComparer.Ordinal), heldOut = new(StringComparer.Ordinal);
        foreach (Skill skill in Enum.GetValues<Skill>())
        {
            int used = 0;
            for (int i = 0; i < 600; i++)
            {
                _ = NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, skill, templates: Trained);
                _ = NanoCorpus.Draw(NanoEvaluation.Seed, i, Split.HeldOut, skill, phrasing: Split.HeldOut, templates: (template, side) =>
                {
                    used += side == Split.HeldOut ? 1 : 0;
                    (side == Split.HeldOut ? heldOut : trained).Add(template);
                });
            }

            Assert.True(used >= 300, skill.ToString());
        }

        for (int i = 0; i < 3000; i++)
        {
            _ = NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, templates: Trained);
        }

        // No list trains what another holds out.
        Assert.Empty(heldOut.Intersect(trained));

        // The quarter is one of what the evaluation can ask in.
        trained.ExceptWith(Lists().SelectMany(phrasings => phrasings.More).Except(Lists().SelectMany(phrasings => phrasings.Of(Split.Train))));

        Assert.InRange((double)heldOut.Count / (heldOut.Count + trained.Count), 0.2, 0.3);

        void Trained(string template, Split side)
        {
            Assert.Equal(Split.Train, side);
            trained.Add(template);
        }
    }

    /// <summary>What training has templates of its own for is never what a held-out template can say, in whatever case and punctuation.</summary>
    [Fact]
    public void TemplatesOfTrainingAloneSayNothingThatIsHeldOut()
    {
        HashSet<string> heldOut = [.. Lists().SelectMany(phrasings => phrasings.Of(Split.HeldOut).Except(phrasings.Of(Split.Train))).SelectMany(Said)];
        string[] own = [.. Lists().SelectMany(phrasings => phrasings.More)], same = [.. own.Where(template => Said(template).Any(heldOut.Contains))];
        Assert.True(heldOut.Count > 200 && own.Length > 500, $"{heldOut.Count} held-out sentences and {own.Length} templates of training.");
        Assert.True(same.Length == 0, string.Join('\n', same));

    }

    /// <summary>A sentence of training that is put in other ways never becomes what a held-out template of the same list says.</summary>
    [Fact]
    public void OtherWaysOfTrainingSayNothingThatIsHeldOut()
    {
        int ways = 0;
        List<string> same = [];
        foreach (Phrasings phrasings in ListsOf([typeof(Tools), typeof(Gemma.Extensions.AI.Nano.Recipe.Attribute)]).Concat(McpServers.All.Select(tool => tool.Requests)))
        {
            HashSet<string> heldOut = [.. phrasings.Of(Split.HeldOut).Except(phrasings.Of(Split.Train)).SelectMany(Said)];
            string[] varied = [.. phrasings.Of(Split.Train).Concat(phrasings.More).SelectMany(Expansions).Where(text => text.Length > 0).SelectMany(text => Manner.Ways(char.ToUpperInvariant(text[0]) + text[1..]))];
            ways += varied.Length;
            same.AddRange(varied.Where(text => heldOut.Contains(Plain(text))));
        }

        Assert.True(ways > 10_000, $"{ways} ways.");
        Assert.True(same.Count == 0, string.Join('\n', same));
    }

    /// <summary>Training draws its own templates and those of the evaluation; a case of the evaluation draws none that only training has.</summary>
    [Fact]
    public void TheEvaluationDrawsNoTemplateOfTrainingAlone()
    {
        HashSet<string> own = [.. Lists().SelectMany(phrasings => phrasings.More)], trained = new(StringComparer.Ordinal), asked = new(StringComparer.Ordinal);
        foreach (Skill skill in Enum.GetValues<Skill>())
        {
            for (int i = 0; i < 200; i++)
            {
                _ = NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, skill, templates: (template, _) => trained.Add(template));
                _ = NanoCorpus.Draw(NanoEvaluation.Seed, i, Split.HeldOut, skill, phrasing: i % 2 == 0 ? Split.Train : Split.HeldOut, templates: (template, _) => asked.Add(template));
            }
        }

        Assert.Empty(asked.Intersect(own));
        Assert.True(trained.Intersect(own).Count() > 300);
        Assert.True(trained.Intersect(asked).Count() > 200);
    }

    [Fact]
    public void TemplatesAreFilled()
    {
        Lexicon lexicon = new(new Random(1), Split.Train);
        Phrasings one = new("(a|b(c|d)) {x}( e|)");
        HashSet<string> drawn = [.. Enumerable.Range(0, 200).Select(_ => one.Fill(lexicon, ("x", "(|)")))];
        Assert.Equal(new[] { "a (|)", "a (|) e", "bc (|)", "bc (|) e", "bd (|)", "bd (|) e" }, drawn.Order(StringComparer.Ordinal));
        Assert.Throws<FormatException>(() => one.Fill(lexicon, ("y", "z")));
        Assert.Throws<FormatException>(() => new Phrasings("(a|b").Fill(lexicon));

        Phrasings many = new("!pinned", "a", "b", "c", "d", "e", "f", "g");
        Assert.Equal(2, many.Of(Split.HeldOut).Count);
        Assert.Contains("pinned", many.Of(Split.Train));
        Assert.Empty(many.Of(Split.Train).Intersect(many.Of(Split.HeldOut)));
    }

    [Fact]
    public void ToolsOfServersAreManyAndCanBeAskedFor()
    {
        Assert.True(McpServers.All.Length >= 60);
        Assert.True(McpServers.All.Select(tool => tool.Server).Distinct().Count() >= 12);
        Assert.All(McpServers.Unseen, server => Assert.Contains(server, McpServers.All.Select(tool => tool.Server)));
        Lexicon lexicon = new(new Random(9), Split.Train);
        Assert.All(McpServers.All, tool =>
        {
            JsonElement schema = ((AIFunctionDeclaration)tool.Declaration).JsonSchema;
            for (int i = 0; i < 20; i++)
            {
                (string request, Dictionary<string, object?> arguments) = McpServers.Use(lexicon, tool);
                Assert.NotEmpty(request);
                Assert.All(arguments.Keys, key => Assert.True(schema.GetProperty("properties").TryGetProperty(key, out _)));
                Assert.Equal(tool.Arguments.Count(argument => argument[0] != '?'), schema.TryGetProperty("required", out JsonElement required) ? required.EnumerateArray().Count(name => arguments.ContainsKey(name.GetString()!)) : 0);
            }
        });
    }

    /// <summary>Prompts up to the whole context are part of the training.</summary>
    [Fact]
    public void LongPromptsReachTheContext()
    {
        int[] lengths = [.. Enumerable.Range(0, 150).Select(i => NanoCorpus.Render(Vocabulary, NanoCorpus.Long(1, i)).Tokens.Length)];
        int context = Commands.Config(2048).ContextLength;
        Assert.True(context >= 4096);
        Assert.InRange(lengths.Where(length => length <= context).Max(), context * 7 / 8, context);
        Assert.True(lengths.Count(length => length <= context) > 100);
        Assert.Contains(Commands.Phases, phase => phase.Emphasis.Long > 0);
    }

    /// <summary>Every list of templates of the recipe.</summary>
    private static IEnumerable<Phrasings> Lists() => ListsOf(typeof(Phrasings).Assembly.GetTypes()).Concat(Talk.Exchanges.Select(exchange => exchange.Asked)).Concat(McpServers.All.Select(tool => tool.Requests));

    private static IEnumerable<Phrasings> ListsOf(Type[] types) =>
        types.SelectMany(type => type.GetFields(System.Reflection.BindingFlags.Static | System.Reflection.BindingFlags.NonPublic | System.Reflection.BindingFlags.Public))
            .Where(field => field.FieldType == typeof(Phrasings)).Select(field => (Phrasings)field.GetValue(null)!);

    private static IEnumerable<string> Said(string template) => Expansions(template).Select(Plain);

    /// <summary>Without case, punctuation and contractions.</summary>
    private static string Plain(string text)
    {
        string whole = text.ToLowerInvariant().Replace("n't", " not", StringComparison.Ordinal).Replace("'s", " is", StringComparison.Ordinal).Replace("'m", " am", StringComparison.Ordinal).Replace("'d", " would", StringComparison.Ordinal);
        return string.Join(' ', System.Text.RegularExpressions.Regex.Replace(whole, @"[^\p{L}\p{N}{}]+", " ").Split(' ', StringSplitOptions.RemoveEmptyEntries));
    }

    /// <summary>All that a template can say, slots left open.</summary>
    private static IEnumerable<string> Expansions(string template)
    {
        int open = template.LastIndexOf('(');
        if (open < 0)
        {
            return [template];
        }

        int close = template.IndexOf(')', open);
        return template[(open + 1)..close].Split('|').SelectMany(choice => Expansions(template[..open] + choice + template[(close + 1)..]));
    }

    private static GemmaGenerationOptions? Citing(NanoCase drawn) => drawn.Skill == Skill.Sources
        ? new GemmaGenerationOptions { Regex = DocumentAnswerer.CitationRegex(drawn.Messages[0].Text.Split("\n\n[").Length - 1) }
        : null;

    private static IEnumerable<string> Leaves(JsonNode? node) => node switch
    {
        JsonObject o => o.SelectMany(member => Leaves(member.Value)),
        JsonArray a => a.SelectMany(Leaves),
        JsonValue value => [value.ToString()],
        _ => [],
    };
}
