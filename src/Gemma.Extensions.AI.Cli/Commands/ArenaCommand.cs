using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma arena</c>: whose answers are better, two at a time.</summary>
internal static class ArenaCommand
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web) { Converters = { new System.Text.Json.Serialization.JsonStringEnumConverter(JsonNamingPolicy.CamelCase) } };

    public static Command Create()
    {
        Option<string[]> answers = new("--answers") { Description = "JSON Lines with {\"model\":…,\"question\":…,\"answer\":…}. May be repeated.", HelpName = "file", Required = true };
        Option<string?> judge = new("--judge") { Description = "Model that decides, each pair in both orders: a GGUF file, a directory or 'nano'. Default: you do, at this terminal, without being told whose answers they are.", HelpName = "path" };
        Option<string?> games = new("--games") { Description = "File for the games (JSON Lines); those in it are not played again.", HelpName = "file" };
        Option<int> seed = new("--seed") { Description = "Draws the order in which you see two answers.", HelpName = "n", DefaultValueFactory = _ => 1 };
        Command command = new("arena", "Rate models by their answers, judged two at a time. The answers are to the same questions; the ratings are Bradley-Terry's, with 95% confidence intervals.\n\nExample:\n  gemma arena --answers bf16.jsonl --answers q4.jsonl --judge gemma-2-9b-it-Q4_K_M.gguf --games games.jsonl") { answers, judge, games, seed };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            ArenaAnswer[] given = [.. parsed.GetRequiredValue(answers).SelectMany(file => Read<ArenaAnswer>(file))];
            string? path = parsed.GetValue(games);
            List<ArenaGame> played = path is not null && File.Exists(path) ? [.. Read<ArenaGame>(path)] : [];
            using GemmaModel? model = parsed.GetValue(judge) is { } name ? host.Load(name, new GemmaOptions(), cancellationToken) : null;
            ArenaReferee referee = model is not null ? Arena.JudgedBy(model.AsIChatClient()) : new Person(host, parsed.GetRequiredValue(seed)).Decide;
            try
            {
                await foreach (ArenaGame game in Arena.PlayAsync(given, referee, swapsPlaces: model is not null, [.. played], cancellationToken))
                {
                    played.Add(game);
                    if (path is not null)
                    {
                        await File.AppendAllTextAsync(path, JsonSerializer.Serialize(game, s_json) + "\n", cancellationToken);
                    }
                }
            }
            catch (EndOfStreamException)
            {
                // The person had enough: what was decided counts.
            }

            Print(host, played);
        });
        return command;
    }

    private static void Print(CliInvocation host, List<ArenaGame> played)
    {
        IReadOnlyList<PlayerRating> ratings;
        try
        {
            ratings = BradleyTerry.Rate(Arena.Results(played));
        }
        catch (Exception e) when (e is InvalidOperationException or ArgumentException)
        {
            host.Output.WriteLine($"\nNo ratings yet after {played.Count} games: {e.Message}");
            return;
        }

        host.Output.WriteLine("| model | rating | 95% interval | games |\n|---|---|---|---|");
        foreach (PlayerRating rating in ratings)
        {
            host.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {rating.Player} | {rating.Rating:F0} | {rating.Low:F0} to {rating.High:F0} | {rating.Games} |"));
        }
    }

    private static IEnumerable<T> Read<T>(string file) => File.ReadLines(file).Where(line => !string.IsNullOrWhiteSpace(line)).Select((line, i) =>
    {
        try
        {
            return JsonSerializer.Deserialize<T>(line, s_json) ?? throw new FormatException($"{file}: entry {i + 1} is null.");
        }
        catch (JsonException e)
        {
            throw new FormatException($"{file}: entry {i + 1}: {e.Message}", e);
        }
    });

    /// <summary>Decides at the terminal.</summary>
    private sealed class Person(CliInvocation host, int seed)
    {
        private readonly Random _order = new(seed);
        private int _games;

        public Task<ArenaWinner> Decide(string question, string first, string second, CancellationToken cancellationToken)
        {
            bool turned = _order.Next(2) == 1;
            host.Output.WriteLine($"\n--- {++_games} ---\n{question}\n\n[A]\n{(turned ? second : first)}\n\n[B]\n{(turned ? first : second)}\n");
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                host.Output.Write("Better: a, b, d (draw), q (enough)? ");
                host.Output.Flush();
                switch (host.Input.ReadLine()?.Trim().ToLowerInvariant())
                {
                    case "a":
                        return Task.FromResult(turned ? ArenaWinner.Second : ArenaWinner.First);
                    case "b":
                        return Task.FromResult(turned ? ArenaWinner.First : ArenaWinner.Second);
                    case "d":
                        return Task.FromResult(ArenaWinner.Draw);
                    case "q" or null:
                        throw new EndOfStreamException("The person had enough.");
                }
            }
        }
    }
}
