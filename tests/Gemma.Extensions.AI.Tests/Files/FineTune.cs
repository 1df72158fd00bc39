using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Tests.Text;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>The tiny model with further rows and tokens, written as fine-tuning tools write checkpoints.</summary>
internal static class FineTune
{
    /// <summary>Writes configuration, weights and no tokenizer.</summary>
    /// <param name="directory">The directory; exists.</param>
    /// <param name="rows">Rows to add to the embedding: copies of those from 500 on.</param>
    /// <param name="eos">eos_token_id of generation_config.json; null: no such file.</param>
    /// <param name="scale">What the values of the new rows are multiplied with.</param>
    public static void Write(string directory, int rows, int[]? eos = null, float scale = 1)
    {
        using ModelFile tiny = ModelFile.Open(TestData.Local("tiny"));
        SafetensorsWriter writer = new();
        foreach (TensorView tensor in tiny.Tensors.Values)
        {
            bool isEmbedding = tensor.Name == GemmaTensors.Embedding;
            int columns = (int)tensor.Columns;
            float[] values = new float[(tensor.Rows + (isEmbedding ? rows : 0)) * columns];
            for (int row = 0; row < tensor.Rows; row++)
            {
                tensor.DecodeRow(row, values.AsSpan(row * columns, columns));
            }

            for (int i = (int)tensor.Rows * columns; i < values.Length; i++)
            {
                values[i] = scale * values[i - ((int)tensor.Rows - 500) * columns];
            }

            writer.AddBFloat16(GemmaTensors.ToHuggingFace(tensor.Name), tensor.Shape.Count == 1 ? [columns] : [values.Length / columns, columns], values);
        }

        writer.Save(Path.Combine(directory, "model.safetensors"));
        JsonNode config = JsonNode.Parse(File.ReadAllText(TestData.Local("tiny/config.json")))!;
        config["vocab_size"] = 1024 + rows;
        Put(directory, "config.json", config);
        if (eos is not null)
        {
            Put(directory, "generation_config.json", new JsonObject { ["eos_token_id"] = new JsonArray([.. eos.Select(id => JsonValue.Create(id))]), ["top_k"] = 7, ["top_p"] = 0.5, ["temperature"] = 0.25 });
        }
    }

    /// <summary>Writes the tokenizer in some of the files that hold one, with further tokens from id 1024 on; those that begin with &lt;| are special.</summary>
    public static void AddTokenizer(string directory, string[] tokens, params string[] files)
    {
        AddedToken[] added = [.. tokens.Select((token, i) => new AddedToken(1024 + i, token, token.StartsWith("<|", StringComparison.Ordinal), TokenMatching.None))];
        foreach (string file in files)
        {
            switch (file)
            {
                case "tokenizer.model":
                    File.Copy(TestData.Local("tiny/tokenizer.model"), Path.Combine(directory, file), overwrite: true);
                    break;
                case "tokenizer.json":
                    File.WriteAllBytes(Path.Combine(directory, file), AddedTokenTests.WithAdded(added));
                    break;
                case "added_tokens.json":
                    Put(directory, file, new JsonObject(added.Select(token => KeyValuePair.Create(token.Content, (JsonNode?)token.Id))));
                    break;
                case "tokenizer_config.json":
                    Put(directory, file, new JsonObject { ["added_tokens_decoder"] = Decoder(added) });
                    break;
                default:
                    throw new ArgumentException(file);
            }
        }
    }

    public static JsonObject Decoder(IEnumerable<AddedToken> tokens) => new(tokens.Select(token => KeyValuePair.Create(token.Id.ToString(), (JsonNode?)new JsonObject
    {
        ["content"] = token.Content, ["special"] = token.IsSpecial, ["lstrip"] = token.Matching.HasFlag(TokenMatching.LeftStrip), ["rstrip"] = token.Matching.HasFlag(TokenMatching.RightStrip),
        ["normalized"] = token.Matching.HasFlag(TokenMatching.Normalized), ["single_word"] = token.Matching.HasFlag(TokenMatching.SingleWord),
    })));

    public static void Put(string directory, string file, JsonNode json) => File.WriteAllText(Path.Combine(directory, file), json.ToJsonString());
}
