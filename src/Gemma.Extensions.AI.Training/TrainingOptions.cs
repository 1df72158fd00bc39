using System.Globalization;

namespace Gemma.Extensions.AI.Training;

/// <summary>The numbers of a training run. A resumed run gives the same losses if it is given the same; <see cref="Threads"/> and <see cref="CheckpointEvery"/> change nothing.</summary>
internal sealed record TrainingOptions
{
    /// <summary>Weight updates; also the length of the cosine.</summary>
    public required int Steps { get; init; }

    /// <summary>Tokens of one micro-batch at most; whole documents are packed up to it.</summary>
    public int MicroBatchTokens { get; init; } = 2048;

    /// <summary>Micro-batches whose gradients make one update. Each has a gradient of its own, summed in order, so results do not depend on the thread count.</summary>
    public int MicroBatches { get; init; } = 4;

    /// <summary>Tokens of the longest document.</summary>
    public int MaxLength { get; init; } = 512;

    public float LearningRate { get; init; } = 2e-3f;

    /// <summary>Where the cosine ends, as a share of <see cref="LearningRate"/>.</summary>
    public float FinalRateShare { get; init; } = 0.05f;

    public int WarmupSteps { get; init; } = 100;
    public float WeightDecay { get; init; } = 0.05f;
    public float Beta1 { get; init; } = 0.9f;
    public float Beta2 { get; init; } = 0.98f;
    public float Epsilon { get; init; } = 1e-8f;

    /// <summary>Largest norm of the gradient; 0: no clipping.</summary>
    public float ClipNorm { get; init; } = 1f;

    /// <summary>Decay of the running average of the weights.</summary>
    public float AverageDecay { get; init; } = 0.995f;

    public LossOptions Loss { get; init; } = LossOptions.Label;
    public int Seed { get; init; } = 1;
    public int Threads { get; init; } = Environment.ProcessorCount;

    /// <summary>Steps between checkpoints and between validations.</summary>
    public int CheckpointEvery { get; init; } = 100;

    /// <summary>Everything that a result depends on, as text by name.</summary>
    public Dictionary<string, string> Describe()
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
    public float LearningRateAt(int step)
    {
        if (step < WarmupSteps)
        {
            return LearningRate * (step + 1) / WarmupSteps;
        }

        float progress = Math.Clamp((step - WarmupSteps) / (float)Math.Max(1, Steps - WarmupSteps), 0, 1);
        return LearningRate * (FinalRateShare + (1 - FinalRateShare) * 0.5f * (1 + MathF.Cos(MathF.PI * progress)));
    }
}
