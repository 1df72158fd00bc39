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
    [InlineData("0.5", "\\boxed{\\frac{1}{2}}", true)]
    [InlineData("0.333", "\\boxed{\\frac{1}{3}}", false)]
    [InlineData("\\frac{2}{4}", "\\boxed{\\frac{1}{2}}", true)]
    [InlineData("x = 5", "\\boxed{5}", true)]
    [InlineData("-\\frac{3}{2}", "\\boxed{\\frac{-3}{2}}", true)]
    [InlineData("3\\frac{1}{2}", "\\boxed{\\frac{7}{2}}", true)] // a mixed number, no product
    [InlineData("3\\frac{1}{2}", "\\boxed{\\frac{3}{2}}", false)]
    [InlineData("\\sqrt{8}", "\\boxed{2\\sqrt{2}}", true)]
    [InlineData("\\sqrt2", "\\boxed{1.41421356}", false)]
    [InlineData("\\frac{1}{\\sqrt{3}}", "\\boxed{\\frac{\\sqrt{3}}{3}}", true)]
    [InlineData("\\sqrt[3]{-8}", "\\boxed{-2}", true)]
    [InlineData("8^{1/3}", "\\boxed{2}", true)]
    [InlineData("\\sqrt{\\frac{9}{16}}", "\\boxed{0.75}", true)]
    [InlineData("(x+1)(x-1)", "\\boxed{x^2-1}", true)]
    [InlineData("x(x+1)", "\\boxed{x^2+1}", false)]
    [InlineData("\\frac{x^2-1}{x-1}", "\\boxed{x+1}", true)]
    [InlineData("a_1+b", "\\boxed{a_2+b}", false)]
    [InlineData("2\\pi r", "\\boxed{2 \\cdot \\pi\\cdot r}", true)]
    [InlineData("\\pi", "\\boxed{3.14159265358}", false)]
    [InlineData("\\log_2 8", "\\boxed{3}", true)]
    [InlineData("|-3|", "\\boxed{3}", true)]
    [InlineData("|x|", "\\boxed{x}", false)] // letters may be negative
    [InlineData("|xy|", "\\boxed{xy}", false)]
    [InlineData("|x| \\cdot |y|", "\\boxed{|xy|}", true)]
    [InlineData("\\sqrt{x^2}", "\\boxed{x}", false)]
    [InlineData("\\sqrt{x} \\cdot \\sqrt{y}", "\\boxed{\\sqrt{xy}}", true)] // where both have a value
    [InlineData("\\frac{1}{x+|x|}", "\\boxed{\\frac{1}{|x|+x}}", true)]
    [InlineData("100000000000000000001", "\\boxed{100000000000000000000}", false)] // not by floating point
    [InlineData("2^{64}", "\\boxed{18446744073709551616}", true)]
    [InlineData("9^{9^9}", "\\boxed{9^{9^8}}", false)]
    [InlineData("\\frac{1}{0}", "\\boxed{\\frac{2}{0}}", false)]
    [InlineData("(1, \\frac{1}{2})", "\\boxed{(1,0.5)}", true)]
    [InlineData("(0.5,1)", "\\boxed{(1,0.5)}", false)]
    [InlineData("[1,2)", "\\boxed{(1,2)}", false)]
    [InlineData("(-\\infty, 0.5]", "\\boxed{(-\\infty,\\frac12]}", true)]
    [InlineData("(3,4] \\cup [0,2)", "\\boxed{[0,2)\\cup(3,4]}", true)]
    [InlineData("\\{3, 1, 2\\}", "\\boxed{\\{1,2,3\\}}", true)]
    [InlineData("\\{1,1,2\\}", "\\boxed{\\{1,2,2\\}}", false)]
    [InlineData("2, 1", "\\boxed{1,2}", true)]
    [InlineData("2 and 1", "\\boxed{1, 2}", true)]
    [InlineData("1,2", "\\boxed{12}", false)]
    [InlineData("1 \\pm \\sqrt{2}", "\\boxed{1-\\sqrt2, 1+\\sqrt2}", true)]
    [InlineData("\\begin{pmatrix} 1 & 2 \\\\ 3 & \\frac{8}{2} \\end{pmatrix}", "\\boxed{\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}}", true)]
    [InlineData("\\begin{pmatrix} 1 & 2 \\end{pmatrix}", "\\boxed{\\begin{pmatrix}1\\\\2\\end{pmatrix}}", false)]
    [InlineData("12 \\text{ cm}^2", "\\boxed{12}", true)]
    [InlineData("the square", "\\boxed{square}", true)]
    [InlineData("90^\\circ", "\\boxed{90}", true)]
    [InlineData("50\\%", "\\boxed{50}", true)]
    [InlineData("\\text{even}", "\\boxed{\\text{neve}}", false)] // words are no products of letters
    [InlineData("Evelyn", "\\boxed{Evelny}", false)]
    [InlineData("10101_2", "\\boxed{10101_3}", false)]
    [InlineData("((((((((((((((((((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))))))))))))))))))", "\\boxed{1}", false)] // nested too deep to be read
    [InlineData("3", "\\boxed{4}", false)]
    public void ResultsInTeX(string written, string solution, bool same) => Assert.Equal(same, MathText.AreEqual(written, solution));

    /// <summary>Whatever is written, a comparison ends, and says the same in both directions.</summary>
    [Fact]
    public void AnyTextIsCompared()
    {
        string[] parts = ["\\frac", "{", "}", "(", ")", "[", "]", "\\{", "\\}", ",", "1", "2.", ".", "x", "\\sqrt", "^", "_", "-", "+", "|", "\\pm", "\\cup", "\\text{a}", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "&", "\\", "=", " ", "9", "/", "\\log", "\\pi", "é"];
        Random random = new(5);
        for (int i = 0; i < 20_000; i++)
        {
            string a = Text(), b = random.Next(2) == 0 ? Text() : a;
            Assert.Equal(MathText.AreEqual(a, b), MathText.AreEqual(b, a));
            Assert.True(MathText.AreEqual(a, a));
        }

        string Text() => string.Concat(Enumerable.Range(0, random.Next(1, 16)).Select(_ => parts[random.Next(parts.Length)]));
    }

    [Theory]
    [InlineData("It is so [2].", "x [2]", 1, 1, 1)]
    [InlineData("[1][2]", "x [2]", 0.5, 1, 1)]
    [InlineData("[1]", "x [2] [3]", 0, 0, 1)]
    [InlineData("[3]", "x [2] [3]", 1, 0.5, 1)]
    [InlineData("nothing", "x [2]", 0, 0, 0)]
    [InlineData("That is not there.", "It is not there.", 1, 1, 1)]
    [InlineData("It is [1].", "It is not there.", 0, 1, 0)]
    public void CitationsAreThoseOfTheRightAnswer(string written, string right, double precision, double recall, double refusal)
    {
        AnswerComparison comparison = new(EvaluationTask.Parse("""{"name":"x","kind":"generate","prompt":"a","answer":"c","metrics":["citation_precision","citation_recall","refusal"]}"""));
        Assert.Equal([precision, recall, refusal], comparison.Values(written, right).Select(value => value.Value));
    }

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
