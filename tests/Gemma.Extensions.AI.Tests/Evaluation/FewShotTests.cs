using System.Globalization;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Evaluation.Runs;
using Gemma.Extensions.AI.Evaluation.Tasks;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>Examples are drawn as lm-evaluation-harness draws them, by Python's random.Random(1234).sample: the places here are what Python 3.11 printed.</summary>
public class FewShotTests
{
    private const int Pool = 30;
    private static readonly int[][] s_drawn = [[24, 14, 3], [0, 2, 29], [25, 18, 1]];

    [Fact]
    public void BitsAreThoseOfPython()
    {
        MersenneTwister twister = new(1234);
        Assert.Equal([4150886329, 3342196574, 1892932127], Enumerable.Range(0, 3).Select(_ => twister.Next()));
        MersenneTwister other = new(5489);
        uint[] bits = [.. Enumerable.Range(0, 1500).Select(_ => other.Next())];
        Assert.Equal([2520172305, 3103970926, 3728623938], (uint[])[bits[623], bits[624], bits[1499]]);
    }

    [Fact]
    public void SamplesAreThoseOfPythonOnBothSidesOfTheBorder()
    {
        MersenneTwister many = new(1234), few = new(1234), one = new(1234), zero = new(0);
        Assert.Equal([24, 14, 3], many.Sample(30, 3));
        Assert.Equal([0, 2, 29], many.Sample(30, 3));
        Assert.Equal([3, 0, 4], few.Sample(6, 3));
        Assert.Equal([0, 4, 5], few.Sample(6, 3));
        Assert.Equal([902, 239, 15, 185, 71, 171, 201, 726, 484, 35, 63, 32, 708, 991, 949, 304, 186, 374, 234, 29, 1030, 996, 511, 132, 1108], one.Sample(1119, 25));
        Assert.Equal([12, 13], zero.Sample(22, 2));
        Assert.Equal([1, 8], zero.Sample(22, 2));
        Assert.Equal([65, 62, 51, 38, 61, 45], zero.Sample(85, 6));
        Assert.Equal([74, 27, 64, 17, 36, 12], zero.Sample(86, 6));
        Assert.Equal([79, 32, 68, 77, 18, 39], zero.Sample(84, 6));
    }

    /// <summary>Whole prompts of three rows, of the templates of the harness, with the examples that Python draws.</summary>
    [Theory]
    [InlineData("arc_challenge", """{"question":"q#?","choices":{"text":["x","a#"],"label":["A","B"]},"answerKey":"B"}""", "Question: q#?\nAnswer:", " a#")]
    [InlineData("hellaswag", """{"activity_label":"Act#","ctx_a":"First.","ctx_b":"then","endings":["a#","b","c","d"],"label":"0"}""", "Act#: First. Then", " a#")]
    [InlineData("piqa", """{"goal":"g#","sol1":"no","sol2":"a#","label":1}""", "Question: g#\nAnswer:", " a#")]
    [InlineData("winogrande", """{"sentence":"Take # as _ fits.","option1":"it","option2":"she","answer":"1"}""", "Take # as it", " fits.")]
    [InlineData("boolq", """{"passage":"P#.","question":"is it so","label":1}""", "P#.\nQuestion: is it so?\nAnswer:", " yes")]
    [InlineData("social_iqa", """{"context":"C#.","question":"Why?","answerA":"a#","answerB":"b","answerC":"c","label":"1"}""", "Q: C#. Why?\nA:", " a#")]
    [InlineData("gsm8k", """{"question":"q#","answer":"So.\n#### 7"}""", "Question: q#\nAnswer:", " So.\n#### 7")]
    [InlineData("triviaqa", """{"question":"q#","answer":{"aliases":["a#"]}}""", "Question: q#?\nAnswer:", " a#")]
    public void PromptsWithDrawnExamples(string name, string row, string prompt, string target)
    {
        EvaluationTask task = EvaluationTask.Find(name);
        Assert.Equal(FewShotSampling.Random, task.FewShotSampling);
        CompiledTask compiled = new(task);
        JsonObject[] pool = [.. Enumerable.Range(0, Pool).Select(i => Numbered(row, i))], rows = [.. Enumerable.Range(100, 3).Select(i => Numbered(row, i))];
        IReadOnlyList<IReadOnlyList<JsonObject>> examples = FewShotExamples.Of(task, rows, pool, 3, 1234);
        for (int i = 0; i < rows.Length; i++)
        {
            string expected = string.Concat(s_drawn[i].Select(place => Text(prompt, place) + Text(target, place) + "\n\n")) + Text(prompt, 100 + i);
            Assert.Equal(expected, compiled.Ask(rows[i], examples[i], task.TargetDelimiter).Contexts[0]);
        }

        static string Text(string text, int number) => text.Replace("####", "\u0001", StringComparison.Ordinal).Replace("#", number.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal).Replace("\u0001", "####", StringComparison.Ordinal);

        static JsonObject Numbered(string text, int number) => (JsonObject)JsonNode.Parse(Text(text, number))!;
    }

    [Fact]
    public void TheRowItselfIsLeftOutWhereExamplesAreOfItsSplit()
    {
        EvaluationTask task = EvaluationTask.Find("piqa") with { Split = "train", FewShotSplit = "train" };
        JsonObject[] pool = [.. Enumerable.Range(0, 6).Select(i => new JsonObject { ["n"] = i })];

        // One more is drawn: 3 0 4, then 0 4 5.
        IReadOnlyList<IReadOnlyList<JsonObject>> examples = FewShotExamples.Of(task, [pool[0], pool[1]], pool, 2, 1234);
        Assert.Equal([3, 4], examples[0].Select(example => example["n"]!.GetValue<int>()));
        Assert.Equal([0, 4], examples[1].Select(example => example["n"]!.GetValue<int>()));
    }

    [Fact]
    public void EachSubjectHasItsOwnDrawsAndTooFewAreRefused()
    {
        EvaluationTask task = EvaluationTask.Find("piqa") with { FewShotMatch = "s" };
        JsonObject[] pool = [.. Enumerable.Range(0, 12).Select(i => new JsonObject { ["n"] = i / 2, ["s"] = i % 2 })];
        JsonObject[] rows = [new() { ["s"] = 0 }, new() { ["s"] = 1 }, new() { ["s"] = 0 }];
        IReadOnlyList<IReadOnlyList<JsonObject>> examples = FewShotExamples.Of(task, rows, pool, 3, 1234);
        Assert.Equal(["3 0 4", "3 0 4", "0 4 5"], examples.Select(some => string.Join(' ', some.Select(example => example["n"]!.ToJsonString()))));
        Assert.Contains("6 examples for a row, but 7 are asked for ('s' must be 0)", Assert.Throws<FormatException>(() => FewShotExamples.Of(task, rows, pool, 7, 1234)).Message, StringComparison.Ordinal);
        Assert.Equal([0, 1], FewShotExamples.Of(task with { FewShotSampling = FewShotSampling.First }, rows, pool, 2, 1)[1].Select(example => example["n"]!.GetValue<int>()));
    }
}
