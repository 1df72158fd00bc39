using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// All weights of a Gemma 2 model, all of them trained. q, k and v lie behind one another, as do gate and up, so that each group is one
/// matrix product.
/// </summary>
internal sealed unsafe class TrainingModel : TrainedWeights
{
    private readonly Map[] _maps;

    /// <summary>A model with all weights zero.</summary>
    public TrainingModel(GemmaConfig config)
        : base(config, GemmaTensors.Expected(config).Select(t => t.Shape is [long n] ? (t.Name, 1, n) : (t.Name, t.Shape[0], t.Shape[1])))
    {
        LayerMap[] kinds = Enum.GetValues<LayerMap>();
        _maps = new Map[config.LayerCount * kinds.Length];
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            foreach (LayerMap kind in kinds)
            {
                (int inputs, (string Part, int Outputs)[] weights) = Describe(config, kind);
                _maps[LayerMaps.Index(layer, kind)] = new Map(this[GemmaTensors.Layer(layer, weights[0].Part)].Offset, weights.Sum(w => w.Outputs), inputs);
            }
        }
    }

    public override string Kind => "model";

    public override float* Tensor(string name) => Weights.Pointer + this[name].Offset;

    public override float* Gradient(FloatBuffer gradient, string name) => gradient.Pointer + this[name].Offset;

    public override void Forward(int layer, LayerMap map, int tokens, float* x, float* y)
    {
        (int offset, int outputs, int inputs) = _maps[LayerMaps.Index(layer, map)];
        Gemm.NT(tokens, outputs, inputs, x, inputs, Weights.Pointer + offset, inputs, y, outputs, accumulate: false);
    }

    public override void Backward(int layer, LayerMap map, int tokens, float* x, float* dy, float* dx, FloatBuffer gradient)
    {
        (int offset, int outputs, int inputs) = _maps[LayerMaps.Index(layer, map)];
        Gemm.NN(tokens, inputs, outputs, dy, outputs, Weights.Pointer + offset, inputs, dx, inputs, accumulate: false);
        Gemm.TN(outputs, inputs, tokens, dy, outputs, x, inputs, gradient.Pointer + offset, inputs, accumulate: true);
    }

    public override void Save(string directory, bool bfloat16, ReadOnlySpan<byte> tokenizer, IReadOnlyDictionary<string, byte[]?>? beside = null) =>
        ModelDirectory.Save(this, directory, bfloat16, tokenizer, beside);

    /// <summary>
    /// Random start: normal with 1/√inputs, so that every linear map keeps the scale of its input; the embedding with 1/√hidden, because
    /// it is multiplied by √hidden on the way in and meets a normalised vector on the way out. Norms start at w = 0.
    /// </summary>
    public void Initialize(int seed)
    {
        Random random = new(seed);
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

    private readonly record struct Map(int Offset, int Outputs, int Inputs);
}
