using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Prometheus's text format 0.0.4, read by the rules of its specification; whatever breaks one fails the test.</summary>
internal sealed partial class PrometheusText
{
    private static readonly string[] s_types = ["counter", "gauge", "histogram", "summary", "untyped"];

    private readonly Dictionary<string, string> _types = [];
    private readonly List<Sample> _samples = [];

    public IReadOnlyList<Sample> Samples => _samples;

    public static PrometheusText Parse(string text)
    {
        PrometheusText found = new();
        Assert.EndsWith("\n", text, StringComparison.Ordinal);
        HashSet<string> helped = [], closed = [], series = [];
        string current = "";
        foreach (string line in text[..^1].Split('\n'))
        {
            if (line.Length == 0 || (line[0] == '#' && !line.StartsWith("# HELP ", StringComparison.Ordinal) && !line.StartsWith("# TYPE ", StringComparison.Ordinal)))
            {
                continue; // nothing, or a comment
            }

            string family;
            if (line[0] == '#')
            {
                string[] parts = line.Split(' ', 4);
                family = parts[2];
                Assert.Matches(MetricName(), family);
                if (parts[1] == "HELP")
                {
                    Assert.True(helped.Add(family), $"{family} is described twice");
                    Unescape(parts.ElementAtOrDefault(3) ?? "", quotes: false);
                }
                else
                {
                    Assert.Contains(parts[3], s_types);
                    Assert.DoesNotContain(found._samples, sample => sample.Name == family); // before its first sample
                    Assert.True(found._types.TryAdd(family, parts[3]), $"{family} has two types");
                }
            }
            else
            {
                Sample sample = Read(line);
                Assert.True(series.Add($"{sample.Name} {string.Join(',', sample.Labels.OrderBy(label => label.Key, StringComparer.Ordinal))}"), $"The series is there twice: {line}");
                family = found.FamilyOf(sample.Name);
                found._samples.Add(sample);
            }

            if (family != current)
            {
                Assert.True(closed.Add(family), $"The lines of {family} are not together");
                current = family;
            }
        }

        found.CheckHistograms();
        foreach (Sample sample in found._samples.Where(sample => found._types.GetValueOrDefault(found.FamilyOf(sample.Name)) is "counter" or "histogram" && !sample.Name.EndsWith("_sum", StringComparison.Ordinal)))
        {
            Assert.True(sample.Value >= 0, $"{sample.Name} counts and is {sample.Value}");
        }

        return found;
    }

    public string? TypeOf(string family) => _types.GetValueOrDefault(family);

    /// <summary>The sum of a metric's series that have these labels.</summary>
    public double Sum(string name, params (string Name, string Value)[] labels)
    {
        Sample[] matching = [.. _samples.Where(sample => sample.Name == name && labels.All(label => sample.Labels.GetValueOrDefault(label.Name) == label.Value))];
        Assert.True(matching.Length > 0, $"There is no {name} with {string.Join(", ", labels)} among {string.Join(", ", _samples.Select(sample => sample.Name).Distinct())}");
        return matching.Sum(sample => sample.Value);
    }

    /// <summary>The family of a sample: of a histogram, samples have endings of their own.</summary>
    private string FamilyOf(string name)
    {
        foreach (string ending in (string[])["_bucket", "_sum", "_count"])
        {
            if (name.EndsWith(ending, StringComparison.Ordinal) && _types.GetValueOrDefault(name[..^ending.Length]) is "histogram" or "summary")
            {
                return name[..^ending.Length];
            }
        }

        return name;
    }

    private void CheckHistograms()
    {
        foreach (string family in _types.Where(type => type.Value == "histogram").Select(type => type.Key))
        {
            ILookup<string, Sample> buckets = _samples.Where(sample => sample.Name == $"{family}_bucket").ToLookup(Labels), counts = _samples.Where(sample => sample.Name == $"{family}_count").ToLookup(Labels),
                sums = _samples.Where(sample => sample.Name == $"{family}_sum").ToLookup(Labels);
            Assert.Equal(counts.Select(count => count.Key).Order(), buckets.Select(bucket => bucket.Key).Order());
            Assert.Equal(counts.Select(count => count.Key).Order(), sums.Select(sum => sum.Key).Order());
            foreach (IGrouping<string, Sample> one in buckets)
            {
                (double Limit, double Count)[] steps = [.. one.Select(bucket => (Number(bucket.Labels["le"]), bucket.Value))];
                Assert.Equal(steps, steps.OrderBy(step => step.Limit).ThenBy(step => step.Count)); // cumulative
                Assert.Equal(steps.Select(step => step.Limit).Distinct().Count(), steps.Length);
                Assert.Equal((double.PositiveInfinity, counts[one.Key].Single().Value), steps[^1]);
            }
        }

        static string Labels(Sample sample) => string.Join(',', sample.Labels.Where(label => label.Key != "le").OrderBy(label => label.Key, StringComparer.Ordinal));
    }

    private static Sample Read(string line)
    {
        Match match = SampleLine().Match(line);
        Assert.True(match.Success, $"No sample: {line}");
        Dictionary<string, string> labels = [];
        string rest = match.Groups["labels"].Value;
        while (rest.Length > 0)
        {
            Match label = Label().Match(rest);
            Assert.True(label.Success, $"No label: {rest} in {line}");
            Assert.True(labels.TryAdd(label.Groups["name"].Value, Unescape(label.Groups["value"].Value, quotes: true)), $"A label is there twice: {line}");
            rest = rest[label.Length..];
        }

        return new(match.Groups["name"].Value, labels, Number(match.Groups["value"].Value));
    }

    private static string Unescape(string text, bool quotes)
    {
        StringBuilder plain = new();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] != '\\')
            {
                plain.Append(text[i]);
                continue;
            }

            i++;
            Assert.True(i < text.Length && (text[i] is '\\' or 'n' || (quotes && text[i] == '"')), $"No escape: {text}");
            plain.Append(text[i] == 'n' ? '\n' : text[i]);
        }

        return plain.ToString();
    }

    private static double Number(string text) => text switch
    {
        "+Inf" => double.PositiveInfinity,
        "-Inf" => double.NegativeInfinity,
        "NaN" => double.NaN,
        _ => double.Parse(text, NumberStyles.Float, CultureInfo.InvariantCulture),
    };

    [GeneratedRegex("^[a-zA-Z_:][a-zA-Z0-9_:]*$")]
    private static partial Regex MetricName();

    [GeneratedRegex("""^(?<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?<labels>.*)\})? (?<value>[^ ]+)( -?[0-9]+)?$""")]
    private static partial Regex SampleLine();

    [GeneratedRegex("""^(?<name>[a-zA-Z_][a-zA-Z0-9_]*)="(?<value>([^"\\]|\\.)*)"(,|$)""")]
    private static partial Regex Label();

    /// <param name="Name">Name of the metric with its ending.</param>
    /// <param name="Labels">Labels by name.</param>
    /// <param name="Value">The number.</param>
    public sealed record Sample(string Name, IReadOnlyDictionary<string, string> Labels, double Value);
}
