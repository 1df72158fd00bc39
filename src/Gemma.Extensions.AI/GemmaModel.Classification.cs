using System.Numerics.Tensors;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>A classifier's score for one label.</summary>
/// <param name="Label">Name of the label, from the checkpoint (<c>id2label</c>); <c>LABEL_0</c> where it names none.</param>
/// <param name="Score">The score as the model computes it: a logit, or the number itself for a regression (reward models).</param>
/// <param name="Probability">
/// The score as a probability, by the checkpoint's <c>problem_type</c> as transformers reads it: softmax over the labels, or the logistic function of each
/// score where labels exclude none or there is only one. Null for a regression.
/// </param>
public sealed record GemmaLabelScore(string Label, float Score, double? Probability);

/// <summary>A classifier's scores for a text.</summary>
/// <param name="Labels">One entry for each label, in the checkpoint's order.</param>
public sealed record GemmaClassification(IReadOnlyList<GemmaLabelScore> Labels)
{
    /// <summary>The label with the highest score.</summary>
    public GemmaLabelScore Best => Labels.MaxBy(label => label.Score)!;
}

public sealed partial class GemmaModel
{
    private readonly Classifier? _classifier;

    /// <summary>
    /// Scores a conversation with a classifier or reward model (a checkpoint of <c>Gemma2ForSequenceClassification</c>). The conversation is formatted as for a
    /// chat, but no turn of the model is begun: what is judged usually ends with the model's answer. The score is that of the last token.
    /// </summary>
    /// <param name="messages">The conversation.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <exception cref="NotSupportedException">The model is no classifier.</exception>
    /// <exception cref="ArgumentException">There is no such adapter.</exception>
    /// <exception cref="GemmaContextLengthException">The conversation is longer than the context.</exception>
    public async Task<GemmaClassification> ClassifyAsync(IEnumerable<ChatMessage> messages, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        return (await ClassifyAsync([messages], adapter, cancellationToken).ConfigureAwait(false))[0];
    }

    /// <inheritdoc cref="ClassifyAsync(IEnumerable{ChatMessage}, string, CancellationToken)" path="//exception | //remarks"/>
    /// <summary>Scores conversations, computed side by side, with a classifier or reward model.</summary>
    /// <param name="conversations">The conversations.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <returns>A classification for each conversation, in the order given.</returns>
    public Task<IReadOnlyList<GemmaClassification>> ClassifyAsync(IEnumerable<IEnumerable<ChatMessage>> conversations, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(conversations);
        return ClassifyAsync(conversations.Select(messages => ChatTemplate.Render(ChatFormat, messages, opensReply: false).Tokens), adapter, cancellationToken);
    }

    /// <inheritdoc cref="ClassifyAsync(IEnumerable{ChatMessage}, string, CancellationToken)" path="//returns | //exception | //remarks"/>
    /// <summary>Scores a text with a classifier or reward model, without a chat format: bos is added, and eos where the checkpoint's tokenizer does.</summary>
    /// <param name="text">The text. Nothing in it becomes a control token.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    public async Task<GemmaClassification> ClassifyAsync(string text, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(text);
        return (await ClassifyAsync([text], adapter, cancellationToken).ConfigureAwait(false))[0];
    }

    /// <inheritdoc cref="ClassifyAsync(string, string, CancellationToken)" path="//exception | //remarks"/>
    /// <summary>Scores texts, computed side by side, with a classifier or reward model, without a chat format.</summary>
    /// <param name="texts">The texts. Nothing in them becomes a control token.</param>
    /// <param name="adapter">Name of the adapter to compute with; null: the base model.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <returns>A classification for each text, in the order given.</returns>
    public Task<IReadOnlyList<GemmaClassification>> ClassifyAsync(IEnumerable<string> texts, string? adapter = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(texts);
        return ClassifyAsync(texts.Select(Tokens), adapter, cancellationToken);

        int[] Tokens(string text)
        {
            List<int> tokens = Tokenizer.BosId >= 0 ? [Tokenizer.BosId] : [];
            Tokenizer.Encode(text ?? throw new ArgumentException("A text to classify is null.", nameof(texts)), tokens, matchSpecial: false);
            if (File.AddsEndToken && Tokenizer.EosId >= 0)
            {
                tokens.Add(Tokenizer.EosId);
            }

            return tokens.Count > 0 ? [.. tokens] : throw new ArgumentException("A text to classify has no tokens: it is empty, and the vocabulary has no bos.", nameof(texts));
        }
    }

    private async Task<IReadOnlyList<GemmaClassification>> ClassifyAsync(IEnumerable<int[]> texts, string? adapter, CancellationToken cancellationToken)
    {
        Classifier classifier = _classifier ?? throw new NotSupportedException(
            $"'{ModelId}' is no classifier: its checkpoint is {(Config.HasLogits ? "of a model that writes text. Use a chat client, or ScoreAsync to compare continuations" : "of an embedding model. Use AsIEmbeddingGenerator")}. A classifier is a checkpoint of Gemma2ForSequenceClassification.");
        LoraWeights? weights = FindAdapter(adapter);
        int[][] tokens = [.. texts]; // all are encoded before any is computed
        cancellationToken.ThrowIfCancellationRequested();
        return await EngineCalls.RunAsync(tokens, async (text, token) =>
        {
            LabelReader reader = new(classifier, classifier.LastToken(text));
            await Engine.EvaluateAsync(text, reader, token, weights).ConfigureAwait(false);
            return classifier.Describe(reader.Scores);
        }, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>The head of a classifier: score = W · h in float32.</summary>
    private sealed class Classifier
    {
        private readonly ClassifierLabels _labels;
        private readonly float[][] _rows;

        public Classifier(ClassifierLabels labels, ModelFile file)
        {
            TensorView head = file.Tensors[GemmaTensors.Classifier];
            _labels = labels;
            _rows = new float[labels.Names.Count][];
            for (int i = 0; i < _rows.Length; i++)
            {
                head.DecodeRow(i, _rows[i] = new float[head.Columns]);
            }
        }

        /// <summary>Position whose hidden state counts: the last that is not padding, as in transformers.</summary>
        public int LastToken(ReadOnlySpan<int> tokens) => Math.Max(0, tokens.LastIndexOfAnyExcept(_labels.PadId));

        public float[] Score(ReadOnlySpan<float> hidden)
        {
            float[] scores = new float[_rows.Length];
            for (int i = 0; i < scores.Length; i++)
            {
                scores[i] = TensorPrimitives.Dot(_rows[i], hidden);
            }

            return scores;
        }

        public GemmaClassification Describe(float[] scores)
        {
            double total = TokenLogProbabilities.LogSumExp(scores);
            return new GemmaClassification([.. scores.Select((score, i) => new GemmaLabelScore(_labels.Names[i], score, _labels.Kind switch
            {
                ClassifierKind.SingleLabel => Math.Exp(score - total),
                ClassifierKind.MultiLabel => 1 / (1 + Math.Exp(-score)),
                _ => null,
            }))]);
        }
    }

    /// <summary>Scores the hidden state of one position.</summary>
    private sealed class LabelReader(Classifier classifier, int position) : RowReader
    {
        public float[] Scores { get; private set; } = [];

        public override int FirstPosition => position;

        public override bool WantsHidden => true;

        public override string Operation => "classify";

        public override void OnRow(int at, ReadOnlySpan<float> values)
        {
            if (at == position)
            {
                Scores = classifier.Score(values);
            }
        }
    }
}
