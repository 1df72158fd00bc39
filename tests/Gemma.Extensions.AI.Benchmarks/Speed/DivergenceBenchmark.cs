using System.CommandLine;
using System.Globalization;
using System.Numerics.Tensors;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>How far the fast kernels' predictions are from those of the float32 reference tier on the same file: what rounding activations to bytes costs.</summary>
internal static class DivergenceBenchmark
{
    public static Command Create()
    {
        var model = new Option<string>("--model") { Required = true, Description = "Model file." };
        var tokens = new Option<int>("--tokens") { DefaultValueFactory = _ => 64, Description = "Random tokens; the distribution after each is compared." };
        var kernel = new Option<string?>("--kernel") { Description = "Tier that is held against 'reference'; the fastest if absent." };
        var results = new Option<string?>("--results") { Description = "Directory for the table." };
        var command = new Command("divergence", "Mean KL divergence of a fast tier from the float32 reference tier on one model file.") { model, tokens, kernel, results };
        command.SetAction(parse => Run(parse.GetRequiredValue(model), parse.GetValue(tokens), parse.GetValue(kernel), parse.GetValue(results)));
        return command;
    }

    private static void Run(string path, int count, string? kernel, string? results)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        using ModelFile file = ModelFile.Open(path);
        var random = new Random(1);
        int[] tokens = [.. Enumerable.Range(0, count).Select(_ => random.Next(1000, file.Config.VocabularySize))];
        float[][] expected = Logits(file, tokens, "reference", out _), actual = Logits(file, tokens, kernel, out string name);
        double[] divergences = [.. expected.Zip(actual, Divergence)];
        int agreed = expected.Zip(actual).Count(pair => TensorPrimitives.IndexOfMax<float>(pair.First) == TensorPrimitives.IndexOfMax<float>(pair.Second));
        string text = string.Join(
            Environment.NewLine,
            $"# {Path.GetFileNameWithoutExtension(path)}: {name} against the float32 reference",
            "",
            $"{count} random tokens, synthetic weights, the distribution after each, {DateTime.UtcNow:yyyy-MM-dd}. Command: `divergence --tokens {count}`.",
            "",
            "| mean KL | largest KL | same most likely token | mean entropy of the reference, nats |",
            "|---|---|---|---|",
            $"| {divergences.Average():0.000000} | {divergences.Max():0.000000} | {agreed} of {count} | {expected.Average(Entropy):F2} |",
            "");
        Console.WriteLine(text);
        if (results is not null)
        {
            File.WriteAllText(Path.Combine(results, $"divergence-{Path.GetFileNameWithoutExtension(path)}.md"), text);
        }
    }

    private static float[][] Logits(ModelFile file, int[] tokens, string? kernel, out string name)
    {
        using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = kernel });
        const int BlockTokens = 32;
        int blocks = (tokens.Length + BlockTokens - 1) / BlockTokens;
        using KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(file.Config, BlockTokens, KvType.F32), 2 * blocks);
        using var forward = new GemmaForward(file.Config, GemmaWeights.Load(file, backend), backend, pool, tokens.Length, tokens.Length);
        var batch = new ForwardBatch(tokens.Length, 1);
        batch.Add(tokens, 0, [.. Enumerable.Range(0, blocks)], [.. Enumerable.Range(blocks, blocks)]);
        forward.Run(batch);
        Matrix logits = forward.Logits([.. Enumerable.Range(0, tokens.Length)]);
        name = backend.Name;
        return [.. Enumerable.Range(0, tokens.Length).Select(i => logits.Row(i).ToArray())];
    }

    private static double Divergence(float[] expected, float[] actual)
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
