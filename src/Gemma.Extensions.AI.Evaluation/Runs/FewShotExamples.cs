using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>The examples in the prompts of a task's rows.</summary>
internal static class FewShotExamples
{
    /// <summary>
    /// The examples of each row. Drawn ones are drawn as lm-evaluation-harness does: one generator for all rows, in their order (for each subject, where examples must match), and one example more where
    /// they are of the split that is measured, so that the row itself can be left out.
    /// </summary>
    /// <param name="task">Says how examples are taken.</param>
    /// <param name="rows">The rows that are measured, from the first.</param>
    /// <param name="pool">The rows of the examples' split.</param>
    /// <param name="shots">Examples in each prompt.</param>
    /// <param name="seed">Seed of the draws.</param>
    /// <exception cref="FormatException">There are too few.</exception>
    public static IReadOnlyList<IReadOnlyList<JsonObject>> Of(EvaluationTask task, IReadOnlyList<JsonObject> rows, IReadOnlyList<JsonObject> pool, int shots, int seed)
    {
        if (shots == 0)
        {
            return [.. rows.Select(_ => (IReadOnlyList<JsonObject>)[])];
        }

        Dictionary<string, List<JsonObject>> matching = task.FewShotMatch is { } field
            ? pool.GroupBy(example => Key(example, field), StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.ToList(), StringComparer.Ordinal)
            : new Dictionary<string, List<JsonObject>>(StringComparer.Ordinal) { [""] = [.. pool] };
        Dictionary<string, MersenneTwister> generators = new(StringComparer.Ordinal);
        int drawn = task.FewShotSplit == task.Split ? shots + 1 : shots;
        return [.. rows.Select(row =>
        {
            string key = task.FewShotMatch is { } match ? Key(row, match) : "";
            List<JsonObject> candidates = matching.GetValueOrDefault(key) ?? [];
            IEnumerable<JsonObject> others = task.FewShotSampling == FewShotSampling.First ? candidates : Drawn(key, candidates);

            // Where the row itself stands in another split and is drawn, there is an example less, as in the harness.
            IReadOnlyList<JsonObject> examples = [.. others.Where(example => !JsonNode.DeepEquals(example, row)).Take(shots)];
            return examples.Count == shots || task.FewShotSampling == FewShotSampling.Random ? examples : throw TooFew(key, examples.Count, shots);
        })];

        IEnumerable<JsonObject> Drawn(string key, List<JsonObject> candidates)
        {
            if (candidates.Count < drawn)
            {
                throw TooFew(key, candidates.Count, drawn);
            }

            if (!generators.TryGetValue(key, out MersenneTwister? generator))
            {
                generators[key] = generator = new MersenneTwister(seed);
            }

            return generator.Sample(candidates.Count, drawn).Select(place => candidates[place]);
        }

        FormatException TooFew(string key, int found, int asked) =>
            new($"There are {found} examples for a row, but {asked} are asked for{(task.FewShotMatch is { } field ? $" ('{field}' must be {key})" : "")}.");
    }

    private static string Key(JsonObject row, string field) => row[field]?.ToJsonString() ?? "missing";
}
