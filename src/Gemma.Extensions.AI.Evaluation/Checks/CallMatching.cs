using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Checks;

/// <summary>Compares calls with those that are right.</summary>
internal static class CallMatching
{
    private static readonly JsonSerializerOptions s_json = new(AIJsonUtilities.DefaultOptions) { WriteIndented = false };

    /// <summary>Describes the first mismatch; null if the calls match the expected ones one to one.</summary>
    public static string? Problem(IReadOnlyList<ExpectedCall> expected, IReadOnlyList<FunctionCallContent> calls)
    {
        if (calls.Count != expected.Count)
        {
            return $"{calls.Count} calls ({NamesOf(calls)}), expected {expected.Count}";
        }

        // A call may be right for several of the expected ones, so that they are paired by augmenting paths.
        int[] owner = [.. Enumerable.Repeat(-1, calls.Count)];
        for (int i = 0; i < expected.Count; i++)
        {
            if (!Place(i, new bool[calls.Count]))
            {
                return $"no call is right for {expected[i].Name}({string.Join(", ", expected[i].Arguments.Select(argument => $"{argument.Key}: {JsonSerializer.Serialize(argument.Value)}"))}); called: {Describe(calls)}";
            }
        }

        return null;

        bool Place(int i, bool[] tried)
        {
            for (int j = 0; j < calls.Count; j++)
            {
                if (!tried[j] && IsRight(expected[i], calls[j]))
                {
                    tried[j] = true;
                    if (owner[j] < 0 || Place(owner[j], tried))
                    {
                        owner[j] = i;
                        return true;
                    }
                }
            }

            return false;
        }
    }

    public static string NamesOf(IEnumerable<FunctionCallContent> calls) => string.Join(", ", calls.Select(call => call.Name)) is { Length: > 0 } names ? names : "nothing";

    /// <summary>True where the functions are the right ones, whatever the arguments.</summary>
    public static bool NamesAreRight(IEnumerable<ExpectedCall> expected, IEnumerable<FunctionCallContent> calls) =>
        expected.Select(call => call.Name).Order(StringComparer.Ordinal).SequenceEqual(calls.Select(call => call.Name).Order(StringComparer.Ordinal));

    public static string Describe(IEnumerable<FunctionCallContent> calls) => string.Join("; ", calls.Select(Describe));

    private static string Describe(FunctionCallContent call) => $"{call.Name}({JsonSerializer.Serialize(call.Arguments, s_json)})";

    private static bool IsRight(ExpectedCall expected, FunctionCallContent call)
    {
        IDictionary<string, object?> given = call.Arguments ?? new Dictionary<string, object?>();
        return call.Name == expected.Name && given.Keys.All(expected.Arguments.ContainsKey)
            && expected.Arguments.All(argument => given.TryGetValue(argument.Key, out object? value)
                ? argument.Value.Any(right => JsonElement.DeepEquals(Json(right), Json(value)))
                : expected.Optional.Contains(argument.Key));
    }

    private static JsonElement Json(object? value) => value is JsonElement element ? element : JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions);
}
