using System.Numerics.Tensors;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>An adapter's update of one weight W [outputs, inputs]: scale · B · A.</summary>
/// <param name="A">[rank, inputs].</param>
/// <param name="B">[outputs, rank].</param>
/// <param name="Scale">alpha / rank, or alpha / √rank for rank-stabilised adapters.</param>
internal sealed record LoraPair(TensorView A, TensorView B, float Scale)
{
    public int Rank => (int)A.Rows;

    /// <summary>A as float32, row-major.</summary>
    /// <exception cref="GemmaModelFormatException">A number in it is not finite.</exception>
    public float[] ReadA() => Read(A);

    /// <summary>scale · B as float32, row-major.</summary>
    /// <exception cref="GemmaModelFormatException">A number in it is not finite.</exception>
    public float[] ReadScaledB()
    {
        float[] values = Read(B);
        TensorPrimitives.Multiply(values, Scale, values);
        return values;
    }

    private static float[] Read(TensorView tensor)
    {
        float[] values = new float[checked((int)tensor.ElementCount)];
        int columns = (int)tensor.Columns;
        for (int row = 0; row < tensor.Rows; row++)
        {
            tensor.DecodeRow(row, values.AsSpan(row * columns, columns));
        }

        int bad = values.AsSpan().IndexOfAnyExceptInRange(float.MinValue, float.MaxValue);
        return bad < 0 ? values : throw new GemmaModelFormatException(
            $"Tensor '{tensor.Name}' in '{tensor.Source}' holds {values[bad]} in row {bad / columns:N0}, expected finite numbers. The training diverged or the file is damaged; take another checkpoint of the adapter.");
    }
}

/// <summary>
/// A low-rank adapter (LoRA, arXiv:2106.09685) on disk: a directory that PEFT wrote, or a GGUF adapter. Both keep the factors in the order of
/// the Hugging Face weights, which is also that of Gemma 2 in GGUF (no permutation of q and k), and neither holds norms.
/// </summary>
internal sealed partial class LoraFile : IDisposable
{
    private const string Architecture = "gemma2";
    private const int MaxRank = 4096;
    private static readonly HashSet<string> s_matrices = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
    private readonly IDisposable _file;
    private readonly PeftConfig? _config;

    private LoraFile(string path, IDisposable file, IReadOnlyDictionary<string, TensorView> a, IReadOnlyDictionary<string, TensorView> b, PeftConfig? config, Func<string, int, float> scale)
    {
        (Path, _file, _config) = (path, file, config);
        Pairs = Pair(path, a, b, scale);
    }

    /// <summary>Full path of the directory or file.</summary>
    public string Path { get; }

    /// <summary>Updates by the weight's canonical name: <c>blk.3.attn_q.weight</c>.</summary>
    public IReadOnlyDictionary<string, LoraPair> Pairs { get; }

    /// <summary>Linear maps of a layer that an adapter may change, by their canonical names.</summary>
    public static IReadOnlyCollection<string> Targets => s_matrices;

    /// <summary>Opens an adapter: a PEFT directory, its adapter_model.safetensors or adapter_config.json, or a GGUF file.</summary>
    /// <exception cref="GemmaModelFormatException">The adapter is missing, damaged, or of a kind that is not supported; the message says what, where, and what to do.</exception>
    public static LoraFile Open(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        path = System.IO.Path.GetFullPath(path);
        if (Directory.Exists(path))
        {
            return OpenPeft(path);
        }

        if (!File.Exists(path))
        {
            throw new GemmaModelFormatException($"There is no adapter '{path}'. Give the directory that PEFT saved (with {PeftConfig.FileName} and {PeftConfig.WeightsName}), or a GGUF adapter.");
        }

        return System.IO.Path.GetFileName(path) is PeftConfig.FileName or PeftConfig.WeightsName ? OpenPeft(System.IO.Path.GetDirectoryName(path)!) : OpenGguf(path);
    }

    /// <summary>Checks that the adapter belongs to a base model of these numbers and has all that it says it has.</summary>
    /// <exception cref="GemmaModelFormatException">A tensor does not fit or is missing; the message names it, what was found and what was expected.</exception>
    public void Check(GemmaConfig config)
    {
        Dictionary<string, long[]> expected = GemmaTensors.Expected(config).ToDictionary(tensor => tensor.Name, tensor => tensor.Shape, StringComparer.Ordinal);
        foreach ((string name, LoraPair pair) in Pairs)
        {
            if (!expected.TryGetValue(name, out long[]? weight))
            {
                throw new GemmaModelFormatException($"'{pair.A.Source}' holds the tensor '{pair.A.Name}', but the base model has {config.LayerCount} layers, numbered from 0. The adapter was trained for another base model; take that one.");
            }

            CheckShape(pair.A, [pair.Rank, weight[1]], name, weight);
            CheckShape(pair.B, [weight[0], pair.Rank], name, weight);
        }

        foreach (string name in expected.Keys.Where(name => IsTarget(name) && !Pairs.ContainsKey(name)))
        {
            if (_config?.Targets(PeftConfig.ModuleOf(name)) == true)
            {
                throw new GemmaModelFormatException($"'{Path}' has no factors for '{PeftConfig.ModuleOf(name)}', which its {PeftConfig.FileName} says are there. The adapter is incomplete, or was trained for a base model with fewer layers; download or save it again.");
            }
        }
    }

    public void Dispose() => _file.Dispose();

    private static void CheckShape(TensorView factor, long[] shape, string name, long[] weight)
    {
        if (!factor.Shape.SequenceEqual(shape))
        {
            throw new GemmaModelFormatException(
                $"Tensor '{factor.Name}' in '{factor.Source}' has the shape [{string.Join(", ", factor.Shape)}], expected [{string.Join(", ", shape)}] for the weight '{name}' of [{string.Join(", ", weight)}]. The adapter was trained for another base model; take that one.");
        }
    }

    private static bool IsTarget(string name) => LayerTensor().Match(name) is { Success: true } match && s_matrices.Contains(match.Groups["part"].Value);

    private static LoraFile OpenPeft(string directory)
    {
        PeftConfig config = PeftConfig.Read(directory);
        SafetensorsFile file = SafetensorsFile.Open(System.IO.Path.Combine(directory, PeftConfig.WeightsName));
        try
        {
            Dictionary<string, TensorView> a = new(StringComparer.Ordinal), b = new(StringComparer.Ordinal);
            foreach (string name in file.Tensors.Keys)
            {
                Match match = PeftTensor().Match(name);
                string weight = (match.Success ? GemmaTensors.FromHuggingFace(match.Groups["module"].Value + ".weight") : null) ?? "";
                if (!IsTarget(weight) || !config.Targets(PeftConfig.ModuleOf(weight)))
                {
                    throw Unexpected(directory, name, IsTarget(weight) ? "which its 'target_modules' leave out" : null);
                }

                if (!(match.Groups["factor"].Value == "A" ? a : b).TryAdd(weight, file.View(name, name)))
                {
                    throw new GemmaModelFormatException($"'{file.Path}' holds two tensors for one factor, one of them '{name}'. The file is damaged; download or save it again.");
                }
            }

            return new LoraFile(directory, file, a, b, config, (weight, rank) => config.Scale(PeftConfig.ModuleOf(weight), rank));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static LoraFile OpenGguf(string path)
    {
        GgufFile file = GgufFile.Open(path);
        try
        {
            float alpha = CheckGguf(file.Metadata, path);
            Dictionary<string, TensorView> a = new(StringComparer.Ordinal), b = new(StringComparer.Ordinal);
            foreach ((string name, TensorView tensor) in file.Tensors)
            {
                Match match = GgufTensor().Match(name);
                if (!match.Success || !IsTarget(match.Groups["weight"].Value))
                {
                    throw Unexpected(path, name, null);
                }

                (match.Groups["factor"].Value == "a" ? a : b).Add(match.Groups["weight"].Value, tensor);
            }

            // llama.cpp takes alpha 0 as no scaling at all.
            return new LoraFile(path, file, a, b, null, (_, rank) => alpha == 0 ? 1 : alpha / rank);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static float CheckGguf(GgufMetadata metadata, string path)
    {
        string? type = metadata.GetString("general.type"), kind = metadata.GetString("adapter.type"), architecture = metadata.GetString("general.architecture");
        if (type != "adapter")
        {
            throw new GemmaModelFormatException($"'{path}' is no adapter: 'general.type' is '{ErrorText.Printable(type ?? "(absent)")}', expected 'adapter'. A whole model is opened as a model, not as an adapter.");
        }

        if (kind != "lora" || architecture != Architecture)
        {
            throw new GemmaModelFormatException($"'{path}' is an adapter of type '{ErrorText.Printable(kind ?? "(absent)")}' for the architecture '{ErrorText.Printable(architecture ?? "(absent)")}', expected 'lora' for '{Architecture}'.");
        }

        if (metadata.GetCount("adapter.alora.invocation_tokens") > 0)
        {
            throw new GemmaModelFormatException($"'{path}' is an activated LoRA ('adapter.alora.invocation_tokens'), which starts in the middle of a prompt. Only plain LoRA is supported.");
        }

        double alpha = metadata.GetNumber("adapter.lora.alpha") ?? throw new GemmaModelFormatException($"'{path}' has no metadata 'adapter.lora.alpha'. The file is damaged or was converted wrongly; convert the adapter again.");
        return float.IsFinite((float)alpha) && alpha >= 0
            ? (float)alpha
            : throw new GemmaModelFormatException($"'{path}': 'adapter.lora.alpha' is {alpha}, expected a finite number of 0 or more. The file is damaged; convert the adapter again.");
    }

    private static Dictionary<string, LoraPair> Pair(string path, IReadOnlyDictionary<string, TensorView> a, IReadOnlyDictionary<string, TensorView> b, Func<string, int, float> scale)
    {
        if (a.Count == 0)
        {
            throw new GemmaModelFormatException($"'{path}' holds no factors: it has {b.Count:N0} tensors of kind B and none of kind A. It is not an adapter, or is incomplete; download or save it again.");
        }

        Dictionary<string, LoraPair> pairs = new(StringComparer.Ordinal);
        foreach (string weight in a.Keys.Union(b.Keys))
        {
            if (!a.TryGetValue(weight, out TensorView? first) || !b.TryGetValue(weight, out TensorView? second))
            {
                throw new GemmaModelFormatException($"'{path}' holds one of the two factors for '{weight}', '{(a.GetValueOrDefault(weight) ?? b[weight]).Name}', but not the other. The adapter is incomplete; download or save it again.");
            }

            if (first.Shape is not [>= 1, >= 1] || second.Shape is not [>= 1, >= 1] || first.Shape[0] != second.Shape[1] || first.Shape[0] > MaxRank)
            {
                throw new GemmaModelFormatException(
                    $"'{path}': tensors '{first.Name}' of [{string.Join(", ", first.Shape)}] and '{second.Name}' of [{string.Join(", ", second.Shape)}] are not the factors of a low-rank update, expected [rank, inputs] and [outputs, rank] with a rank of at most {MaxRank:N0}. The file is damaged; download or save it again.");
            }

            pairs.Add(weight, new LoraPair(first, second, scale(weight, (int)first.Shape[0])));
        }

        return pairs;
    }

    private static GemmaModelFormatException Unexpected(string path, string tensor, string? why)
    {
        string kind = tensor.Contains("magnitude", StringComparison.Ordinal) ? " of DoRA" : tensor.Contains("embed", StringComparison.Ordinal) || tensor.Contains("lm_head", StringComparison.Ordinal) ? " for the embedding or the output head" : "";
        return new GemmaModelFormatException(
            $"'{path}' holds the tensor '{ErrorText.Printable(tensor)}'{kind}{(why is null ? "" : ", " + why)}. Supported are plain LoRA factors for the q, k, v, o, gate, up and down projections of Gemma 2's layers; merge other adapters into the base with the library that trained them.");
    }

    [GeneratedRegex(@"^base_model\.model\.(?<module>[A-Za-z0-9_.]{1,200})\.lora_(?<factor>[AB])\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex PeftTensor();

    [GeneratedRegex(@"^(?<weight>blk\.\d{1,4}\.[a-z_]{1,40}\.weight)\.lora_(?<factor>[ab])$", RegexOptions.CultureInvariant)]
    private static partial Regex GgufTensor();

    [GeneratedRegex(@"^blk\.(0|[1-9]\d{0,3})\.(?<part>[a-z_]+)\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex LayerTensor();
}
