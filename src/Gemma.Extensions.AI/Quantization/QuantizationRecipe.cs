using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>
/// Which tensor gets which format, under the names that GGUF files are published by. The mixtures are llama.cpp's: values and the down projection,
/// which suffer most, get more bits in some layers, and the output head gets Q6_K: the embedding where the two are tied, which is then no head elsewhere.
/// </summary>
internal sealed class QuantizationRecipe
{
    private readonly Func<Place, TensorType?> _exception;

    private QuantizationRecipe(string name, uint fileType, TensorType @default, Func<Place, TensorType?>? exception = null)
    {
        Name = name;
        FileType = fileType;
        Default = BlockFormat.Get(@default);
        _exception = exception ?? (_ => null);
    }

    /// <summary>Every recipe, from the largest file to the smallest.</summary>
    public static IReadOnlyList<QuantizationRecipe> All { get; } =
    [
        new("F32", 0, TensorType.F32),
        new("BF16", 32, TensorType.BF16),
        new("F16", 1, TensorType.F16),
        new("Q8_0", 7, TensorType.Q8_0),
        new("Q6_K", 18, TensorType.Q6_K),
        new("Q5_1", 9, TensorType.Q5_1, Head),
        new("Q5_K_M", 17, TensorType.Q5_K, p => Head(p) ?? (p.IsSensitive && p.MoreBits ? TensorType.Q6_K : null)),
        new("Q5_K_S", 16, TensorType.Q5_K, Head),
        new("Q5_0", 8, TensorType.Q5_0, Head),
        new("Q4_1", 3, TensorType.Q4_1, Head),
        new("Q4_K_M", 15, TensorType.Q4_K, p => Head(p) ?? (p.IsSensitive && p.MoreBits ? TensorType.Q6_K : null)),
        new("Q4_K_S", 14, TensorType.Q4_K, p => Head(p) ?? (p.Part == "attn_v" && p.Layer < 4 || p.Part == "ffn_down" && p.Layer < p.Layers / 8 ? TensorType.Q5_K : null)),
        new("IQ4_NL", 25, TensorType.IQ4_NL, p => Head(p) ?? Iq4(p)),
        new("Q4_0", 2, TensorType.Q4_0, Head),
        new("IQ4_XS", 30, TensorType.IQ4_XS, p => Head(p) ?? Iq4(p)),
        new("Q3_K_L", 13, TensorType.Q3_K, p => Head(p) ?? (p.IsSensitive || p.Part == "attn_output" ? TensorType.Q5_K : null)),
        new("Q3_K_M", 12, TensorType.Q3_K, p => Head(p) ?? p.Part switch
        {
            "attn_v" => p.Layer < 2 ? TensorType.Q5_K : TensorType.Q4_K,
            "ffn_down" => p.Layer < p.Layers / 16 ? TensorType.Q5_K : TensorType.Q4_K,
            "attn_output" => TensorType.Q4_K,
            _ => null,
        }),
        new("IQ3_M", 27, TensorType.IQ3_S, p => Head(p) ?? (p.Part is "attn_v" or "attn_output" || p.Part == "ffn_down" && p.Layer < p.Layers / 8 ? TensorType.Q4_K : null)),
        new("Q3_K_S", 11, TensorType.Q3_K, Head),
        new("IQ3_S", 26, TensorType.IQ3_S, p => Head(p) ?? (p.Part == "attn_v" && p.HeadsPerKvHead >= 4 ? TensorType.Q4_K : null)),
        new("Q2_K", 10, TensorType.Q2_K, p => Head(p) ?? p.Part switch
        {
            "attn_v" => p.HeadsPerKvHead >= 4 ? TensorType.Q4_K : TensorType.Q3_K,
            "ffn_down" or "attn_output" => TensorType.Q3_K,
            _ => null,
        }),
        new("IQ3_XXS", 23, TensorType.IQ3_XXS, p => p.Part switch
        {
            "token_embd" => TensorType.Q5_K,
            "attn_v" => p.HeadsPerKvHead >= 4 ? TensorType.Q4_K : p.HasImportance ? null : TensorType.IQ3_S,
            "attn_q" or "attn_k" => TensorType.IQ2_S,
            "attn_output" => TensorType.IQ3_S,
            "ffn_down" when !p.HasImportance => p.Layer < p.Layers / 8 ? TensorType.Q4_K : TensorType.Q3_K,
            _ => null,
        }),
        new("Q2_K_S", 21, TensorType.Q2_K, p => Head(p) ?? (p.Part == "attn_v" && p.HeadsPerKvHead >= 4 || p.Part == "ffn_down" && p.Layer < p.Layers / 8 ? TensorType.Q4_K : null)),
        new("IQ2_M", 29, TensorType.IQ2_S, p => Iq2(p) ?? (p.Part == "attn_output" ? TensorType.IQ3_S : null)),
        new("IQ2_S", 28, TensorType.IQ2_S, Iq2), // llama.cpp's file of this name has IQ2_XS in the place of IQ2_S
    ];

    /// <summary>Name as users write it: <c>Q4_K_M</c>.</summary>
    public string Name { get; }

    /// <summary>Value of <c>general.file_type</c>.</summary>
    public uint FileType { get; }

    /// <summary>Format of the tensors that the recipe makes no exception for.</summary>
    public BlockFormat Default { get; }

    /// <summary>Looks a recipe up by name, in any letter case.</summary>
    /// <exception cref="ArgumentException">There is no such recipe; the message lists all.</exception>
    public static QuantizationRecipe Get(string name) =>
        All.FirstOrDefault(r => r.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
        ?? throw new ArgumentException($"There is no type '{name}'. Types are {string.Join(", ", All.Select(r => r.Name))}.");

    /// <summary>Format of a tensor by its canonical name.</summary>
    /// <param name="name">Canonical name.</param>
    /// <param name="shape">Sizes, slowest first.</param>
    /// <param name="config">The model.</param>
    /// <param name="hasImportance">Whether an importance matrix is used, which makes one exception unnecessary.</param>
    public BlockFormat FormatOf(string name, IReadOnlyList<long> shape, GemmaConfig config, bool hasImportance = false)
    {
        // The few rows of a classifier are its whole result.
        if (shape.Count == 1 || name == Files.GemmaTensors.Classifier)
        {
            return BlockFormat.Get(TensorType.F32);
        }

        TensorType? exception = Default.IsFloat ? null : _exception(Place.Of(name, config, hasImportance));
        return Fitting(exception is { } type ? BlockFormat.Get(type) : Default, shape[^1]);
    }

    /// <summary>Bytes that a model's tensors take under this recipe.</summary>
    public long Bytes(GemmaConfig config) => Files.GemmaTensors.Expected(config)
        .Sum(t => FormatOf(t.Name, t.Shape, config).ByteLength(t.Shape.Aggregate(1L, (a, b) => a * b)));

    /// <summary>Rows that are no whole number of blocks get a format of smaller blocks.</summary>
    private static BlockFormat Fitting(BlockFormat format, long columns)
    {
        while (columns % format.BlockElements != 0)
        {
            format = BlockFormat.Get(format.Type switch
            {
                TensorType.Q2_K or TensorType.Q3_K or TensorType.IQ4_XS or TensorType.IQ3_S or TensorType.IQ3_XXS or TensorType.IQ2_S => TensorType.IQ4_NL,
                TensorType.Q4_K => TensorType.Q5_0,
                TensorType.Q5_K => TensorType.Q5_1,
                TensorType.Q6_K => TensorType.Q8_0,
                _ => TensorType.F16,
            });
        }

        return format;
    }

    private static TensorType? Head(Place place) => place.IsHead ? TensorType.Q6_K : null;

    private static TensorType? Iq4(Place place) =>
        place.Part == "attn_v" && place.HeadsPerKvHead >= 4 || place.Part == "ffn_down" && place.Layer < place.Layers / 8 && !place.HasImportance ? TensorType.Q5_K : null;

    private static TensorType? Iq2(Place place) => place.Part switch
    {
        "token_embd" => TensorType.Q5_K,
        "attn_v" => place.HeadsPerKvHead >= 4 ? TensorType.Q4_K : TensorType.IQ3_S,
        "ffn_down" when place.Layer < place.Layers / 8 => TensorType.IQ3_S,
        _ => null,
    };

    /// <summary>Position of a tensor in the model.</summary>
    private readonly record struct Place(string Part, int Layer, int Layers, int HeadsPerKvHead, bool HasImportance, OutputHead Head)
    {
        public bool IsHead => Part == "output" || (Part == "token_embd" && Head != OutputHead.Own);

        public bool IsSensitive => Part is "attn_v" or "ffn_down";

        /// <summary>The first and the last eighth of the layers, and every third between.</summary>
        public bool MoreBits => Layer < Layers / 8 || Layer >= 7 * Layers / 8 || (Layer - Layers / 8) % 3 == 2;

        public static Place Of(string name, GemmaConfig config, bool hasImportance)
        {
            string[] parts = name.Split('.');
            return parts is ["blk", var layer, var part, ..]
                ? new Place(part, int.Parse(layer), config.LayerCount, config.HeadCount / config.KvHeadCount, hasImportance, config.Head)
                : new Place(parts[0], 0, config.LayerCount, config.HeadCount / config.KvHeadCount, hasImportance, config.Head);
        }
    }
}
