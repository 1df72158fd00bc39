using System.Diagnostics;
using System.Globalization;
using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Nano;
using Gemma.Extensions.AI.Nano.Recipe;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Xunit;
using static Gemma.Extensions.AI.Tests.Training.NanoData;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class NanoTests
{
    [Fact]
    public void ModelIsSmallAndUsesTheCommittedVocabulary()
    {
        Assert.InRange(new FileInfo(NanoModel.Path).Length, 1_000_000, 8_000_000);
        using GemmaModel model = GemmaModel.Load("nano");
        Assert.Equal("gemma2-nano", model.File.Name);
        Assert.Equal("gemma2-nano", model.ModelId);
        Assert.Equal(Vocabulary.VocabularySize, model.Tokenizer.VocabularySize);
        const string Text = "Torvin's \"Kelmara\" costs 12.50 …\n\n日本";
        Assert.Equal(Vocabulary.Encode(Text, matchSpecial: true), model.Tokenizer.Encode(Text, matchSpecial: true));
    }

    /// <summary>The file that an earlier run wrote is used as it is where it is whole, and written again where it is not.</summary>
    [Fact]
    public async Task TheFileIsWrittenAgainIfItDiffers()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has a variable for the directory.");
        byte[] model = await File.ReadAllBytesAsync(NanoModel.Path, TestContext.Current.CancellationToken);
        using TempDirectory data = new();
        await InspectAsync();
        string path = Assert.Single(Directory.EnumerateFiles(data.Path, "*", SearchOption.AllDirectories));
        Assert.Equal(model, await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken));
        DateTime written = new(2020, 1, 1, 0, 0, 0, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(path, written);
        await InspectAsync();
        Assert.Equal(written, File.GetLastWriteTimeUtc(path));
        foreach (byte[] other in (byte[][])[[.. model[..^1], (byte)(model[^1] + 1)], model[..^7], [.. model, 0], []])
        {
            await File.WriteAllBytesAsync(path, other, TestContext.Current.CancellationToken);
            await InspectAsync();
            Assert.Equal(model, await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken));
            Assert.Equal(path, Assert.Single(Directory.EnumerateFiles(data.Path, "*", SearchOption.AllDirectories)));
        }

        async Task InspectAsync()
        {
            ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Gemma.Extensions.AI.Cli.dll"), "inspect", "nano"]);
            start.Environment["XDG_DATA_HOME"] = data.Path;
            (int exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(3));
            Assert.True(exit == 0 && output.Contains("gemma2-nano", StringComparison.Ordinal), output + errors);
        }
    }

    [Fact]
    public void UseNanoSetsThePath() => Assert.Equal(NanoModel.Path, new GemmaOptions().UseNano().ModelPath);

    /// <summary>Whole sentences of its training, and an end. Which of them is the evaluation's business.</summary>
    [Fact]
    public async Task AnswersAndEndsByItself()
    {
        using GemmaModel model = GemmaModel.Load("nano");
        using IChatClient client = model.AsIChatClient();
        ChatResponse response = await client.GetResponseAsync("hello", new ChatOptions { MaxOutputTokens = 60 });
        Assert.Contains(response.Text, Talk.Exchanges.Select(exchange => exchange.Answer));
        Assert.Equal(ChatFinishReason.Stop, response.FinishReason);
    }

    /// <summary>Whatever surrounds a name, it is cut into the same pieces, so copying it is copying pieces.</summary>
    [Theory]
    [InlineData("Kelmara")]
    [InlineData("Quentin")]
    [InlineData("zorvak")]
    [InlineData("4821")]
    public void NamesAreCutAlikeEverywhere(string name)
    {
        int[] bare = Vocabulary.Encode(name, matchSpecial: false);
        foreach ((string before, string after) in new[] { (" ", " "), ("\"", "\""), ("(", ")"), ("\n", "."), (":", ",") })
        {
            int[] surrounded = Vocabulary.Encode(before + name + after, matchSpecial: false);
            Assert.True(Enumerable.Range(0, surrounded.Length).Any(i => surrounded.AsSpan(i).StartsWith(bare)), $"'{before}{name}{after}'");
        }
    }

    [Fact]
    public void ControlTokensAreGemmas()
    {
        Assert.Equal((0, 1, 2, 3), (Vocabulary.PadId, Vocabulary.EosId, Vocabulary.BosId, Vocabulary.UnknownId));
        Assert.True(Vocabulary.StartOfTurnId > 0 && Vocabulary.EndOfTurnId > 0);
        Assert.InRange(Vocabulary.VocabularySize, 2000, 4000);
    }

    [Fact]
    public void CasesAreTheSameEveryTime()
    {
        for (int i = 0; i < 50; i++)
        {
            Assert.Equal(
                NanoCorpus.Render(Vocabulary, NanoCorpus.Draw(1, i, Split.Train)).Tokens, NanoCorpus.Render(Vocabulary, NanoCorpus.Draw(1, i, Split.Train)).Tokens);
        }
    }

    /// <summary>Entities of one split never come out of the other.</summary>
    [Fact]
    public void SplitsShareNoEntity()
    {
        HashSet<string>[] drawn = [.. new[] { Split.Train, Split.HeldOut }.Select(split =>
        {
            Lexicon lexicon = new(new Random(1), split);
            Func<string>[] draws = [lexicon.Word, lexicon.FirstName, lexicon.FamilyName, lexicon.City, lexicon.Code, lexicon.Phone, lexicon.Large, lexicon.Date, lexicon.Year, lexicon.Clock];
            return draws.SelectMany(draw => Enumerable.Range(0, 3000).Select(_ => draw())).ToHashSet(StringComparer.OrdinalIgnoreCase);
        })];
        Assert.True(drawn[1].Count > 5000);
        drawn[1].IntersectWith(drawn[0]);
        Assert.Empty(drawn[1]);
    }

    [Fact]
    public void ToolsOfTheSplitsDiffer()
    {
        HashSet<string>[] nouns = [.. new[] { Split.Train, Split.HeldOut }.Select(split =>
        {
            Lexicon lexicon = new(new Random(2), split);
            return Enumerable.Range(0, 2000).Select(_ => Tools.Draw(lexicon, new Naming(lexicon, mixed: false), []).Noun).ToHashSet(StringComparer.Ordinal);
        })];
        nouns[1].IntersectWith(nouns[0]);
        Assert.Empty(nouns[1]);
    }

    [Fact]
    public void ToolsOfOneCaseAreNamedAlike()
    {
        Lexicon lexicon = new(new Random(3), Split.Train);
        for (int i = 0; i < 50; i++)
        {
            Naming naming = new(lexicon, mixed: false);
            string[] names = [naming.Name("get find fetch", "water level"), naming.Name("get find fetch", "tide"), naming.Name("send write", "note")];
            string[] verbs = [.. names[..2].Select(name => name.Replace("water", "", StringComparison.OrdinalIgnoreCase).Replace("level", "", StringComparison.OrdinalIgnoreCase)
                .Replace("tide", "", StringComparison.OrdinalIgnoreCase).Trim('_', '-'))];
            Assert.Equal(verbs[0], verbs[1], ignoreCase: true);
            Assert.Single(names.Select(name => (char.IsUpper(name[0]), name.Contains('_', StringComparison.Ordinal), name.Contains('-', StringComparison.Ordinal), name.Any(char.IsUpper))).Distinct());
        }

        Naming mixed = new(lexicon, mixed: true);
        Assert.True(Enumerable.Range(0, 100).Select(_ => mixed.Name("get find fetch", "tide")).Distinct().Count() > 10);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void PhasesOfTheRecipeFollowEachOther(bool continued)
    {
        IReadOnlyList<(double Until, Commands.Emphasis Emphasis)> phases = continued ? Commands.Continued : Commands.Phases;
        double[] ends = [.. phases.Select(phase => phase.Until)];
        Assert.Equal(ends.Order(), ends);
        Assert.Equal(1, ends[^1]);
        foreach ((_, Commands.Emphasis emphasis) in phases)
        {
            Skill[] drawn = [.. Enumerable.Range(0, 100).Select(i => emphasis.Draw(i, Split.Train).Case.Skill)];
            Assert.True(drawn.Count(skill => skill == Skill.Repeat) >= emphasis.Repeat);
            Assert.True(drawn.Count(skill => skill == Skill.Talk) >= emphasis.Talk);
            Assert.True(drawn.Count(skill => skill == Skill.System) >= emphasis.System);
            Assert.Equal(emphasis.Drill, Enumerable.Range(0, 100).Count(i => emphasis.Draw(i, Split.Train).Practice == Commands.Practice.Decisions));
            Assert.Equal(emphasis.Lists, Enumerable.Range(0, 100).Count(i => emphasis.Draw(i, Split.Train).Practice == Commands.Practice.Lists));
            Assert.True(drawn.Count(skill => skill is Skill.Absent or Skill.NoTool) >= emphasis.Refusals);
            Assert.InRange(emphasis.Repeat + emphasis.Talk + emphasis.Drill + emphasis.Long + emphasis.System + emphasis.Lists + emphasis.Refusals, 0, 100);
        }
    }

    /// <summary>A piece of JSON ends at the colon of a member, so that the grammar says what comes behind it; the text is the same.</summary>
    [Theory]
    [InlineData(nameof(Skill.Json))]
    [InlineData(nameof(Skill.Typed))]
    public void JsonIsCutAtColons(string skill)
    {
        int members = 0;
        for (int i = 0; i < 100; i++)
        {
            NanoCase drawn = NanoCorpus.Draw(6, i, Split.Train, Enum.Parse<Skill>(skill));
            TrainingDocument document = NanoCorpus.Render(Vocabulary, drawn);
            string[] said = [.. document.Tokens.Where((_, k) => document.Trained![k]).Select(Vocabulary.GetPiece)];
            Assert.Equal(drawn.Messages[^1].Text.Replace(' ', '▁') + "<end_of_turn>", string.Concat(said));
            Assert.All(said, piece => Assert.False(piece.StartsWith("\":", StringComparison.Ordinal) && piece.Length > 2, piece));
            members += said.Count(piece => piece == "\":");
        }

        Assert.True(members > 200);
    }

    /// <summary>What a drill trains: how each turn of the model begins, and the whole name of a called tool.</summary>
    [Fact]
    public void DrillsTrainDecisions()
    {
        int calls = 0;
        for (int i = 0; i < 600; i++)
        {
            NanoCase drill = NanoCorpus.Drill(5, i);
            TrainingDocument document = NanoCorpus.RenderDecisions(Vocabulary, drill);
            string[] trained = [.. document.Tokens.Where((_, k) => document.Trained![k]).Select(Vocabulary.GetPiece)];
            Assert.InRange(trained.Length, drill.Messages.Count / 2, document.Tokens.Length / 3);
            string said = string.Concat(trained);
            int from = 0;
            foreach (FunctionCallContent call in drill.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>())
            {
                from = said.IndexOf(call.Name, from, StringComparison.Ordinal);
                Assert.True(from >= 0);
                from += call.Name.Length;
                calls++;
            }
        }

        Assert.True(calls > 200);
    }

    /// <summary>A list trains what stands behind a colon or a bracket, or is a turn of its own; a number is that of the one passage or line with the word, a name is the tool's or the line's with it or of what is asked for, a day is the same day.</summary>
    [Fact]
    public void ListsTrainWhatAWordBelongsTo()
    {
        int numbers = 0, names = 0, bracketed = 0, days = 0, requests = 0, apart = 0;
        for (int i = 0; i < 600; i++)
        {
            NanoCase list = NanoCorpus.List(5, i);
            TrainingDocument document = NanoCorpus.RenderList(Vocabulary, list);
            string asked = Commands.PlainText(list with { Messages = [list.Messages[0]] });
            string trained = Regex.Replace(string.Concat(document.Tokens.Where((_, k) => document.Trained![k]).Select(Vocabulary.GetPiece)), "\n|<end_of_turn>|\",\"", "").Replace('▁', ' ');
            string[] lines = LinesOf(list);
            string expected = "";
            apart += list.Given is null ? 0 : lines.Length;
            foreach (string line in lines)
            {
                // A line is "word [number]", "word [name]", "word: name", "request: name", "day: day" or "attribute of subject: value [number]"; the answer of a turn can be "[name]".
                Match parts = Regex.Match(line, @"^(?<word>.+?)(?<said>: (?<value>.*?))?( ?\[(?<head>[^\]]+)\])?$");
                string word = parts.Groups["word"].Value, value = parts.Groups["value"].Value, head = parts.Groups["head"].Value;
                if (head.Length > 0 && head.All(char.IsAsciiDigit))
                {
                    string[] passages = [.. asked.Split("\n[").Select(p => "[" + p.TrimStart('[')).Where(p => p.Contains(value.Length > 0 ? value : word, StringComparison.OrdinalIgnoreCase))];
                    Assert.Contains(passages, p => p.StartsWith($"[{head}]", StringComparison.Ordinal));
                    numbers++;
                }
                else if (DateOnly.TryParseExact(value, "yyyy-MM-dd", CultureInfo.InvariantCulture, DateTimeStyles.None, out DateOnly day))
                {
                    string[] formats = ["d MMMM yyyy", "d. MMMM yyyy", "MMMM d, yyyy", "yyyy-MM-dd"];
                    Assert.Equal(day, DateOnly.ParseExact(word, formats, CultureInfo.InvariantCulture));
                    days++;
                }
                else
                {
                    string name = head.Length > 0 ? head : value;
                    string own = Assert.Single(asked.Split('\n'), l => l.StartsWith($"- {name}(", StringComparison.Ordinal) || l.StartsWith($"- {name}:", StringComparison.Ordinal) || l.StartsWith($"[{name}] ", StringComparison.Ordinal));
                    bool isWord = own.Contains(word, StringComparison.OrdinalIgnoreCase);
                    Assert.True(isWord || (own.Contains("query: Input query", StringComparison.Ordinal) || name.StartsWith("handoff_", StringComparison.Ordinal) ? IsOfAgent(word, own, asked) : IsOfTool(word, name, own)), line + "\n" + asked);
                    names += isWord ? 1 : 0;
                    bracketed += isWord && head.Length > 0 ? 1 : 0;
                    requests += isWord ? 0 : 1;
                }

                expected += parts.Groups["said"].Success ? line[(word.Length + 1)..] : line[(line.LastIndexOf('[') + 1)..];
            }

            // A time of day has a colon of its own, and a turn need not begin with a space.
            (trained, expected) = list.Given is null ? (trained, expected) : (trained.Replace(" ", "", StringComparison.Ordinal), expected.Replace(" ", "", StringComparison.Ordinal));
            bool exact = !lines.Any(line => Regex.IsMatch(line, @"\d:\d"));
            Assert.True(exact ? trained == expected : trained.Length >= expected.Length / 2 && trained.Length <= string.Concat(lines).Length, $"{trained}\n{string.Join('\n', lines)}");
            Assert.Equal(document.Tokens.Length, document.Trained!.Length);
        }

        Assert.True(numbers > 1000 && names > 800 && bracketed > 400 && days > 100 && requests > 100 && apart > 500, $"{numbers} {names} {bracketed} {days} {requests} {apart}");
    }

    /// <summary>The lines of a list, in which nothing stands between what is asked for and its answer: also where words do, or the turns of a conversation.</summary>
    private static string[] LinesOf(NanoCase list)
    {
        string[] lines = list.Given is null
            ? list.Messages[^1].Text.Split('\n')
            : [.. list.Messages.Chunk(2).Select(turn => $"{Asked(turn[0].Text)}: {(turn[1].Contents[0] is FunctionCallContent call ? call.Name : turn[1].Text[list.Given.Length..])}")];
        return [.. lines.Select(line => Regex.Replace(line, $@"( ({string.Join('|', NanoCorpus.Between)}))+(?<gap>: | \[)", "${gap}"))];

        static string Asked(string text) => text[(Math.Max(text.LastIndexOf('\n') + 1, text.LastIndexOf("Read: ", StringComparison.Ordinal) is >= 0 and int read ? read + 6 : 0))..];
    }

    /// <summary>A request for a tool has the words of its name but for the verb; one for a calculator has numbers.</summary>
    private static bool IsOfTool(string request, string name, string declared)
    {
        string[] parts = [.. Regex.Matches(name, "[A-Z]?[a-z]+").Select(match => match.Value)];
        return declared.Contains("two numbers", StringComparison.Ordinal) || declared.Contains("one number", StringComparison.Ordinal)
            || (parts.Length > 1 && parts.Count(part => request.Contains(part, StringComparison.OrdinalIgnoreCase)) >= parts.Length - 1);
    }

    /// <summary>A request for an agent has a word that its description has and no other's.</summary>
    private static bool IsOfAgent(string request, string declared, string asked) => Regex.Matches(request, "[A-Za-z]{3,}").Any(said =>
        asked.Split('\n').Where(line => line.StartsWith("- ", StringComparison.Ordinal) && Regex.IsMatch(Said(line), $@"\b{said.Value}\b", RegexOptions.IgnoreCase)).ToArray() is [{ } only] && only == declared);

    /// <summary>The name and description of an agent that is a tool, without its parameter, which all of them have.</summary>
    private static string Said(string declared) => declared.Replace("(query: string)", "", StringComparison.Ordinal).Replace("query: Input query to invoke the agent.", "", StringComparison.Ordinal);

    /// <summary>
    /// The fence as the reader of a case sees it: what the evaluation's own cases were drawn with stands in no training case, neither as an entity of
    /// it nor, for names, places, codes and numbers of three digits or more, anywhere in its text. Results of arithmetic are computed, not drawn: a
    /// training case with a calculator among its tools may add up to a held-out number.
    /// </summary>
    [Fact]
    public void EvaluationCasesShareNothingWithTrainingCases()
    {
        HashSet<string> heldOut = new(StringComparer.OrdinalIgnoreCase);
        HashSet<string> heldOutTools = new(StringComparer.Ordinal);
        foreach (Skill skill in Enum.GetValues<Skill>())
        {
            for (int i = 0; i < 200; i++)
            {
                NanoCase drawn = NanoCorpus.Draw(NanoEvaluation.Seed, i, Split.HeldOut, skill, entity => heldOut.Add(entity));
                heldOutTools.UnionWith(skill is Skill.Mcp or Skill.Handoff ? [] : drawn.Options?.Tools?.Select(tool => tool.Name) ?? []); // servers' tools and numbered agents are called the same everywhere
            }
        }

        Assert.True(heldOut.Count > 2000 && heldOutTools.Count > 200);
        string[] names = [.. heldOut.Where(e => e.Length > 2 && e.Any(c => char.IsAsciiLetterUpper(c) || char.IsAsciiDigit(c) || c == '@'))];
        HashSet<string> text = new(StringComparer.Ordinal);
        for (int i = 0; i < 6000; i++)
        {
            NanoCase drawn = (i % 8) switch
            {
                0 => NanoCorpus.List(Commands.CorpusSeed, i),
                1 => NanoCorpus.Drill(Commands.CorpusSeed, i),
                _ => NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train, null, entity => Assert.DoesNotContain(entity, heldOut)),
            };
            Assert.All(drawn.Options?.Tools ?? [], tool => Assert.DoesNotContain(tool.Name, heldOutTools));
            if (drawn.Options?.Tools?.Any(tool => tool.Description.Contains("two numbers", StringComparison.Ordinal) || tool.Description.Contains("one number", StringComparison.Ordinal)) == true)
            {
                continue;
            }

            string[] words = [.. Commands.PlainText(drawn).Split([' ', '\n', '"', '(', ')', '{', '}', ',', '?', '!', ';', ':'], StringSplitOptions.RemoveEmptyEntries).Select(word => word.TrimEnd('.'))];
            for (int w = 0; w < words.Length; w++)
            {
                text.Add(words[w]);
                text.Add(string.Join(' ', words.AsSpan(w, Math.Min(2, words.Length - w))!));
            }
        }

        Assert.True(text.Count > 50_000);
        Assert.All(names, name => Assert.DoesNotContain(name, text));
    }

    /// <summary>What is measured is trained: a run from random weights meets every skill without a phase of its own.</summary>
    [Fact]
    public void TheMixtureHasEverySkill() =>
        Assert.Equal(Enum.GetValues<Skill>(), Enumerable.Range(0, 1500).Select(i => NanoCorpus.Draw(Commands.CorpusSeed, i, Split.Train).Skill).Distinct().Order());

    /// <summary>Every kind of case renders, fits, and ends a trained turn with the end of turn.</summary>
    [Fact]
    public void EveryCaseCanBeTrainedOn()
    {
        foreach (Skill skill in Enum.GetValues<Skill>())
        {
            for (int i = 0; i < 40; i++)
            {
                TrainingDocument document = NanoCorpus.Render(Vocabulary, NanoCorpus.Draw(3, i, i % 2 == 0 ? Split.Train : Split.HeldOut, skill));
                Assert.InRange(document.Tokens.Length, 5, 2000);
                Assert.True(document.Trained![^1]);
                Assert.Equal(Vocabulary.EndOfTurnId, document.Tokens[^1]);
                Assert.False(document.Trained[0]);
            }
        }
    }
}
