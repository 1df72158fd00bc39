using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>An input that may be a text, texts, token ids or lists of token ids. One of both is there.</summary>
internal sealed class TextsOrTokens
{
    public IReadOnlyList<string>? Texts { get; private init; }

    public IReadOnlyList<IReadOnlyList<int>>? Tokens { get; private init; }

    public int Count => Texts?.Count ?? Tokens!.Count;

    public static TextsOrTokens Read(JsonElement? input, string name)
    {
        switch (input)
        {
            case { ValueKind: JsonValueKind.String } text:
                return new() { Texts = [text.GetString()!] };
            case { ValueKind: JsonValueKind.Array } list when list.GetArrayLength() > 0:
                JsonElement[] items = [.. list.EnumerateArray()];
                return items[0].ValueKind switch
                {
                    JsonValueKind.String => new() { Texts = [.. items.Select(item => item.ValueKind == JsonValueKind.String ? item.GetString()! : throw Mixed(name, item))] },
                    JsonValueKind.Number => new() { Tokens = [ReadIds(list, name)] },
                    JsonValueKind.Array => new() { Tokens = [.. items.Select(item => item.ValueKind == JsonValueKind.Array ? ReadIds(item, name) : throw Mixed(name, item))] },
                    _ => throw Mixed(name, items[0]),
                };
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"'{name}' is {(input is { ValueKind: JsonValueKind.Array } ? "empty" : ContentParts.Describe(input))}, expected a text, texts, or token ids.", name);
        }
    }

    /// <summary>Ids of tokens; that they are in the vocabulary is for the model to say.</summary>
    public static int[] ReadIds(JsonElement list, string name)
    {
        int[] ids = [.. list.EnumerateArray().Select(item => item.ValueKind == JsonValueKind.Number && item.TryGetInt32(out int id) && id >= 0 ? id : throw Mixed(name, item))];
        return ids.Length > 0 ? ids : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'{name}' has an empty list of token ids.", name);
    }

    private static ServerErrorException Mixed(string name, JsonElement found) =>
        new(ErrorKind.InvalidRequest, $"'{name}' holds {ContentParts.Describe(found)}, expected a text, texts, token ids (whole numbers from 0), or lists of token ids.", name);
}
