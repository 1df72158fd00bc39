using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>
/// Ranks tools by the words that they share with a question (BM25 over name, description and parameters). A word of the name counts as two, since names are short. The question before
/// counts a little, for questions like "and in Rome?".
/// </summary>
internal sealed class ToolIndex
{
    // BM25's usual constants.
    private const double Saturation = 1.2, LengthWeight = 0.75;
    private const double WeightBefore = 0.3;
    private const int NameWeight = 2;

    /// <summary>Minimum score of a tool as a share of the best: others only distract small models.</summary>
    private const double Floor = 0.4;

    private readonly AIFunctionDeclaration[] _tools;
    private readonly Dictionary<string, int>[] _counts;
    private readonly int[] _lengths;
    private readonly Dictionary<string, int> _toolsWith = new(StringComparer.Ordinal);

    public ToolIndex(AIFunctionDeclaration[] tools)
    {
        _tools = tools;
        _counts = [.. tools.Select(WordsOf)];
        _lengths = [.. _counts.Select(counts => counts.Values.Sum())];
        foreach (string word in _counts.SelectMany(counts => counts.Keys))
        {
            _toolsWith[word] = _toolsWith.GetValueOrDefault(word) + 1;
        }
    }

    /// <summary>
    /// The tools that fit best, the best first; of equal ones those that were given first. Where no word is shared, the first that were given. A tool that shares nothing with the questions but some
    /// of the words that a better one shares is left out: of "price" and "daily price" one is meant, while a request for two things has words of both.
    /// </summary>
    public IEnumerable<AIFunctionDeclaration> Best(string question, string before, int count)
    {
        double[] scores = new double[_tools.Length];
        HashSet<string>[] shared = [.. _tools.Select(_ => new HashSet<string>(StringComparer.Ordinal))];
        Add(scores, shared, question, 1);
        Add(scores, shared, before, WeightBefore);
        double least = Floor * scores.DefaultIfEmpty().Max();
        int[] fitting = [.. Enumerable.Range(0, _tools.Length).Where(i => scores[i] >= least).OrderByDescending(i => scores[i])];
        return fitting.Where((i, place) => !fitting.Take(place).Any(better => shared[i].IsProperSubsetOf(shared[better]) && shared[i].Count > 0)).Take(count).Select(i => _tools[i]);
    }

    private void Add(double[] scores, HashSet<string>[] shared, string text, double weight)
    {
        double mean = Math.Max(1, _lengths.Average());
        foreach (string word in ToolWords.Of(text).Distinct(StringComparer.Ordinal).Where(_toolsWith.ContainsKey))
        {
            int with = _toolsWith[word];
            double rarity = Math.Log(1 + ((_tools.Length - with + 0.5) / (with + 0.5)));
            for (int i = 0; i < scores.Length; i++)
            {
                if (_counts[i].TryGetValue(word, out int times))
                {
                    scores[i] += weight * rarity * times * (Saturation + 1) / (times + (Saturation * (1 - LengthWeight + (LengthWeight * _lengths[i] / mean))));
                    shared[i].Add(word);
                }
            }
        }
    }

    private static Dictionary<string, int> WordsOf(AIFunctionDeclaration tool)
    {
        Dictionary<string, int> counts = new(StringComparer.Ordinal);
        Count(tool.Name, NameWeight);
        Count(tool.Description, 1);
        if (tool.JsonSchema.ValueKind == JsonValueKind.Object && tool.JsonSchema.TryGetProperty("properties", out JsonElement properties) && properties.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty property in properties.EnumerateObject())
            {
                Count(property.Name, 1);
                Count(property.Value.ValueKind == JsonValueKind.Object && property.Value.TryGetProperty("description", out JsonElement text) && text.ValueKind == JsonValueKind.String ? text.GetString()! : "", 1);
            }
        }

        return counts;

        void Count(string text, int weight)
        {
            foreach (string word in ToolWords.Of(text))
            {
                counts[word] = counts.GetValueOrDefault(word) + weight;
            }
        }
    }
}
