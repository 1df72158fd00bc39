using System.Globalization;
using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Nano.Recipe;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Xunit;
using static Gemma.Extensions.AI.Tests.Training.NanoData;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>The steps of gemma2-nano's recipe besides its data: growing a model, and measuring one.</summary>
public sealed class NanoRecipeTests
{
    private static GemmaConfig Small => Commands.Config(512) with { LayerCount = 4, HiddenSize = 32, FeedForwardSize = 48, HeadCount = 2, KvHeadCount = 1, HeadDim = 16 };

    /// <summary>A model that has grown says what it said before, and all that was added can learn.</summary>
    [Theory]
    [InlineData(6, 48, 2, 1)]
    [InlineData(4, 80, 2, 1)]
    [InlineData(8, 96, 2, 1)]
    [InlineData(4, 48, 3, 1)]
    [InlineData(4, 48, 2, 2)]
    [InlineData(4, 48, 6, 2)]
    [InlineData(6, 80, 8, 4)]
    public void AGrownModelComputesTheSame(int layers, int wide, int heads, int keyHeads)
    {
        (_, TrainingModel large, FloatBuffer gradient) = Grow(Small, Small with { LayerCount = layers, FeedForwardSize = wide, HeadCount = heads, KvHeadCount = keyHeads });
        foreach (Parameter parameter in large.Parameters.Where(p => p.Name.Contains("post_", StringComparison.Ordinal) || p.Name.Contains("ffn_down", StringComparison.Ordinal)))
        {
            // Within an added layer, the norm that opens it learns first.
            int layer = int.Parse(parameter.Name.Split('.')[1], CultureInfo.InvariantCulture);
            bool closed = parameter.Name.Contains("ffn_down", StringComparison.Ordinal) && layer >= Small.LayerCount - 2 && layer < layers - 2;
            Assert.True(closed != large.Slice(gradient, parameter).ToArray().Any(g => g != 0), parameter.Name);
        }
    }

    /// <summary>The three queries of each key head of gemma2-nano before are shared out among two copies of it, with a new one beside the third.</summary>
    [Fact]
    public void QueriesAreSharedOutAmongCopiesOfTheirKeyHead()
    {
        (TrainingModel small, TrainingModel large, FloatBuffer gradient) = Grow(Small with { HeadCount = 6, KvHeadCount = 2 }, Small with { HeadCount = 8, KvHeadCount = 4 });
        int head = small.Config.HeadDim * small.Config.HiddenSize;
        Span<float> old = small.Slice(small.Weights, small["blk.1.attn_q.weight"]), queries = large.Slice(large.Weights, large["blk.1.attn_q.weight"]);
        foreach ((int from, int to) in new[] { (0, 0), (1, 1), (2, 2), (3, 4), (4, 5), (5, 6) })
        {
            Assert.True(old.Slice(from * head, head).SequenceEqual(queries.Slice(to * head, head)));
        }

        Span<float> output = large.Slice(gradient, large["blk.1.attn_output.weight"]);
        Assert.Contains(output[(3 * large.Config.HeadDim)..(4 * large.Config.HeadDim)].ToArray(), g => g != 0); // the new head learns at once
    }

    [Fact]
    public void ModelsOfOtherWidthsDoNotGrow()
    {
        TrainingModel small = new(Small);
        foreach (GemmaConfig other in new[] { Small with { HiddenSize = 64 }, Small with { LayerCount = 5 }, Small with { LayerCount = 2 }, Small with { FeedForwardSize = 32 }, Small with { VocabularySize = 600 }, Small with { HeadDim = 32 } })
        {
            Assert.Contains("cannot grow", Assert.Throws<ArgumentException>(() => GrownModel.Fill(small, new TrainingModel(other))).Message, StringComparison.Ordinal);
        }
    }

    /// <summary>A model and what it grows to, which says the same, with the gradient of the larger one.</summary>
    private static (TrainingModel Small, TrainingModel Large, FloatBuffer Gradient) Grow(GemmaConfig from, GemmaConfig to)
    {
        TrainingModel small = new(from), large = new(to);
        small.Initialize(1);
        large.Initialize(2);
        GrownModel.Fill(small, large);
        PackedBatch batch = new([new TrainingDocument([.. Enumerable.Range(0, 60).Select(i => i * 37 % 512)])]);
        float[] before = new GemmaBackprop(small, 64, 64).Logits(batch), after = new GemmaBackprop(large, 64, 64).Logits(batch);
        Assert.True(before.Max() - before.Min() > 0.5f);
        Assert.Equal(before.Length, after.Length);
        for (int i = 0; i < before.Length; i++)
        {
            Assert.Equal(before[i], after[i], 1e-4f);
        }

        FloatBuffer gradient = new(large.Weights.Length);
        new GemmaBackprop(large, 64, 64).Accumulate(batch, LossOptions.Label, 1, gradient);
        return (small, large, gradient);
    }

    /// <summary>The mean of two models lies halfway at each weight; of models of other shapes there is none.</summary>
    [Fact]
    public void TheMeanOfTwoModelsLiesBetweenThem()
    {
        TrainingModel first = new(Small), second = new(Small), mean = new(Small);
        first.Initialize(1);
        mean.Initialize(1);
        second.Initialize(2);
        MeanModel.Move(mean, second);
        int moved = 0;
        foreach (Parameter parameter in first.Parameters)
        {
            float[] a = first.Slice(first.Weights, parameter).ToArray(), b = second.Slice(second.Weights, parameter).ToArray(), m = mean.Slice(mean.Weights, parameter).ToArray();
            for (int i = 0; i < a.Length; i++)
            {
                Assert.Equal((a[i] + b[i]) / 2, m[i], 1e-6f);
                moved += a[i] != m[i] ? 1 : 0;
            }
        }

        Assert.True(moved > 1000);
        TrainingModel quarter = new(Small);
        quarter.Initialize(1);
        MeanModel.Move(quarter, second, 0.75);
        Assert.Equal(0.75f * first.Weights.Span[5] + 0.25f * second.Weights.Span[5], quarter.Weights.Span[5], 1e-6f);
        Assert.Contains("expected a number between 0 and 1", Assert.Throws<ArgumentException>(() => MeanModel.Move(first, second, 1)).Message, StringComparison.Ordinal);
        Assert.Contains("has no mean with", Assert.Throws<ArgumentException>(() => MeanModel.Move(first, new TrainingModel(Small with { FeedForwardSize = 80 }))).Message, StringComparison.Ordinal);
    }

    /// <summary>The comparison with a teacher and without, in small: both students see the same tokens, the report says whose numbers they are, and what is there is not run again.</summary>
    [Fact]
    public async Task DistillationIsComparedAtEqualTokens()
    {
        using TempDirectory directory = new();
        byte[] vocabulary = File.ReadAllBytes(Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.Nano.Recipe", "nano.model"));
        DistillationExperiment experiment = new(Vocabulary, vocabulary, directory.Path, new("nano", Cases: 24, Steps: 3, Seeds: 2, new LossOptions(0.9f, 1), Top: 8, Threads: 1, HeldOutCases: 6));
        List<string> said = [];
        (string report, string curve) = await experiment.RunAsync(said.Add, TestContext.Current.CancellationToken);
        using GemmaModel teacher = GemmaModel.Load("nano");
        Assert.Contains($"Teacher: nano, {teacher.Config.ParameterCount:N0} parameters", report, StringComparison.Ordinal);
        Assert.Contains("distilled, seed 2", curve, StringComparison.Ordinal);
        string[][] logs = [.. new[] { "scratch-1", "distilled-1", "scratch-2", "distilled-2" }.Select(run => File.ReadAllLines(directory.File(Path.Combine(run, "loss.csv"))))];
        Assert.All(logs, log => Assert.Equal(logs[0][0], log[0]));
        foreach (string[][] pair in logs.Chunk(2))
        {
            Assert.Equal(pair[0].Select(Tokens), pair[1].Select(Tokens));
            Assert.NotEqual(pair[0][^1], pair[1][^1]);
        }

        Assert.NotEqual(logs[0][^1], logs[2][^1]);
        Assert.Equal(report, (await experiment.RunAsync(_ => { }, TestContext.Current.CancellationToken)).Report);
        Assert.Equal(logs[3], File.ReadAllLines(directory.File(Path.Combine("distilled-2", "loss.csv"))));

        static string Tokens(string line) => line.Split(',')[1];
    }

    /// <summary>What answers as the cases say reaches 100% of every figure, in both kinds of phrasing; what answers with something else reaches nothing.</summary>
    [Fact]
    public async Task TheEvaluationAcceptsTheRightAnswersAndNoOthers()
    {
        const int Cases = 25;
        Skill[] skills = Enum.GetValues<Skill>();
        Dictionary<string, ChatMessage> answers = new(StringComparer.Ordinal);
        foreach (Skill skill in skills)
        {
            foreach (Split phrasing in Enum.GetValues<Split>())
            {
                for (int i = 0; i < Cases; i++)
                {
                    NanoCase drawn = NanoCorpus.Draw(NanoEvaluation.Seed, i, Split.HeldOut, skill, phrasing: phrasing);
                    for (int m = 0; m < drawn.Messages.Count; m++)
                    {
                        if (drawn.Messages[m].Role == ChatRole.Assistant)
                        {
                            answers[Key(drawn.Messages.Take(m), drawn.Options)] = drawn.Messages[m];
                        }
                    }
                }
            }
        }

        IReadOnlyList<Outcome> right = await new NanoEvaluation(new Scripted(answers)).Run(Cases, skills, TestContext.Current.CancellationToken);
        Assert.All(right, outcome => Assert.True(outcome.Right, $"{outcome.Figure}\n{outcome.Asked}\n{outcome.Answer}"));
        string table = Figures.Table(right);
        Assert.All(Figures.Targets.Keys.Where(figure => !figure.StartsWith("documents", StringComparison.Ordinal)), figure => Assert.Contains($"| {figure} | {Cases} | {Cases} | 100.0 % |", table.Replace("100.0%", "100.0 %", StringComparison.Ordinal), StringComparison.Ordinal));

        using StringWriter failures = new();
        IReadOnlyList<Outcome> wrong = await new NanoEvaluation(new Scripted([])).Run(Cases, skills, TestContext.Current.CancellationToken);
        Assert.All(wrong.Where(outcome => !outcome.Figure.Contains("ends", StringComparison.Ordinal)), outcome => Assert.False(outcome.Right, $"{outcome.Figure}\n{outcome.Asked}\n{outcome.Answer}"));
        Figures.Table(wrong, failures);
        Assert.Contains("(phrasing held out)", failures.ToString(), StringComparison.Ordinal);
    }

    /// <summary>
    /// An answer from documents is right with the value and one citation, of the document that says it; where none does, if nothing was found. Whether the value alone is right, and whether the
    /// page was read, is told beside it.
    /// </summary>
    [Theory]
    [InlineData("24 months [2]", "page3", "24 months", true, true)]
    [InlineData("24 months [2]", "page4", "24 months", false, true)]
    [InlineData("24 [2]", "page3", "24 months", false, false)]
    [InlineData("24 months [2]", "page3 page3", "24 months", false, true)]
    [InlineData("24 months", "", "24 months", false, true)]
    [InlineData("24 months [2]", "page3", null, false, null)]
    [InlineData(NanoCorpus.SourceRefusal, "", "24 months", false, false)]
    [InlineData(NanoCorpus.SourceRefusal, "", null, true, null)]
    public void AnswersFromDocumentsAreJudgedByValueAndSource(string said, string cited, string? expected, bool right, bool? value)
    {
        Citation[] citations = [.. Lexicon.Words(cited).Select((document, i) => new Citation(i + 2, new DocumentChunk { DocumentId = document }))];
        RetrievedPassage[] read = [.. citations.Select(citation => new RetrievedPassage(citation.Chunk, 1, 1, null))];
        Outcome[] outcomes = DocumentEvaluation.Judge(new DocumentAnswer(said, !said.StartsWith(NanoCorpus.SourceRefusal, StringComparison.Ordinal), citations, read, null), ("How long is the warranty?", expected, 3), Split.HeldOut);
        Assert.Equal((right, expected is null ? "documents: absent answers refused" : "documents: answer and source right"), (outcomes[0].Right, outcomes[0].Figure));
        Assert.Contains(outcomes[0].Figure, Figures.Targets.Keys);
        Assert.Equal(value is null ? [] : [value.Value, cited.Contains("page3", StringComparison.Ordinal)], outcomes.Skip(1).Select(outcome => outcome.Right));
    }

    private static string Key(IEnumerable<ChatMessage> messages, ChatOptions? options) =>
        string.Join(',', ChatTemplate.Render(TurnFormat.Gemma(Vocabulary), messages, options).Tokens) + options?.ResponseFormat?.GetType().Name;

    /// <summary>Answers what it was given for a prompt.</summary>
    private sealed class Scripted(Dictionary<string, ChatMessage> answers) : IChatClient
    {
        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new ChatResponse(answers.GetValueOrDefault(Key(messages, options)) ?? new ChatMessage(ChatRole.Assistant, "something else")) { FinishReason = ChatFinishReason.Stop });

        public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            foreach (ChatResponseUpdate update in (await GetResponseAsync(messages, options, cancellationToken)).ToChatResponseUpdates())
            {
                yield return update;
            }
        }

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
