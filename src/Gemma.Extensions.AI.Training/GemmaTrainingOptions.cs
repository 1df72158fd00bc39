using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Gemma.Extensions.AI.Backends.Cpu;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Model, data and numbers of a training run. The numbers' defaults suit models of some million parameters. A resumed run gives the same losses if it is given the
/// same options; <see cref="Threads"/> and <see cref="CheckpointEvery"/> change nothing.
/// </summary>
public sealed record GemmaTrainingOptions
{
    private readonly LossOptions? _loss;

    /// <summary>Options without files, which are set before the run.</summary>
    public GemmaTrainingOptions() { }

    /// <summary>The numbers of a run whose model and documents are in memory.</summary>
    [SetsRequiredMembers]
    internal GemmaTrainingOptions(int steps) => (Model, Data, Output, Steps) = ("", [], "", steps);

    /// <summary>
    /// Where to start: a model of any format to go on from, or a directory with config.json and tokenizer alone (or, with a teacher, the config.json) for a new one. Under an adapter,
    /// the base, which is not changed.
    /// </summary>
    public required string Model { get; init; }

    /// <summary>Training files in UTF-8: <c>.jsonl</c> with one <c>{"messages":[…]}</c> a line, anything else is plain text.</summary>
    public required IReadOnlyList<string> Data { get; init; }

    /// <summary>
    /// Directory of the run: checkpoint.bin, loss.csv, loss.svg, a teacher's answers, and the result in model/ (Hugging Face) or adapter/ (PEFT). A run that was
    /// stopped continues there when the same is asked for again.
    /// </summary>
    public required string Output { get; init; }

    /// <summary>Files to measure on.</summary>
    public IReadOnlyList<string> Validation { get; init; } = [];

    /// <summary>The model to learn from, of any format and the same vocabulary; it runs as it is, quantised or not. Null: the labels teach alone.</summary>
    public string? Teacher { get; init; }

    /// <summary>Share of the teacher in the loss, 0 to 1; the rest is the label's.</summary>
    public float TeacherShare { get; init; } = 0.9f;

    /// <summary>Softens the teacher's distribution and the student's.</summary>
    public float Temperature { get; init; } = 1;

    /// <summary>Logits of the teacher kept for a token; 0: all.</summary>
    public int TeacherLogits { get; init; } = 64;

    /// <summary>Weight updates.</summary>
    public int Steps { get; init; } = 1000;

    /// <summary>Largest learning rate, reached after the warm-up.</summary>
    public float LearningRate { get; init; } = 1e-3f;

    /// <summary>Updates over which the learning rate rises; a cosine follows.</summary>
    public int WarmupSteps { get; init; } = 100;

    /// <summary>Largest norm of the gradient; 0: no clipping.</summary>
    public float ClipNorm { get; init; } = 1;

    /// <summary>Tokens of the longest document. Plain text is cut into pieces of it, longer conversations are left out.</summary>
    public int MaxLength { get; init; } = 256;

    /// <summary>Tokens of one micro-batch, which whole documents are packed into.</summary>
    public int MicroBatchTokens { get; init; } = 2048;

    /// <summary>Micro-batches whose gradients make one update. Each has a gradient of its own, summed in order, so results do not depend on the thread count.</summary>
    public int MicroBatches { get; init; } = 4;

    /// <summary>In conversations, train on the model's turns only.</summary>
    public bool ModelTurnsOnly { get; init; }

    /// <summary>Updates between checkpoints and between validations.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Of a new model's weights and of the order of the documents.</summary>
    public int Seed { get; init; } = 1;

    /// <summary>Threads that compute; they change nothing else. Null: the physical cores.</summary>
    public int? Threads { get; init; }

    /// <summary>Write the result as bfloat16 instead of float32.</summary>
    public bool BFloat16 { get; init; }

    /// <summary>Train a low-rank adapter of this rank instead of the weights; null: the weights.</summary>
    public int? LoraRank { get; init; }

    /// <summary>The adapter's update is alpha / rank times its factors; null: twice the rank.</summary>
    public float? LoraAlpha { get; init; }

    /// <summary>Projections that the adapter changes: some of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj.</summary>
    public IReadOnlyList<string> LoraTargets { get; init; } = LoraOptions.AllTargets;

    internal LoraOptions? Lora => LoraRank is { } rank ? new LoraOptions(rank, LoraAlpha ?? 2 * rank, LoraTargets) : null;

    /// <summary>Weights of teacher and labels in the loss; derived from the public options if not set.</summary>
    internal LossOptions Loss { get => _loss ?? (Teacher is null ? LossOptions.Label : new LossOptions(TeacherShare, Temperature)); init => _loss = value; }

    /// <summary>Where the cosine ends, as a share of <see cref="LearningRate"/>.</summary>
    internal float FinalRateShare { get; init; } = 0.05f;

    internal float WeightDecay { get; init; } = 0.05f;

    internal float Beta1 { get; init; } = 0.9f;

    internal float Beta2 { get; init; } = 0.98f;

    internal float Epsilon { get; init; } = 1e-8f;

    /// <summary>Decay of the running average of the weights.</summary>
    internal float AverageDecay { get; init; } = 0.995f;

    internal int ThreadCount => Threads ?? ProcessorTopology.PhysicalCores();

    /// <param name="nameOf">What the caller knows an option as.</param>
    /// <exception cref="ArgumentException">A number is out of range; the message names the option.</exception>
    internal void Validate(Func<string, string> nameOf)
    {
        foreach ((string name, int value, int least) in new[]
        {
            (nameof(Steps), Steps, 1), (nameof(MaxLength), MaxLength, 2), (nameof(MicroBatchTokens), MicroBatchTokens, 2), (nameof(MicroBatches), MicroBatches, 1),
            (nameof(CheckpointEvery), CheckpointEvery, 1), (nameof(WarmupSteps), WarmupSteps, 0), (nameof(TeacherLogits), TeacherLogits, 0), (nameof(Threads), Threads ?? 1, 1),
        })
        {
            Refuse(value < least, name, value, $"at least {least}");
        }

        Refuse(!(LearningRate >= 0 && float.IsFinite(LearningRate)), nameof(LearningRate), LearningRate, "a number that is not negative");
        Refuse(!(ClipNorm >= 0), nameof(ClipNorm), ClipNorm, "a number that is not negative");
        Refuse(!(TeacherShare is >= 0 and <= 1), nameof(TeacherShare), TeacherShare, "0 to 1");
        Refuse(!(Temperature > 0 && float.IsFinite(Temperature)), nameof(Temperature), Temperature, "more than 0");
        Lora?.Validate();

        void Refuse(bool wrong, string name, IFormattable value, string expected)
        {
            if (wrong)
            {
                throw new ArgumentException($"{nameOf(name)} is {value.ToString(null, CultureInfo.InvariantCulture)}, expected {expected}.");
            }
        }
    }

    /// <summary>Logits that the teacher's cache keeps for a token; 0 without a teacher.</summary>
    internal int KeptLogits(int vocabulary) => Teacher is null ? 0 : TeacherLogits == 0 ? vocabulary : Math.Min(TeacherLogits, vocabulary);

    /// <summary>Everything that a result depends on, as text by name.</summary>
    internal Dictionary<string, string> Describe()
    {
        return new()
        {
            ["number of updates"] = Text(Steps), ["learning rate"] = Text(LearningRate), ["final share of the learning rate"] = Text(FinalRateShare),
            ["number of warm-up updates"] = Text(WarmupSteps), ["size of a micro-batch in tokens"] = Text(MicroBatchTokens), ["number of micro-batches"] = Text(MicroBatches),
            ["longest document in tokens"] = Text(MaxLength), ["weight decay"] = Text(WeightDecay), ["beta 1"] = Text(Beta1), ["beta 2"] = Text(Beta2), ["epsilon"] = Text(Epsilon),
            ["clipping norm"] = Text(ClipNorm), ["decay of the average"] = Text(AverageDecay), ["share of the teacher"] = Text(Loss.Mix), ["temperature"] = Text(Loss.Temperature),
            ["seed"] = Text(Seed),
        };

        static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
    }

    /// <summary>Linear warm-up, then a cosine down to <see cref="FinalRateShare"/>.</summary>
    internal float LearningRateAt(int step)
    {
        if (step < WarmupSteps)
        {
            return LearningRate * (step + 1) / WarmupSteps;
        }

        float progress = Math.Clamp((step - WarmupSteps) / (float)Math.Max(1, Steps - WarmupSteps), 0, 1);
        return LearningRate * (FinalRateShare + (1 - FinalRateShare) * 0.5f * (1 + MathF.Cos(MathF.PI * progress)));
    }
}

/// <summary>Result of a run.</summary>
/// <param name="Path">Directory of the model (Hugging Face) or of the adapter (PEFT), with the running average of the weights.</param>
/// <param name="Steps">Updates done.</param>
/// <param name="ValidationLoss">Mean negative log likelihood of the validation files' targets; null without such files.</param>
public sealed record GemmaTrainingResult(string Path, int Steps, double? ValidationLoss);
