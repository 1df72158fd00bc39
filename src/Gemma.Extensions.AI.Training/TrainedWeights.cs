using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>One weight within the flat vector of what is trained.</summary>
/// <param name="Name">Canonical (GGUF) name.</param>
/// <param name="Offset">First element in the flat vector.</param>
/// <param name="Rows">Outputs; 1 for a norm.</param>
/// <param name="Columns">Inputs, or the length of a norm.</param>
internal sealed record Parameter(string Name, int Offset, int Rows, int Columns)
{
    public int Length => Rows * Columns;

    /// <summary>Norm weights are kept as w (the model multiplies by 1 + w) and are not decayed.</summary>
    public bool IsNorm => Rows == 1;
}

/// <summary>
/// The trained parameters as one float32 vector, and their place in the model: all weights, or the factors of an adapter over weights that stay as they are.
/// Forward and backward passes depend on nothing else; several workers read at once.
/// </summary>
internal abstract unsafe class TrainedWeights
{
    private readonly Dictionary<string, Parameter> _byName = [];
    private readonly List<Parameter> _parameters = [];

    protected TrainedWeights(GemmaConfig config, IEnumerable<(string Name, long Rows, long Columns)> parameters)
    {
        Config = config.HasLogits ? config : throw new NotSupportedException($"Training minimises the loss of predicted tokens, but the model predicts none: {config.UseWithoutLogits()}");
        (string Name, long Rows, long Columns)[] all = [.. parameters];
        Weights = new FloatBuffer(all.Sum(parameter => parameter.Rows * parameter.Columns)); // refuses what offsets could not name
        long offset = 0;
        foreach ((string name, long rows, long columns) in all)
        {
            Parameter parameter = new(name, (int)offset, (int)rows, (int)columns);
            _parameters.Add(parameter);
            _byName.Add(name, parameter);
            offset += rows * columns;
        }
    }

    public GemmaConfig Config { get; }

    /// <summary>Trained weights.</summary>
    public IReadOnlyList<Parameter> Parameters => _parameters;

    /// <summary>Every trained weight, in the order of <see cref="Parameters"/>.</summary>
    public FloatBuffer Weights { get; }

    public Parameter this[string name] => _byName[name];

    /// <summary>Name of the folder of a run that <see cref="Save"/> writes to.</summary>
    public abstract string Kind { get; }

    /// <summary>Slice of a parameter in a vector laid out like <see cref="Weights"/> (the weights themselves, their gradient, a moment).</summary>
    public Span<float> Slice(FloatBuffer vector, Parameter parameter) => vector.Span.Slice(parameter.Offset, parameter.Length);

    /// <summary>The embedding or the head [vocabulary, hidden], or a norm [hidden] (as w) in float32.</summary>
    public abstract float* Tensor(string name);

    /// <summary>Accumulator for the gradient of the embedding, the head or a norm; null if it is not trained.</summary>
    public abstract float* Gradient(FloatBuffer gradient, string name);

    /// <summary>y = x · Wᵀ of one linear map.</summary>
    /// <param name="layer">Layer.</param>
    /// <param name="map">The map, whose weights lie behind one another: q, k, v; gate, up.</param>
    /// <param name="tokens">Rows of x and y.</param>
    /// <param name="x">[tokens, inputs].</param>
    /// <param name="y">[tokens, outputs], overwritten.</param>
    public abstract void Forward(int layer, LayerMap map, int tokens, float* x, float* y);

    /// <summary>dx = dy · W, overwritten; adds what dy and x say about the trained weights to the gradient.</summary>
    public abstract void Backward(int layer, LayerMap map, int tokens, float* x, float* dy, float* dx, FloatBuffer gradient);

    /// <summary>Writes what was trained as other programs read it.</summary>
    /// <param name="directory">Created where missing; files of the same names are replaced.</param>
    /// <param name="bfloat16">Round to bfloat16 instead of keeping float32.</param>
    /// <param name="tokenizer">Bytes of the SentencePiece model; may be empty.</param>
    /// <param name="beside">What else belongs to the tokenizer, from <see cref="Files.TokenizerFiles.ReadBeside"/>; null: it is there already.</param>
    public abstract void Save(string directory, bool bfloat16, ReadOnlySpan<byte> tokenizer, IReadOnlyDictionary<string, byte[]?>? beside = null);

    /// <summary>Inputs of a map, and the weights that it is made of with their outputs.</summary>
    protected static (int Inputs, (string Part, int Outputs)[] Weights) Describe(GemmaConfig c, LayerMap map) => map switch
    {
        LayerMap.Qkv => (c.HiddenSize, [("attn_q", c.QuerySize), ("attn_k", c.KvSize), ("attn_v", c.KvSize)]),
        LayerMap.AttentionOutput => (c.QuerySize, [("attn_output", c.HiddenSize)]),
        LayerMap.GateUp => (c.HiddenSize, [("ffn_gate", c.FeedForwardSize), ("ffn_up", c.FeedForwardSize)]),
        _ => (c.FeedForwardSize, [("ffn_down", c.HiddenSize)]),
    };
}
