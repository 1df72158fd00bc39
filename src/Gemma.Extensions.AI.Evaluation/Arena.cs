using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Who wrote the better answer.</summary>
public enum ArenaWinner
{
    /// <summary>The first of the two.</summary>
    First,

    /// <summary>The second.</summary>
    Second,

    /// <summary>Neither.</summary>
    Draw,
}

/// <summary>An answer of a model to a question.</summary>
/// <param name="Model">The model's name.</param>
/// <param name="Question">The question.</param>
/// <param name="Answer">Its answer.</param>
public sealed record ArenaAnswer(string Model, string Question, string Answer);

/// <summary>A game of two answers to one question.</summary>
/// <param name="Question">The question.</param>
/// <param name="First">Name of the one model.</param>
/// <param name="Second">Name of the other.</param>
/// <param name="Winner">Who won.</param>
public sealed record ArenaGame(string Question, string First, string Second, ArenaWinner Winner);

/// <summary>Decides which of two answers is better. It is not told whose they are.</summary>
/// <param name="question">The question.</param>
/// <param name="first">The answer that is shown first.</param>
/// <param name="second">The other one.</param>
/// <param name="cancellationToken">Cancels the decision.</param>
public delegate Task<ArenaWinner> ArenaReferee(string question, string first, string second, CancellationToken cancellationToken);

/// <summary>
/// Compares models by their answers to the same questions, two at a time. A judge sees each pair twice, in both orders, since judges favour a place: only a verdict that stays when the answers
/// change places is a win. Ratings follow by <see cref="BradleyTerry"/>.
/// </summary>
public static class Arena
{
    private const string Format = """{"type":"object","properties":{"winner":{"type":"string","enum":["A","B","draw"]}},"required":["winner"],"additionalProperties":false}""";

    /// <summary>A referee that asks a chat client, greedily and with a schema for the verdict.</summary>
    /// <param name="judge">The client.</param>
    /// <exception cref="FormatException">Deciding: the client answers in another form. A Gemma client does not.</exception>
    public static ArenaReferee JudgedBy(IChatClient judge)
    {
        ArgumentNullException.ThrowIfNull(judge);
        ChatOptions options = new() { Temperature = 0, ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse(Format), "verdict"), MaxOutputTokens = 64 };
        return async (question, first, second, cancellationToken) =>
        {
            string prompt = $"Which answer to the question is better: correct, complete, clear? Length alone is no merit.\n\nQuestion:\n{question}\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}\n\nAnswer with \"A\", \"B\" or \"draw\" as the winner.";
            ChatResponse response = await judge.GetResponseAsync(prompt, options, cancellationToken).ConfigureAwait(false);
            return Read(response.Text);
        };
    }

    /// <summary>Has every two models meet in every question that both answered.</summary>
    /// <param name="answers">The answers, one for each model and question.</param>
    /// <param name="referee">Who decides.</param>
    /// <param name="swapsPlaces">Whether each pair is decided in both orders; a person who sees them in a drawn order need not.</param>
    /// <param name="played">Games that were played before; they are not decided again.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <exception cref="ArgumentException">A model answers a question twice.</exception>
    public static async IAsyncEnumerable<ArenaGame> PlayAsync(
        IEnumerable<ArenaAnswer> answers, ArenaReferee referee, bool swapsPlaces = true, IEnumerable<ArenaGame>? played = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(answers);
        ArgumentNullException.ThrowIfNull(referee);
        HashSet<(string, string, string)> done = [.. (played ?? []).Select(game => Key(game.Question, game.First, game.Second))];
        foreach (IGrouping<string, ArenaAnswer> question in answers.GroupBy(answer => answer.Question, StringComparer.Ordinal))
        {
            ArenaAnswer[] given = [.. question];
            if (given.Select(answer => answer.Model).Distinct(StringComparer.Ordinal).Count() < given.Length)
            {
                throw new ArgumentException($"A model answers the question '{question.Key}' twice.", nameof(answers));
            }

            for (int i = 0; i < given.Length; i++)
            {
                for (int j = i + 1; j < given.Length; j++)
                {
                    if (!done.Contains(Key(question.Key, given[i].Model, given[j].Model)))
                    {
                        ArenaWinner winner = await DecideAsync(question.Key, given[i].Answer, given[j].Answer, referee, swapsPlaces, cancellationToken).ConfigureAwait(false);
                        yield return new ArenaGame(question.Key, given[i].Model, given[j].Model, winner);
                    }
                }
            }
        }
    }

    /// <summary>The games as results for <see cref="BradleyTerry"/>: a draw is half a win for each.</summary>
    public static IReadOnlyList<PairResult> Results(IEnumerable<ArenaGame> games)
    {
        ArgumentNullException.ThrowIfNull(games);
        return [.. games.GroupBy(game => (game.First, game.Second)).Select(pair => new PairResult(pair.Key.First, pair.Key.Second, pair.Sum(game => Points(game.Winner, ArenaWinner.First)), pair.Sum(game => Points(game.Winner, ArenaWinner.Second))))];
    }

    private static async Task<ArenaWinner> DecideAsync(string question, string first, string second, ArenaReferee referee, bool swapsPlaces, CancellationToken cancellationToken)
    {
        ArenaWinner winner = await referee(question, first, second, cancellationToken).ConfigureAwait(false);
        return swapsPlaces && Swapped(await referee(question, second, first, cancellationToken).ConfigureAwait(false)) != winner ? ArenaWinner.Draw : winner;
    }

    private static ArenaWinner Swapped(ArenaWinner winner) => winner switch { ArenaWinner.First => ArenaWinner.Second, ArenaWinner.Second => ArenaWinner.First, _ => ArenaWinner.Draw };

    private static double Points(ArenaWinner winner, ArenaWinner player) => winner == player ? 1 : winner == ArenaWinner.Draw ? 0.5 : 0;

    private static (string, string, string) Key(string question, string first, string second) =>
        string.CompareOrdinal(first, second) < 0 ? (question, first, second) : (question, second, first);

    private static ArenaWinner Read(string text)
    {
        try
        {
            return JsonElement.Parse(text).GetProperty("winner").GetString() switch { "A" => ArenaWinner.First, "B" => ArenaWinner.Second, "draw" => ArenaWinner.Draw, _ => throw new FormatException($"The judge's verdict is neither A nor B nor draw: {text}") };
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new FormatException($"The judge answers in another form than it was asked for: {text}", e);
        }
    }
}
