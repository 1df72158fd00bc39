using System.CommandLine;
using System.Globalization;
using System.Numerics.Tensors;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>How far the fast kernels' predictions are from those of the float32 reference tier on the same file: what rounding activations to bytes costs.</summary>
/// <remarks>
/// A model of random weights repeats its input with certainty, since output and input embeddings are one: then no error could show. So the output norm is
/// given random signs, which takes the echo away, and a factor that makes logits as uneven as those of a trained model. Both tiers get the same.
/// </remarks>
internal static class DivergenceBenchmark
{
    public static Command Create()
    {
        Option<string[]> models = new("--model") { Required = true, AllowMultipleArgumentsPerToken = true, Description = "Model files." };
        Option<int> tokens = new("--tokens") { DefaultValueFactory = _ => 64, Description = "Random tokens; the distribution after each is compared." };
        Option<string?> kernel = new("--kernel") { Description = "Tier that is held against 'reference'; the fastest if absent." };
        Option<float> spread = new("--spread") { DefaultValueFactory = _ => 4.5f, Description = "Standard deviation of the logits, about, that the output norm is scaled to; 0 leaves the model as it is." };
        Option<string?> results = new("--results") { Description = "Directory for the table." };
        Command command = new("divergence", "Mean KL divergence of a fast tier from the float32 reference tier on the same model file.") { models, tokens, kernel, spread, results };
        command.SetAction(parse => Run(parse.GetRequiredValue(models), parse.GetValue(tokens), parse.GetValue(kernel), parse.GetValue(spread), parse.GetValue(results)));
        return command;
    }

    private static void Run(string[] paths, int count, string? kernel, float spread, string? results)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        string name = "";
        List<string> rows = new();
        foreach (string path in paths)
        {
            using ModelFile file = ModelFile.Open(path);
            Random random = new(1);
            int[] tokens = [.. Enumerable.Range(0, count).Select(_ => random.Next(1000, file.Config.VocabularySize))];
            float[][] expected = Logits(file, tokens, count, "reference", spread, out _);
            foreach (int step in (ReadOnlySpan<int>)[count, 1])
            {
                float[][] actual = Logits(file, tokens, step, kernel, spread, out name);
                double[] divergences = [.. expected.Zip(actual, Divergence)];
                int agreed = expected.Zip(actual).Count(pair => TensorPrimitives.IndexOfMax<float>(pair.First) == TensorPrimitives.IndexOfMax<float>(pair.Second));
                double error = Math.Sqrt(expected.Zip(actual, (a, b) => (double)TensorPrimitives.Distance<float>(a, b)).Average(distance => distance * distance) / expected[0].Length);
                rows.Add(
                    $"| {Path.GetFileNameWithoutExtension(path)} | {step} | {divergences.Average():0.00000} | {divergences.Max():0.00000} | {agreed} of {count} | {error:F4} | {expected.Average(Deviation):F2} | {expected.Average(Entropy):F2} |");
                Console.WriteLine(rows[^1]);
            }
        }

        string text = string.Join(
            Environment.NewLine,
            $"# {name} against the float32 reference",
            "",
            $"{count} random tokens, synthetic weights at true size, the distribution after each, {DateTime.UtcNow:yyyy-MM-dd}. Command: `divergence --model … --tokens {count} --spread {spread}`.",
            $"The output norm has random signs and a factor, the same for both, so that logits have a standard deviation of about {spread} (see the remarks of the benchmark).",
            "",
            "| file | tokens a step | mean KL | largest KL | same most likely token | error of a logit, RMS | deviation of the logits | mean entropy of the reference, nats |",
            "|---|---|---|---|---|---|---|---|",
            string.Join(Environment.NewLine, rows),
            "");
        Console.WriteLine(text);
        if (results is not null)
        {
            File.WriteAllText(Path.Combine(results, "divergence.md"), text);
        }
    }

    private static float[][] Logits(ModelFile file, int[] tokens, int step, string? kernel, float spread, out string name)
    {
        using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = kernel });
        const int BlockTokens = 32;
        int blocks = (tokens.Length + BlockTokens - 1) / BlockTokens;
        using KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(file.Config, BlockTokens, GemmaKvCacheType.F32), 2 * blocks);
        using GemmaForward forward = new(file.Config, Soften(GemmaWeights.Load(file, backend), file, backend, spread), backend, pool, step, step);
        ForwardBatch batch = new(step, 1);
        List<float[]> logits = new();
        for (int start = 0; start < tokens.Length; start += step)
        {
            batch.Clear();
            batch.Add(tokens.AsSpan(start, step), start, [.. Enumerable.Range(0, blocks)], [.. Enumerable.Range(blocks, blocks)], isPrompt: true);
            forward.Run(batch);
            Matrix rows = forward.Logits([.. Enumerable.Range(0, step)], step);
            logits.AddRange(Enumerable.Range(0, step).Select(i => rows.Read(i, 1).ToArray()));
        }

        name = backend.Name;
        return [.. logits];
    }

    /// <summary>The weights with another output norm: the file's, times a factor, with random signs.</summary>
    public static unsafe GemmaWeights Soften(GemmaWeights weights, ModelFile file, Backend backend, float spread)
    {
        if (spread == 0)
        {
            return weights;
        }

        // Entries of the embeddings deviate by 0.02, so that logits of a normalised row deviate by 0.02·√hidden.
        float factor = spread / (0.02f * MathF.Sqrt(file.Config.HiddenSize));
        TensorView norm = file.Tensors["output_norm.weight"];
        Random random = new(2);
        float[] values = new float[file.Config.HiddenSize];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = ((float*)norm.Data)[i] * (random.Next(2) == 0 ? factor : -factor);
        }

        fixed (float* data = values)
        {
            TensorView changed = new(norm.Name, norm.Format, [.. norm.Shape], (byte*)data, norm.ByteLength, norm.Source);
            return new GemmaWeights { Embedding = weights.Embedding, Head = weights.Head, Layers = weights.Layers, OutputNorm = backend.LoadVector(changed, 0), Fingerprint = weights.Fingerprint };
        }
    }

    private static double Deviation(float[] logits)
    {
        double mean = TensorPrimitives.Sum<float>(logits) / (double)logits.Length;
        return Math.Sqrt(logits.Sum(value => (value - mean) * (value - mean)) / logits.Length);
    }

    public static double Divergence(float[] expected, float[] actual)
    {
        double a = LogSum(expected), b = LogSum(actual), sum = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            sum += Math.Exp(expected[i] - a) * (expected[i] - a - (actual[i] - b));
        }

        return sum;
    }

    private static double Entropy(float[] logits)
    {
        double all = LogSum(logits);
        return -logits.Sum(value => Math.Exp(value - all) * (value - all));
    }

    private static double LogSum(float[] logits)
    {
        double max = TensorPrimitives.Max<float>(logits);
        return max + Math.Log(logits.Sum(value => Math.Exp(value - max)));
    }
}
