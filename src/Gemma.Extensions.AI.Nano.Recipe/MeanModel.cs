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
    /// <summary>Moves the weights of <paramref name="model"/> half the way to those of <paramref name="other"/>.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public static void Move(TrainingModel model, TrainingModel other)
    {
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
                weights[i] = (float)((weights[i] + (double)added[i]) / 2);
            }
        }

        static (string, int, int) Shape(Parameter parameter) => (parameter.Name, parameter.Rows, parameter.Columns);
    }

    /// <summary>Writes the mean of a model that training wrote and another beside it, and returns the directory.</summary>
    public static string Write(string directory, string other)
    {
        string mean = Path.TrimEndingDirectorySeparator(directory) + "-mean";
        TrainingModel model = Load(directory);
        Move(model, Load(other));
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
