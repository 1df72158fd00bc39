using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// The mean of two models, of which one was trained from the other: between them lies a model that keeps more of what the first could do than the second does, with most of what the second has learned.
/// </summary>
internal static class MeanModel
{
    /// <summary>Moves the weights of <paramref name="model"/> to those of <paramref name="other"/>, so that <paramref name="share"/> of the way between them is left.</summary>
    /// <exception cref="ArgumentException">The shapes differ, or the share is not between 0 and 1.</exception>
    public static void Move(TrainingModel model, TrainingModel other, double share = 0.5)
    {
        if (!(share is > 0 and < 1))
        {
            throw new ArgumentException($"The share of the first model's weights is {share}, expected a number between 0 and 1.", nameof(share));
        }

        Parameter[] ours = [.. model.Parameters], theirs = [.. other.Parameters];
        if (!ours.Select(Shape).SequenceEqual(theirs.Select(Shape)))
        {
            throw new ArgumentException($"A model of {model.Config.LayerCount} layers and hidden size {model.Config.HiddenSize} has no mean with one of {other.Config.LayerCount} and {other.Config.HiddenSize}: all their tensors have to be of the same shape.");
        }

        foreach (Parameter parameter in ours)
        {
            Span<float> weights = model.Slice(model.Weights, parameter);
            ReadOnlySpan<float> added = other.Slice(other.Weights, other[parameter.Name]);
            for (int i = 0; i < weights.Length; i++)
            {
                weights[i] = (float)(share * weights[i] + (1 - share) * added[i]);
            }
        }

        static (string, int, int) Shape(Parameter parameter) => (parameter.Name, parameter.Rows, parameter.Columns);
    }

    /// <summary>Writes the mean of a model that training wrote and another beside it, and returns the directory. A smaller one is grown first, as training grew it.</summary>
    public static string Write(string directory, string other, double share = 0.5)
    {
        string mean = Path.TrimEndingDirectorySeparator(directory) + "-mean";
        TrainingModel model = Load(directory), second = Load(other);
        if (second.Weights.Length < model.Weights.Length)
        {
            TrainingModel grown = new(model.Config);
            grown.Initialize(new GemmaTrainingOptions(1).Seed);
            GrownModel.Fill(second, grown);
            second = grown;
        }

        Move(model, second, share);
        model.Save(mean, false, File.ReadAllBytes(Path.Combine(directory, "tokenizer.model")));
        return mean;
    }

    /// <summary>The weights of a file, a directory or an alias.</summary>
    public static TrainingModel Load(string model)
    {
        using ModelFile file = ModelFile.Open(ModelAliases.Find(model, out string? problem) ?? throw new GemmaModelFormatException(problem!));
        return ModelDirectory.Load(file);
    }
}
