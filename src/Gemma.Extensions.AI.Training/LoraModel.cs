using System.Globalization;
using System.Numerics.Tensors;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>Shape of an adapter to train.</summary>
/// <param name="Rank">r.</param>
/// <param name="Alpha">The update is alpha / r · B · A.</param>
/// <param name="Targets">Linear maps of a layer by the names of their modules: <c>q_proj</c>, …</param>
internal sealed record LoraOptions(int Rank, float Alpha, IReadOnlyList<string> Targets)
{
    /// <summary>The projections of a layer, by the names of their modules.</summary>
    public static IReadOnlyList<string> AllTargets { get; } = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// <exception cref="ArgumentException">A number is out of range, or a target is unknown.</exception>
    public void Validate()
    {
        if (Rank is < 1 or > 1024 || !float.IsFinite(Alpha) || Alpha <= 0)
        {
            throw new ArgumentException($"The adapter's rank is {Rank} and its alpha {Alpha}; expected 1 to 1,024, and more than 0.");
        }

        if (Targets.Count == 0 || Targets.FirstOrDefault(target => !AllTargets.Contains(target)) is { } || Targets.Distinct().Count() != Targets.Count)
        {
            throw new ArgumentException($"The adapter's targets are '{string.Join(", ", Targets)}'; expected some of {string.Join(", ", AllTargets)}, each once.");
        }
    }
}

/// <summary>
/// A low-rank adapter over a model that is not changed: W + s·B·A with s = alpha / rank. The base stays in its file, in whatever format; its matrices are
/// decoded a tile at a time where they are needed, only the embedding, a head of its own and the norms are kept as float32. Disposing closes the base.
/// </summary>
internal sealed unsafe class LoraModel : TrainedWeights, IDisposable
{
    /// <summary>Elements of a decoded tile: stays in the second-level cache.</summary>
    private const int TileElements = 1 << 18;

    [ThreadStatic]
    private static FloatBuffer? t_tile, t_inner;

    private readonly ModelFile _base;
    private readonly LoraOptions _options;
    private readonly float _scale;
    private readonly Dictionary<string, FloatBuffer> _tensors = [];
    private readonly Part[][] _maps;

    /// <summary>Takes ownership of the base.</summary>
    public LoraModel(ModelFile file, LoraOptions options, int seed)
        : base(file.Config, Factors(file.Config, options))
    {
        (_base, _options, _scale) = (file, options, options.Alpha / options.Rank);
        foreach (string name in (ReadOnlySpan<string>)[GemmaTensors.Embedding, GemmaTensors.LogitsOf(file.Config)])
        {
            _tensors[name] = _tensors.GetValueOrDefault(name) ?? Decode(file.Tensors[name]);
        }

        foreach (TensorView norm in file.Tensors.Values.Where(tensor => tensor.Shape.Count == 1))
        {
            FloatBuffer values = Decode(norm);
            TensorPrimitives.Subtract(values.Span, file.NormsIncludeOne ? 1f : 0f, values.Span);
            _tensors.Add(norm.Name, values);
        }

        LayerMap[] kinds = Enum.GetValues<LayerMap>();
        _maps = [.. Enumerable.Range(0, file.Config.LayerCount).SelectMany(layer => kinds.Select(kind => Parts(layer, kind)))];
        Initialize(seed);
    }

    public override string Kind => "adapter";

    /// <summary>Bytes of float32 that the base takes beside its file: the embedding, a head of its own and the norms.</summary>
    public static long BaseBytes(GemmaConfig config) => 4L * config.HiddenSize * ((config.Head == OutputHead.Own ? 2L : 1) * config.VocabularySize + 4L * config.LayerCount + 1);

    /// <summary>Trained parameters of an adapter.</summary>
    public static long ParameterCount(GemmaConfig config, LoraOptions options) => Factors(config, options).Sum(f => f.Rows * f.Columns);

    public override float* Tensor(string name) => _tensors[name].Pointer;

    public override float* Gradient(FloatBuffer gradient, string name) => null;

    public override void Forward(int layer, LayerMap map, int tokens, float* x, float* y)
    {
        (int inputs, int outputs) = Size(map);
        foreach (Part part in _maps[LayerMaps.Index(layer, map)])
        {
            FloatBuffer tile = Tile(inputs, out int tileRows);
            for (int first = 0; first < part.Outputs; first += tileRows)
            {
                int rows = Math.Min(tileRows, part.Outputs - first);
                part.Weight.Format.Decode(part.Weight.Data + first * part.Weight.RowBytes, tile.Pointer, (long)rows * inputs);
                Gemm.NT(tokens, rows, inputs, x, inputs, tile.Pointer, inputs, y + part.FirstOutput + first, outputs, accumulate: false);
            }

            if (part.A is not null)
            {
                float* inner = Inner(tokens, x, inputs, part);
                Gemm.NT(tokens, part.Outputs, _options.Rank, inner, _options.Rank, Weights.Pointer + part.B!.Offset, _options.Rank, y + part.FirstOutput, outputs, accumulate: true);
            }
        }
    }

    /// <summary>With t = s·x·Aᵀ: dB += dyᵀ·t, dt = s·dy·B, dA += dtᵀ·x, dx = dy·W + dt·A.</summary>
    public override void Backward(int layer, LayerMap map, int tokens, float* x, float* dy, float* dx, FloatBuffer gradient)
    {
        (int inputs, int outputs) = Size(map);
        int rank = _options.Rank;
        bool started = false;
        foreach (Part part in _maps[LayerMaps.Index(layer, map)])
        {
            float* dPart = dy + part.FirstOutput;
            FloatBuffer tile = Tile(inputs, out int tileRows);
            for (int first = 0; first < part.Outputs; first += tileRows)
            {
                int rows = Math.Min(tileRows, part.Outputs - first);
                part.Weight.Format.Decode(part.Weight.Data + first * part.Weight.RowBytes, tile.Pointer, (long)rows * inputs);
                Gemm.NN(tokens, inputs, rows, dPart + first, outputs, tile.Pointer, inputs, dx, inputs, accumulate: started);
                started = true;
            }

            if (part.A is not null)
            {
                float* a = Weights.Pointer + part.A.Offset, b = Weights.Pointer + part.B!.Offset, inner = Inner(tokens, x, inputs, part);
                Gemm.TN(part.Outputs, rank, tokens, dPart, outputs, inner, rank, gradient.Pointer + part.B.Offset, rank, accumulate: true);
                Gemm.NN(tokens, rank, part.Outputs, dPart, outputs, b, rank, inner, rank, accumulate: false);
                Scale(inner, tokens * rank);
                Gemm.TN(rank, inputs, tokens, inner, rank, x, inputs, gradient.Pointer + part.A.Offset, inputs, accumulate: true);
                Gemm.NN(tokens, inputs, rank, inner, rank, a, inputs, dx, inputs, accumulate: true);
            }
        }
    }

    /// <summary>Writes what PEFT writes and reads: adapter_config.json and adapter_model.safetensors.</summary>
    public override void Save(string directory, bool bfloat16, ReadOnlySpan<byte> tokenizer, IReadOnlyDictionary<string, byte[]?>? beside = null)
    {
        SafetensorsWriter writer = new();
        writer.Metadata["format"] = "pt";
        foreach (Parameter parameter in Parameters)
        {
            string weight = parameter.Name[..^".lora_a".Length];
            string name = $"base_model.model.{PeftConfig.ModuleOf(weight)}.lora_{char.ToUpperInvariant(parameter.Name[^1])}.weight";
            float[] values = Slice(Weights, parameter).ToArray();
            if (bfloat16)
            {
                writer.AddBFloat16(name, [parameter.Rows, parameter.Columns], values);
            }
            else
            {
                writer.AddSingles(name, [parameter.Rows, parameter.Columns], values);
            }
        }

        FileSet files = new(directory);
        files.Add(PeftConfig.FileName, JsonSerializer.SerializeToUtf8Bytes(Describe(), new JsonSerializerOptions { WriteIndented = true }));
        files.Save(PeftConfig.WeightsName, writer.Save);
    }

    /// <summary>Refuses to go on with an adapter that a run of other options wrote, where there is one in the directory.</summary>
    /// <exception cref="ArgumentException">The options differ; the message has both.</exception>
    public void CheckResumed(string directory)
    {
        string path = Path.Combine(directory, PeftConfig.FileName);
        if (!File.Exists(path))
        {
            return;
        }

        using JsonFile json = JsonFile.Open(path);
        string found = Text(json.GetInt32("r"), json.GetNumber("lora_alpha"), json.GetStrings("target_modules"), json.GetString("base_model_name_or_path"));
        string wanted = Text(_options.Rank, _options.Alpha, _options.Targets, _base.Name);
        if (found != wanted)
        {
            throw new ArgumentException($"'{directory}' holds an adapter of {found}, but this run is for {wanted}. Give the same options to go on with it, or another output directory.");
        }

        static string Text(int? rank, double? alpha, IEnumerable<string>? targets, string? name) =>
            string.Create(CultureInfo.InvariantCulture, $"rank {rank}, alpha {(float?)alpha}, targets {string.Join(", ", targets ?? [])}, base '{name}'");
    }

    public void Dispose() => _base.Dispose();

    private JsonObject Describe() => new()
    {
        ["peft_type"] = "LORA",
        ["task_type"] = "CAUSAL_LM",
        ["base_model_name_or_path"] = _base.Name,
        ["inference_mode"] = true,
        ["r"] = _options.Rank,
        ["lora_alpha"] = double.Parse(_options.Alpha.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture),
        ["lora_dropout"] = 0.0,
        ["target_modules"] = new JsonArray([.. _options.Targets.Select(target => JsonValue.Create(target))]),
        ["bias"] = "none",
        ["fan_in_fan_out"] = false,
        ["use_rslora"] = false,
        ["use_dora"] = false,
        ["init_lora_weights"] = true,
        ["modules_to_save"] = null,
        ["rank_pattern"] = new JsonObject(),
        ["alpha_pattern"] = new JsonObject(),
    };

    /// <summary>As PEFT starts: A uniform within ±1/√inputs, B zero, so that training begins with the base's own answers.</summary>
    private void Initialize(int seed)
    {
        Random random = new(seed);
        foreach (Parameter parameter in Parameters.Where(p => p.Name.EndsWith('a')))
        {
            double bound = 1 / Math.Sqrt(parameter.Columns);
            foreach (ref float w in Slice(Weights, parameter))
            {
                w = (float)((2 * random.NextDouble() - 1) * bound);
            }
        }
    }

    private Part[] Parts(int layer, LayerMap map)
    {
        List<Part> parts = new();
        int first = 0;
        foreach ((string part, int outputs) in Describe(_base.Config, map).Weights)
        {
            string name = GemmaTensors.Layer(layer, part);
            bool trained = IsTarget(name, _options);
            parts.Add(new Part(_base.Tensors[name], first, outputs, trained ? this[name + ".lora_a"] : null, trained ? this[name + ".lora_b"] : null));
            first += outputs;
        }

        return [.. parts];
    }

    private static IEnumerable<(string Name, long Rows, long Columns)> Factors(GemmaConfig config, LoraOptions options)
    {
        options.Validate();
        foreach ((string name, long[] shape) in GemmaTensors.Expected(config).Where(t => IsTarget(t.Name, options)))
        {
            yield return (name + ".lora_a", options.Rank, shape[1]);
            yield return (name + ".lora_b", shape[0], options.Rank);
        }
    }

    private static bool IsTarget(string name, LoraOptions options) =>
        name.StartsWith("blk.", StringComparison.Ordinal) && options.Targets.Any(target => PeftConfig.ModuleOf(name).EndsWith("." + target, StringComparison.Ordinal));

    private (int Inputs, int Outputs) Size(LayerMap map)
    {
        GemmaConfig c = Config;
        return map switch
        {
            LayerMap.Qkv => (c.HiddenSize, c.QuerySize + 2 * c.KvSize),
            LayerMap.AttentionOutput => (c.QuerySize, c.HiddenSize),
            LayerMap.GateUp => (c.HiddenSize, 2 * c.FeedForwardSize),
            _ => (c.FeedForwardSize, c.HiddenSize),
        };
    }

    /// <summary>s · x · Aᵀ, [tokens, rank].</summary>
    private float* Inner(int tokens, float* x, int inputs, Part part)
    {
        if (t_inner is null || t_inner.Length < tokens * _options.Rank)
        {
            t_inner = new FloatBuffer((long)tokens * _options.Rank);
        }

        Gemm.NT(tokens, _options.Rank, inputs, x, inputs, Weights.Pointer + part.A!.Offset, inputs, t_inner.Pointer, _options.Rank, accumulate: false);
        Scale(t_inner.Pointer, tokens * _options.Rank);
        return t_inner.Pointer;
    }

    private void Scale(float* values, int count) => TensorPrimitives.Multiply(new ReadOnlySpan<float>(values, count), _scale, new Span<float>(values, count));

    private static FloatBuffer Tile(int inputs, out int rows)
    {
        rows = Math.Max(32, TileElements / inputs / 32 * 32);
        return t_tile is not null && t_tile.Length >= rows * inputs ? t_tile : t_tile = new FloatBuffer((long)rows * inputs);
    }

    private static FloatBuffer Decode(TensorView tensor)
    {
        FloatBuffer values = new(tensor.ElementCount);
        tensor.Format.Decode(tensor.Data, values.Pointer, tensor.ElementCount);
        return values;
    }

    private sealed record Part(TensorView Weight, int FirstOutput, int Outputs, Parameter? A, Parameter? B);
}
