using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary><c>POST /v1/moderations</c>: texts by the policies of the application's <see cref="ShieldGemma"/>. Categories are its policies' names.</summary>
internal static class ModerationEndpoint
{
    private const int MaxTexts = 256;

    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        ShieldGemma guard = http.RequestServices.GetService<ShieldGemma>() ?? throw new ServerErrorException(
            ErrorKind.NotFound, $"There is no guard behind '{http.Request.Path}'. Register one: services.AddSingleton(provider => new ShieldGemma(…)) over a ShieldGemma model.");
        ModerationRequest body = await RequestBody.ReadAsync(http, OpenAIJson.Wire.ModerationRequest, core.Options).ConfigureAwait(false);
        string[] texts = body.Input is { ValueKind: JsonValueKind.Array } list ? [.. list.EnumerateArray().Select(static (text, i) => ReadText(text, $"input[{i}]"))] : [ReadText(body.Input ?? default, "input")];
        if (texts.Length is 0 or > MaxTexts)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'input' has {texts.Length:N0} texts, expected 1 to {MaxTexts:N0}.", "input");
        }

        List<ModerationResult> results = [];
        foreach (string text in texts)
        {
            GuardVerdict verdict = await guard.CheckPromptAsync(text, http.RequestAborted).ConfigureAwait(false);
            results.Add(new ModerationResult
            {
                Flagged = verdict.IsBlocked,
                Categories = verdict.Scores.ToDictionary(score => score.Policy, score => score.IsViolation, StringComparer.Ordinal),
                CategoryScores = verdict.Scores.ToDictionary(score => score.Policy, score => score.Probability, StringComparer.Ordinal),
            });
        }

        ModerationList answer = new() { Id = $"modr-{Guid.NewGuid():N}", Model = guard.ModelId, Results = results };
        await ApiEndpoint.WriteJsonAsync(http, answer, OpenAIJson.Wire.ModerationList).ConfigureAwait(false);
    }

    private static string ReadText(JsonElement input, string place)
    {
        JsonElement text = input.ValueKind == JsonValueKind.Object && input.TryGetProperty("text", out JsonElement inner) ? inner : input;
        return text.ValueKind == JsonValueKind.String ? text.GetString()!
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'{place}' is {ContentParts.Describe(input)}, expected a text, or an object with one as 'text'. Images are not classified.", place);
    }
}

/// <summary>The body of <c>POST /v1/moderations</c>.</summary>
internal sealed class ModerationRequest
{
    /// <summary>Not read: the guard is the application's.</summary>
    public string? Model { get; init; }

    public JsonElement? Input { get; init; }
}

internal sealed class ModerationList
{
    public required string Id { get; init; }

    public required string Model { get; init; }

    public required IReadOnlyList<ModerationResult> Results { get; init; }
}

internal sealed class ModerationResult
{
    public required bool Flagged { get; init; }

    public required Dictionary<string, bool> Categories { get; init; }

    public required Dictionary<string, double> CategoryScores { get; init; }
}
