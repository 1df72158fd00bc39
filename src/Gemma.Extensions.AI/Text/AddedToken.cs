using System.Text.Json;

namespace Gemma.Extensions.AI.Text;

/// <summary>A token as the files of Hugging Face add or rename it.</summary>
/// <param name="Id">Its row.</param>
/// <param name="Content">Its text, U+2581 for a space.</param>
/// <param name="IsSpecial">Whether it is structure rather than text.</param>
/// <param name="Matching">How it is found.</param>
internal readonly record struct AddedToken(int Id, string Content, bool IsSpecial, TokenMatching Matching)
{
    /// <summary>Reads <c>{content, special, lstrip, rstrip, normalized, single_word}</c>.</summary>
    /// <param name="json">The object.</param>
    /// <param name="id">Its id; null: the object holds it.</param>
    /// <param name="normalizedUnlessSpecial">What holds where the object does not say whether the token is matched in normalised text: true, unless it is special; or false.</param>
    /// <exception cref="FormatException">A field is missing or of another type.</exception>
    public static AddedToken Read(JsonElement json, int? id, bool normalizedUnlessSpecial)
    {
        if (json.ValueKind != JsonValueKind.Object)
        {
            throw new FormatException($"an added token is a JSON {json.ValueKind}, expected an object");
        }

        string content = json.TryGetProperty("content", out JsonElement text) && text.ValueKind == JsonValueKind.String
            ? Spell(text.GetString()!) : throw new FormatException("an added token has no 'content'");
        int row = id ?? (json.TryGetProperty("id", out JsonElement number) && number.ValueKind == JsonValueKind.Number && number.TryGetInt32(out int value)
            ? value : throw new FormatException($"the added token '{content}' has no 'id'"));
        bool special = Flag(json, "special", false);
        TokenMatching matching = ReadMatching(json);
        if (!json.TryGetProperty("normalized", out _) && normalizedUnlessSpecial && !special)
        {
            matching |= TokenMatching.Normalized;
        }

        return new AddedToken(row, content, special, matching);
    }

    /// <summary>The flags of an object that are set.</summary>
    /// <exception cref="FormatException">One is neither true nor false.</exception>
    public static TokenMatching ReadMatching(JsonElement json) =>
        (Flag(json, "lstrip", false) ? TokenMatching.LeftStrip : 0)
        | (Flag(json, "rstrip", false) ? TokenMatching.RightStrip : 0)
        | (Flag(json, "normalized", false) ? TokenMatching.Normalized : 0)
        | (Flag(json, "single_word", false) ? TokenMatching.SingleWord : 0);

    /// <summary>Some files spell a space in added tokens as a space, others as U+2581: one spelling for both.</summary>
    public static string Spell(string piece) => piece.Replace(' ', '\u2581');

    public static bool Flag(JsonElement json, string name, bool missing) => !json.TryGetProperty(name, out JsonElement flag) ? missing : flag.ValueKind switch
    {
        JsonValueKind.True => true,
        JsonValueKind.False => false,
        JsonValueKind.Null => missing,
        _ => throw new FormatException($"'{name}' of an added token is a JSON {flag.ValueKind}, expected true or false"),
    };
}
