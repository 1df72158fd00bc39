using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>Ratings against closed forms and a published example, and games that are played fairly.</summary>
public sealed class ArenaTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Two players: the log odds are ln(w/l), with the variance 1/w + 1/l.</summary>
    [Theory]
    [InlineData(30, 10)]
    [InlineData(7.5, 2.5)]
    [InlineData(5, 5)]
    public void TwoPlayersHaveAClosedForm(double wins, double losses)
    {
        IReadOnlyList<PlayerRating> ratings = BradleyTerry.Rate([new PairResult("a", "b", wins, losses)]);
        PlayerRating a = ratings.Single(rating => rating.Player == "a"), b = ratings.Single(rating => rating.Player == "b");
        Assert.Equal(400 * Math.Log10(wins / losses), a.Rating - b.Rating, 1e-7);
        Assert.Equal(1000, (a.Rating + b.Rating) / 2, 1e-9);
        double half = 1.959963984540054 * 400 / Math.Log(10) * Math.Sqrt((1 / wins) + (1 / losses)) / 2; // half the difference's, around the mean of both
        Assert.Equal(a.Rating - half, a.Low, 1e-6);
        Assert.Equal(b.Rating + half, b.High, 1e-6);
        Assert.Equal(wins + losses, a.Games);
    }

    /// <summary>Baseball's American League East of 1987 (Agresti, Categorical Data Analysis): the abilities that R's BradleyTerry2 prints, Baltimore being 0.</summary>
    [Fact]
    public void ThePublishedExampleOfBaseball()
    {
        string[] teams = ["Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore"];
        int[][] wins = [[0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10], [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0]];
        double[] abilities = [1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0];
        IReadOnlyList<PlayerRating> ratings = BradleyTerry.Rate(
            from i in Enumerable.Range(0, 7) from j in Enumerable.Range(i + 1, 6 - i) select new PairResult(teams[i], teams[j], wins[i][j], wins[j][i]));
        Assert.Equal(teams, ratings.Select(rating => rating.Player));
        double last = ratings[^1].Rating;
        Assert.Equal(abilities, ratings.Select(rating => Math.Round((rating.Rating - last) * Math.Log(10) / 400, 4)));
    }

    [Fact]
    public void ResultsWithoutFiniteRatingsAreRefused()
    {
        Assert.Contains("b never won against a", Assert.Throws<InvalidOperationException>(() => BradleyTerry.Rate([new PairResult("a", "b", 3, 0)])).Message, StringComparison.Ordinal);
        Assert.Throws<InvalidOperationException>(() => BradleyTerry.Rate([new PairResult("a", "b", 1, 1), new PairResult("c", "d", 1, 1)]));
        Assert.Equal(3, BradleyTerry.Rate([new PairResult("a", "b", 1, 0), new PairResult("b", "c", 1, 0), new PairResult("c", "a", 1, 0)]).Count);
        Assert.Throws<ArgumentException>(() => BradleyTerry.Rate([]));
        Assert.Throws<ArgumentException>(() => BradleyTerry.Rate([new PairResult("a", "a", 1, 0)]));
    }

    [Fact]
    public async Task AVerdictThatChangesWithThePlacesIsADraw()
    {
        ArenaAnswer[] answers = [new("x", "q1", "short"), new("y", "q1", "a longer answer"), new("z", "q1", "middling"), new("x", "q2", "one"), new("y", "q2", "two!")];
        ArenaReferee byLength = (_, first, second, _) => Task.FromResult(first.Length > second.Length ? ArenaWinner.First : ArenaWinner.Second), alwaysFirst = (_, _, _, _) => Task.FromResult(ArenaWinner.First);
        ArenaGame[] fair = await Play(byLength), biased = await Play(alwaysFirst);
        Assert.Equal([("x", "y", ArenaWinner.Second), ("x", "z", ArenaWinner.Second), ("y", "z", ArenaWinner.First), ("x", "y", ArenaWinner.Second)], fair.Select(game => (game.First, game.Second, game.Winner)));
        Assert.All(biased, game => Assert.Equal(ArenaWinner.Draw, game.Winner));
        Assert.Equal([new PairResult("x", "y", 1, 1), new PairResult("x", "z", 0.5, 0.5), new PairResult("y", "z", 0.5, 0.5)], Arena.Results(biased));
        Assert.Equal("q2", Assert.Single(await Play(byLength, fair[..3])).Question);

        async Task<ArenaGame[]> Play(ArenaReferee referee, ArenaGame[]? played = null)
        {
            List<ArenaGame> games = [];
            await foreach (ArenaGame game in Arena.PlayAsync(answers, referee, played: played))
            {
                games.Add(game);
            }

            return [.. games];
        }
    }

    [Fact]
    public async Task AnyClientJudgesInAForm()
    {
        ScriptedChatClient judge = new(messages => [messages[0].Text.Contains("Answer A:\ngood", StringComparison.Ordinal) ? """{"winner":"A"}""" : """{"winner":"B"}"""]);
        Assert.Equal(ArenaWinner.First, await Arena.JudgedBy(judge)("q", "good", "bad", default));
        Assert.Equal(ArenaWinner.Second, await Arena.JudgedBy(judge)("q", "bad", "good", default));
        Assert.IsType<ChatResponseFormatJson>(judge.Calls[0].Options.ResponseFormat);
        await Assert.ThrowsAsync<FormatException>(() => Arena.JudgedBy(new ScriptedChatClient(_ => ["I like A"]))("q", "a", "b", default));
        using GemmaModel nano = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        Assert.True(Enum.IsDefined(await Arena.JudgedBy(nano.AsIChatClient())("What is 1 + 1?", "2", "fish", default)));
    }

    [Fact]
    public async Task APersonJudgesAtTheTerminalAndGoesOnLater()
    {
        string answers = _directory.File("answers.jsonl"), games = _directory.File("games.jsonl");
        File.WriteAllLines(answers, Enumerable.Range(0, 4).SelectMany(i => (string[])[Line("good", i), Line("bad", i)]));
        string first = await Run("a\nx\nb\nq\n", answers, games);
        Assert.Equal(2, File.ReadAllLines(games).Length);
        Assert.Contains("[A]", first, StringComparison.Ordinal);
        Assert.DoesNotContain("by good", first[..first.IndexOf("No ratings yet after 2 games", StringComparison.Ordinal)], StringComparison.Ordinal); // it is not told whose answers they are
        string rest = await Run("d\nd\n", answers, games);
        Assert.Equal(4, File.ReadAllLines(games).Length);
        Assert.Contains("| 4 |", rest, StringComparison.Ordinal);

        static string Line(string model, int i) => JsonSerializer.Serialize(new ArenaAnswer("by " + model, $"Question {i}?", $"Text {model[0]}{i}"), JsonSerializerOptions.Web);
    }

    private static async Task<string> Run(string input, string answers, string games)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(["arena", "--answers", answers, "--games", games, "--seed", "3"], new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader(input), IsInteractive = false });
        Assert.True(exit == 0, error.ToString());
        return output.ToString();
    }
}
