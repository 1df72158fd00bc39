using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>Variations of the reference checkpoint as people publish them: other fields of config.json, more tensors or fewer.</summary>
internal static class TinyCheckpoint
{
    public const int Vocabulary = 1024, Hidden = 256;

    /// <summary>The embedding of the reference checkpoint [1024, 256].</summary>
    public static float[] Embedding()
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        return Values(file.Tensors["token_embd.weight"]);
    }

    /// <summary>Some rows of a matrix of that width.</summary>
    public static float[] Rows(float[] matrix, IEnumerable<int> rows) => [.. rows.SelectMany(row => matrix[(row * Hidden)..((row + 1) * Hidden)])];

    /// <summary>The embedding upside down: as a head, it gives each token the logit that the reference gives to the one at the other end.</summary>
    public static float[] Reversed() => Rows(Embedding(), Enumerable.Range(0, Vocabulary).Reverse());

    /// <summary>Writes a checkpoint.</summary>
    /// <param name="directory">Where to.</param>
    /// <param name="config">Changes config.json.</param>
    /// <param name="tensors">Tensors to add, by their name in checkpoints.</param>
    /// <param name="rename">Other names for the reference's tensors.</param>
    public static string Write(
        string directory, Action<JsonObject>? config = null, IReadOnlyDictionary<string, (long[] Shape, float[] Values)>? tensors = null, Func<string, string>? rename = null)
    {
        Directory.CreateDirectory(directory);
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        SafetensorsWriter writer = new();
        foreach (TensorView tensor in file.Tensors.Values)
        {
            string name = GemmaTensors.ToHuggingFace(tensor.Name);
            writer.AddBFloat16(rename?.Invoke(name) ?? name, [.. tensor.Shape], Values(tensor));
        }

        foreach ((string name, (long[] shape, float[] values)) in tensors ?? new Dictionary<string, (long[], float[])>())
        {
            writer.AddBFloat16(name, shape, values);
        }

        writer.Save(Path.Combine(directory, "model.safetensors"));
        JsonObject json = (JsonObject)JsonNode.Parse(File.ReadAllText(TestData.Local("tiny/config.json")))!;
        config?.Invoke(json);
        File.WriteAllText(Path.Combine(directory, "config.json"), json.ToJsonString());
        File.Copy(TestData.Local("tiny/tokenizer.model"), Path.Combine(directory, "tokenizer.model"), overwrite: true);
        return directory;
    }

    /// <summary>Writes a checkpoint whose head is the embedding upside down.</summary>
    public static string WriteUntied(string directory) => Write(
        directory, json => json["tie_word_embeddings"] = false, new Dictionary<string, (long[], float[])> { ["lm_head.weight"] = ([Vocabulary, Hidden], Reversed()) });

    /// <summary>What gemma_pytorch computes for the reference's 96 tokens.</summary>
    public static (int[] Tokens, float[][] Logits) Expected()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        return (file.ReadInt32s("tokens"), [.. file.ReadSingles("expected.logits").Chunk(Vocabulary)]);
    }

    private static float[] Values(TensorView tensor)
    {
        float[] values = new float[tensor.ElementCount];
        for (int row = 0; row < tensor.Rows; row++)
        {
            tensor.DecodeRow(row, values.AsSpan(row * (int)tensor.Columns, (int)tensor.Columns));
        }

        return values;
    }
}
