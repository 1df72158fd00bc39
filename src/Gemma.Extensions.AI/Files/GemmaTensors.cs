using System.Globalization;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>The tensors of a Gemma 2 model by their canonical (GGUF) names.</summary>
internal static partial class GemmaTensors
{
    public const string Embedding = "token_embd.weight";
    public const string FinalNorm = "output_norm.weight";

    /// <summary>Output head that is not the embedding.</summary>
    public const string Output = "output.weight";

    /// <summary>Scores of a classifier, under the name that llama.cpp gives such heads.</summary>
    public const string Classifier = "cls.output.weight";

    /// <summary>Parts of a layer: canonical name, name in Hugging Face checkpoints.</summary>
    private static readonly (string Gguf, string HuggingFace)[] s_layerParts =
    [
        ("attn_norm", "input_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
    ];

    private static readonly Dictionary<string, string> s_toGguf = s_layerParts.ToDictionary(p => p.HuggingFace, p => p.Gguf);
    private static readonly Dictionary<string, string> s_toHuggingFace = s_layerParts.ToDictionary(p => p.Gguf, p => p.HuggingFace);

    /// <summary>Name of a tensor of a layer: <c>blk.3.attn_q.weight</c>.</summary>
    public static string Layer(int layer, string part) => $"blk.{layer}.{part}.weight";

    /// <summary>The layer that a tensor belongs to; null for those of none.</summary>
    public static int? LayerOf(string name) =>
        name.StartsWith("blk.", StringComparison.Ordinal) && name.IndexOf('.', 4) is > 4 and var end && int.TryParse(name.AsSpan(4, end - 4), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : null;

    /// <summary>Every tensor that a model of this shape has, sizes slowest first.</summary>
    public static IEnumerable<(string Name, long[] Shape)> Expected(GemmaConfig config)
    {
        long hidden = config.HiddenSize, queries = config.QuerySize, kv = config.KvSize, feedForward = config.FeedForwardSize;
        yield return (Embedding, [config.VocabularySize, hidden]);
        for (int i = 0; i < config.LayerCount; i++)
        {
            yield return (Layer(i, "attn_norm"), [hidden]);
            yield return (Layer(i, "attn_q"), [queries, hidden]);
            yield return (Layer(i, "attn_k"), [kv, hidden]);
            yield return (Layer(i, "attn_v"), [kv, hidden]);
            yield return (Layer(i, "attn_output"), [hidden, queries]);
            yield return (Layer(i, "post_attention_norm"), [hidden]);
            yield return (Layer(i, "ffn_norm"), [hidden]);
            yield return (Layer(i, "ffn_gate"), [feedForward, hidden]);
            yield return (Layer(i, "ffn_up"), [feedForward, hidden]);
            yield return (Layer(i, "ffn_down"), [hidden, feedForward]);
            yield return (Layer(i, "post_ffw_norm"), [hidden]);
        }

        yield return (FinalNorm, [hidden]);
        if (config.Head == OutputHead.Own)
        {
            yield return (Output, [config.VocabularySize, hidden]);
        }
        else if (config.Head == OutputHead.Classifier)
        {
            yield return (Classifier, [config.LabelCount, hidden]);
        }
    }

    /// <summary>Name of the matrix that gives the logits.</summary>
    public static string LogitsOf(GemmaConfig config) => config.Head == OutputHead.Own ? Output : Embedding;

    /// <summary>Canonical name of a tensor of a Hugging Face checkpoint; null for one that Gemma 2 models do not have.</summary>
    public static string? FromHuggingFace(string name)
    {
        switch (name)
        {
            case "lm_head.weight": return Output;
            case "score.weight": return Classifier;
        }

        // Checkpoints saved without a language-model head (embedding models) leave the prefix out.
        string bare = name.StartsWith("model.", StringComparison.Ordinal) ? name["model.".Length..] : name;
        switch (bare)
        {
            case "embed_tokens.weight": return Embedding;
            case "norm.weight": return FinalNorm;
        }

        Match match = HuggingFaceLayer().Match(bare);
        return match.Success && s_toGguf.TryGetValue(match.Groups["part"].Value, out string? part) ? $"blk.{match.Groups["layer"].Value}.{part}.weight" : null;
    }

    /// <summary>Name that Hugging Face checkpoints give a canonical tensor.</summary>
    public static string ToHuggingFace(string name)
    {
        switch (name)
        {
            case Embedding: return "model.embed_tokens.weight";
            case FinalNorm: return "model.norm.weight";
            case Output: return "lm_head.weight";
            case Classifier: return "score.weight";
        }

        Match match = GgufLayer().Match(name);
        return match.Success && s_toHuggingFace.TryGetValue(match.Groups["part"].Value, out string? part)
            ? $"model.layers.{match.Groups["layer"].Value}.{part}.weight"
            : throw new ArgumentException($"'{name}' is not the name of a Gemma 2 tensor.", nameof(name));
    }

    /// <summary>Checks that every tensor is there in its shape, and that there is none that the model does not have. Formats may be mixed.</summary>
    /// <exception cref="GemmaModelFormatException">A tensor is missing, mis-shaped or unknown; the message names it.</exception>
    public static void Check(GemmaConfig config, IReadOnlyDictionary<string, TensorView> tensors, string source)
    {
        HashSet<string> known = new(StringComparer.Ordinal);
        foreach ((string name, long[] shape) in Expected(config))
        {
            known.Add(name);
            if (!tensors.TryGetValue(name, out TensorView? tensor))
            {
                throw new GemmaModelFormatException($"'{source}' has no tensor '{name}' (in Hugging Face checkpoints '{ToHuggingFace(name)}'), expected one of [{string.Join(", ", shape)}]. The file is incomplete; download or convert it again.");
            }

            if (!tensor.Shape.SequenceEqual(shape))
            {
                throw new GemmaModelFormatException($"Tensor '{name}' in '{tensor.Source}' has the shape [{string.Join(", ", tensor.Shape)}], expected [{string.Join(", ", shape)}] from the model's configuration. Configuration and weights do not belong together; download or convert them again.");
            }
        }

        foreach (TensorView tensor in tensors.Values)
        {
            if (!known.Contains(tensor.Name))
            {
                throw new GemmaModelFormatException($"'{tensor.Source}' holds the tensor '{tensor.Name}', which a Gemma 2 model of {config.LayerCount} layers does not have. The file is of another kind of model, or was converted wrongly.");
            }
        }
    }

    /// <summary>
    /// Names the tensors of a Hugging Face checkpoint that Gemma 2 does not have, and refuses those that belong to its layers, embedding, norm or head:
    /// whoever wrote them computes something else from the checkpoint.
    /// </summary>
    /// <exception cref="GemmaModelFormatException">A tensor would change the result.</exception>
    public static void CheckUnknown(IReadOnlyList<string> names, string source, List<string> warnings)
    {
        if (names.FirstOrDefault(name => PartOfTheModel().IsMatch(name) && !name.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal)) is { } part)
        {
            throw new GemmaModelFormatException($"'{source}' holds the tensor '{ErrorText.Printable(part)}', which a Gemma 2 model does not have. The checkpoint is of another kind of model, or of a kind of quantisation or adapter that is not supported; take the original, or merge it with the library that wrote it.");
        }

        if (names.Count > 0)
        {
            warnings.Add($"'{source}' holds {names.Count:N0} tensors that Gemma 2 does not have and that are not used: {string.Join(", ", names.Take(10).Select(name => $"'{ErrorText.Printable(name)}'"))}{(names.Count > 10 ? ", …" : "")}.");
        }
    }

    [GeneratedRegex(@"^(model|layers|embed_tokens|norm|lm_head|score)\.", RegexOptions.CultureInvariant)]
    private static partial Regex PartOfTheModel();

    [GeneratedRegex(@"^layers\.(?<layer>0|[1-9]\d{0,3})\.(?<part>[a-z_.]+)\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex HuggingFaceLayer();

    [GeneratedRegex(@"^blk\.(?<layer>0|[1-9]\d{0,3})\.(?<part>[a-z_]+)\.weight$", RegexOptions.CultureInvariant)]
    private static partial Regex GgufLayer();
}
