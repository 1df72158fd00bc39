using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>A low-rank adapter of random numbers for every layer of a model, which it writes in both formats and merges by itself, in double precision.</summary>
internal sealed class RandomAdapter
{
    public const int Alpha = 6;

    /// <summary>PEFT's name of a module, its path in a layer, and the canonical name.</summary>
    private static readonly (string Name, string Module, string Canonical)[] s_targets =
    [
        ("q_proj", "self_attn.q_proj", "attn_q"), ("k_proj", "self_attn.k_proj", "attn_k"), ("v_proj", "self_attn.v_proj", "attn_v"), ("o_proj", "self_attn.o_proj", "attn_output"),
        ("gate_proj", "mlp.gate_proj", "ffn_gate"), ("up_proj", "mlp.up_proj", "ffn_up"), ("down_proj", "mlp.down_proj", "ffn_down"),
    ];

    private readonly string[] _targets;

    public RandomAdapter(GemmaConfig config, int seed = 1, int rank = 4, string[]? targets = null, Func<string, int>? rankOf = null)
    {
        _targets = targets ?? [.. s_targets.Select(t => t.Name)];
        Rank = rank;
        Random random = new(seed);
        Dictionary<string, long[]> shapes = GemmaTensors.Expected(config).ToDictionary(t => t.Name, t => t.Shape);
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            foreach ((string name, string module, string canonical) in s_targets.Where(t => _targets.Contains(t.Name)))
            {
                long[] shape = shapes[$"blk.{layer}.{canonical}.weight"];
                int r = rankOf?.Invoke($"model.layers.{layer}.{module}") ?? rank;
                Factors.Add(new Factor($"model.layers.{layer}.{module}", $"blk.{layer}.{canonical}.weight", r, (int)shape[0], (int)shape[1],
                    Values(r * (int)shape[1], 1 / Math.Sqrt(shape[1])), Values((int)shape[0] * r, 1 / Math.Sqrt(r))));
            }
        }

        float[] Values(int count, double scale) => [.. Enumerable.Range(0, count).Select(_ => (float)((random.NextDouble() * 2 - 1) * scale))];
    }

    public int Rank { get; }

    public List<Factor> Factors { get; } = [];

    public static IEnumerable<string> Targets => s_targets.Select(t => t.Name);

    /// <summary>Writes what PEFT writes.</summary>
    public string WritePeft(string directory, Action<JsonObject>? change = null, Action<SafetensorsWriter>? add = null, Func<Factor, bool>? keep = null)
    {
        Directory.CreateDirectory(directory);
        JsonObject json = new()
        {
            ["alpha_pattern"] = new JsonObject(),
            ["auto_mapping"] = null,
            ["base_model_name_or_path"] = "google/gemma-2-2b-it",
            ["bias"] = "none",
            ["eva_config"] = null,
            ["exclude_modules"] = null,
            ["fan_in_fan_out"] = false,
            ["inference_mode"] = true,
            ["init_lora_weights"] = true,
            ["layer_replication"] = null,
            ["layers_pattern"] = null,
            ["layers_to_transform"] = null,
            ["loftq_config"] = new JsonObject(),
            ["lora_alpha"] = Alpha,
            ["lora_bias"] = false,
            ["lora_dropout"] = 0.05,
            ["megatron_config"] = null,
            ["megatron_core"] = "megatron.core",
            ["modules_to_save"] = null,
            ["peft_type"] = "LORA",
            ["r"] = Rank,
            ["rank_pattern"] = new JsonObject(),
            ["revision"] = null,
            ["target_modules"] = new JsonArray([.. _targets.Select(t => JsonValue.Create(t))]),
            ["task_type"] = "CAUSAL_LM",
            ["use_dora"] = false,
            ["use_rslora"] = false,
        };
        change?.Invoke(json);
        File.WriteAllText(Path.Combine(directory, "adapter_config.json"), json.ToJsonString());
        SafetensorsWriter writer = new();
        foreach (Factor factor in Factors.Where(f => keep?.Invoke(f) != false))
        {
            writer.AddSingles($"base_model.model.{factor.Module}.lora_A.weight", [factor.Rank, factor.Inputs], factor.A);
            writer.AddSingles($"base_model.model.{factor.Module}.lora_B.weight", [factor.Outputs, factor.Rank], factor.B);
        }

        add?.Invoke(writer);
        writer.Save(Path.Combine(directory, "adapter_model.safetensors"));
        return directory;
    }

    /// <summary>Writes what llama.cpp's converter writes.</summary>
    public unsafe string WriteGguf(string path, Action<GgufWriter>? change = null, float alpha = Alpha, TensorType type = TensorType.F32)
    {
        GgufWriter writer = new();
        writer.Set("general.architecture", "gemma2");
        writer.Set("general.type", "adapter");
        writer.Set("adapter.type", "lora");
        writer.Set("adapter.lora.alpha", alpha);
        foreach (Factor factor in Factors)
        {
            Add(factor.Weight + ".lora_a", factor.A, factor.Rank, factor.Inputs);
            Add(factor.Weight + ".lora_b", factor.B, factor.Outputs, factor.Rank);
        }

        change?.Invoke(writer);
        writer.Save(path);
        return path;

        void Add(string name, float[] values, int rows, int columns)
        {
            BlockFormat format = columns % BlockFormat.Get(type).BlockElements == 0 ? BlockFormat.Get(type) : BlockFormat.Get(TensorType.F16);
            byte[] bytes = new byte[format.ByteLength(values.Length)];
            fixed (float* source = values)
            fixed (byte* target = bytes)
            {
                format.Encode(source, target, values.Length, null);
            }

            writer.Add(name, format, [rows, columns], stream => stream.Write(bytes));
        }
    }

    /// <summary>The base with the adapter merged, as a checkpoint in float32. The scale is the caller's word, not read from a file.</summary>
    public string WriteMerged(ModelFile model, string directory, Func<Factor, double>? scale = null)
    {
        Directory.CreateDirectory(directory);
        SafetensorsWriter writer = new();
        foreach (TensorView tensor in model.Tensors.Values)
        {
            Factor? factor = Factors.FirstOrDefault(f => f.Weight == tensor.Name);
            float[] values = new float[tensor.ElementCount];
            for (int row = 0; row < tensor.Rows; row++)
            {
                Span<float> target = values.AsSpan(row * (int)tensor.Columns, (int)tensor.Columns);
                tensor.DecodeRow(row, target);
                if (tensor.Shape.Count == 1 && model.NormsIncludeOne)
                {
                    System.Numerics.Tensors.TensorPrimitives.Subtract(target, 1f, target);
                }

                for (int i = 0; factor is not null && i < target.Length; i++)
                {
                    double sum = 0;
                    for (int j = 0; j < factor.Rank; j++)
                    {
                        sum += (double)factor.B[row * factor.Rank + j] * factor.A[j * factor.Inputs + i];
                    }

                    target[i] += (float)((scale?.Invoke(factor) ?? (double)Alpha / factor.Rank) * sum);
                }
            }

            writer.AddSingles(GemmaTensors.ToHuggingFace(tensor.Name), [.. tensor.Shape], values);
        }

        writer.Save(Path.Combine(directory, "model.safetensors"));
        foreach (string name in new[] { "config.json", "tokenizer.model" })
        {
            File.Copy(TestData.Local($"tiny/{name}"), Path.Combine(directory, name), overwrite: true);
        }

        return directory;
    }

    public sealed record Factor(string Module, string Weight, int Rank, int Outputs, int Inputs, float[] A, float[] B);
}
