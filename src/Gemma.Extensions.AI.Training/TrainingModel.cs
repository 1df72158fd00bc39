using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>One weight of the model within the flat parameter vector.</summary>
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
/// All weights of a Gemma 2 model as one float32 vector. q, k and v lie behind one another, as do gate and up, so that each group is one
/// matrix product.
/// </summary>
internal sealed unsafe class TrainingModel
{
    private readonly Dictionary<string, Parameter> _byName = [];

    /// <summary>A model with all weights zero.</summary>
    public TrainingModel(GemmaConfig config)
    {
        Config = config;
        long offset = 0;
        var parameters = new List<Parameter>();
        Add("token_embd.weight", config.VocabularySize, config.HiddenSize);
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            string prefix = $"blk.{layer}.";
            Add(prefix + "attn_norm.weight", 1, config.HiddenSize);
            Add(prefix + "attn_q.weight", config.QuerySize, config.HiddenSize);
            Add(prefix + "attn_k.weight", config.KvSize, config.HiddenSize);
            Add(prefix + "attn_v.weight", config.KvSize, config.HiddenSize);
            Add(prefix + "attn_output.weight", config.HiddenSize, config.QuerySize);
            Add(prefix + "post_attention_norm.weight", 1, config.HiddenSize);
            Add(prefix + "ffn_norm.weight", 1, config.HiddenSize);
            Add(prefix + "ffn_gate.weight", config.FeedForwardSize, config.HiddenSize);
            Add(prefix + "ffn_up.weight", config.FeedForwardSize, config.HiddenSize);
            Add(prefix + "ffn_down.weight", config.HiddenSize, config.FeedForwardSize);
            Add(prefix + "post_ffw_norm.weight", 1, config.HiddenSize);
        }

        Add("output_norm.weight", 1, config.HiddenSize);
        Parameters = parameters;
        Weights = new FloatBuffer(offset);

        void Add(string name, int rows, int columns)
        {
            var parameter = new Parameter(name, checked((int)offset), rows, columns);
            parameters.Add(parameter);
            _byName.Add(name, parameter);
            offset += (long)rows * columns;
        }
    }

    public GemmaConfig Config { get; }

    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Every weight, in the order of <see cref="Parameters"/>.</summary>
    public FloatBuffer Weights { get; }

    public Parameter this[string name] => _byName[name];

    /// <summary>Where a parameter lies in a vector laid out like <see cref="Weights"/> (the weights themselves, their gradient, a moment).</summary>
    public Span<float> Slice(FloatBuffer vector, Parameter parameter) => vector.Span.Slice(parameter.Offset, parameter.Length);

    /// <summary>
    /// Random start: normal with 1/√inputs, so that every linear map keeps the scale of its input; the embedding with 1/√hidden, because
    /// it is multiplied by √hidden on the way in and meets a normalised vector on the way out. Norms start at w = 0.
    /// </summary>
    public void Initialize(int seed)
    {
        var random = new Random(seed);
        foreach (Parameter parameter in Parameters)
        {
            if (parameter.IsNorm)
            {
                continue;
            }

            float deviation = 1f / MathF.Sqrt(parameter.Columns);
            foreach (ref float w in Slice(Weights, parameter))
            {
                double radius = Math.Sqrt(-2 * Math.Log(1 - random.NextDouble()));
                w = deviation * (float)(radius * Math.Cos(2 * Math.PI * random.NextDouble()));
            }
        }
    }
}
