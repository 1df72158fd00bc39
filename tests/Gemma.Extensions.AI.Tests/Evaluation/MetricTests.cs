using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Evaluation.Metrics;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>Metrics against values worked out by hand.</summary>
public class MetricTests
{
    [Fact]
    public void TheLikeliestChoiceAsItIsByCharacterAndByByte()
    {
        string[] choices = ["ab", "abcd", "ééé"]; // 2, 4, 3 characters; 2, 4, 6 bytes
        double[] scores = [-4, -6, -5];           // a character: -2, -1.5, -1.67; a byte: -2, -1.5, -0.83
        Assert.Equal([1, 0, 0], Right(MetricNames.Accuracy));
        Assert.Equal([0, 1, 0], Right(MetricNames.AccuracyByCharacter));
        Assert.Equal([0, 0, 1], Right(MetricNames.AccuracyByByte));
        Assert.Equal(1, ChoiceMetrics.Value(MetricNames.Accuracy, [-1, -1], ["a", "b"], [0])); // the first of equals
        Assert.Equal(1, ChoiceMetrics.Value(MetricNames.Accuracy, [-2, -1], ["a", "b"], [0, 1]));

        double[] Right(string metric) => [.. Enumerable.Range(0, 3).Select(i => ChoiceMetrics.Value(metric, scores, choices, [i]))];
    }

    [Theory]
    [InlineData("3 + 4 = <<3+4=7>>7\n#### 7", 1, 1)]
    [InlineData("#### 1,007", 0, 0)]
    [InlineData("So he has 7 apples.", 0, 1)]
    [InlineData("He has $7.00 and then 7", 0, 1)]
    [InlineData("#### 7.\n\nNow 9", 1, 0)]
    [InlineData("nothing", 0, 0)]
    public void ResultsOfGsm8k(string written, double strict, double flexible)
    {
        Dictionary<string, double> values = new(new AnswerComparison(EvaluationTask.Find("gsm8k")).Values(written, "3 + 4\n#### 7"));
        Assert.Equal(strict, values["exact_match,strict-match"]);
        Assert.Equal(flexible, values["exact_match,flexible-extract"]);
    }

    [Fact]
    public void TextsAreComparedWithoutWhatTheTaskSays()
    {
        AnswerComparison open = new(EvaluationTask.Find("nq_open")), trivia = new(EvaluationTask.Find("triviaqa"));
        Assert.Equal(1, Single(open, " The Beatles", "beatles"));
        Assert.Equal(0, Single(trivia, " The Beatles", "beatles"));
        Assert.Equal(1, Single(trivia, " U.S.A!", new JsonArray("America", "usa")));

        static double Single(AnswerComparison comparison, string written, JsonNode right) => Assert.Single(comparison.Values(written, right)).Value;
    }

    [Theory]
    [InlineData("the cat sat", "the cat ran", 2.0 / 3)]
    [InlineData("a a b", "a b b", 2.0 / 3)]
    [InlineData("", "", 1)]
    [InlineData("x", "", 0)]
    public void F1OfWords(string written, string right, double value) => Assert.Equal(value, TokenF1.Value(written, right), 12);

    [Theory]
    [InlineData("The 3 Yards", "3 yards", 1, 1)]       // articles and case
    [InlineData("3.0", "3", 1, 1)]                     // numbers by value
    [InlineData("12 yards", "13 yards", 0, 0)]         // a number that is wrong
    [InlineData("John Smith", "Smith", 0, 0.67)]       // precision 1/2, recall 1
    [InlineData("well-known man", "well known", 0, 0.8)]
    public void Drop(string written, string right, double exact, double f1)
    {
        Assert.Equal(exact, DropMetrics.ExactMatch(written, [right]));
        Assert.Equal(f1, DropMetrics.F1(written, [right]));
    }

    [Fact]
    public void DropWithTwoSpansGivesHalfForOne() => Assert.Equal(0.5, DropMetrics.F1("Smith", ["Smith", "Jones"]));

    [Theory]
    [InlineData("so $\\boxed{\\dfrac{1}{2}}$", "\\boxed{\\frac12}", true)]
    [InlineData("$1,000$.", "\\boxed{1000}", true)]
    [InlineData("\\text{even}", "x \\boxed{even}", true)]
    [InlineData("\\boxed{1} or \\boxed{{2}}", "\\boxed{{2}}", true)]
    [InlineData("0.5", "\\boxed{\\frac{1}{2}}", false)] // no computer algebra
    [InlineData("3", "\\boxed{4}", false)]
    public void ResultsInTeX(string written, string solution, bool same) => Assert.Equal(same, MathText.AreEqual(written, solution));

    [Fact]
    public void StandardErrorsAreThoseOfTheMeanAndRepeatWithTheSeed()
    {
        double[] values = [.. Enumerable.Range(0, 200).Select(i => i % 4 == 0 ? 1.0 : 0.0)];
        double closed = Math.Sqrt(0.25 * 0.75 / values.Length);
        double drawn = Bootstrap.StandardError(values, items => items.Average(), 1000, seed: 7);
        Assert.InRange(drawn, closed * 0.93, closed * 1.07);
        Assert.Equal(drawn, Bootstrap.StandardError(values, items => items.Average(), 1000, seed: 7));
        Assert.Equal(0, Bootstrap.StandardError([1.0], items => items.Average(), 1000, seed: 7));
    }
}
