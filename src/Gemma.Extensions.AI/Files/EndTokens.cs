using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>The one set of tokens that end a reply. What the engine stops at and what <c>gemma convert</c> writes is this.</summary>
internal static class EndTokens
{
    /// <summary>
    /// Where GGUF keeps them: llama.cpp ends a reply at each of these tokens, and at those that it knows by name. The last three are meant for filling in
    /// the middle; they take ids only where a checkpoint has more than three that have no such name.
    /// </summary>
    private static readonly string[] s_keys = [.. new[] { "eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep" }.Select(name => $"tokenizer.ggml.{name}_token_id")];

    /// <summary>Control tokens that end a reply in whatever model has them, as llama.cpp has it too. Gemma's own <c>&lt;/s&gt;</c> is no control token but HTML.</summary>
    private static readonly HashSet<string> s_names =
    [
        "<eos>", "<end_of_turn>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|endoftext|>", "<|end_of_text|>", "<end_of_utterance>", "<EOT>", "[EOT]", "[EOS]", "</s>",
    ];

    /// <summary>All that the checkpoint's files name, the tokenizer's eos, and what ends a reply by its name; each once, in ascending order.</summary>
    public static int[] Of(ModelFile file, GemmaTokenizer tokenizer) =>
        [.. file.GenerationDefaults.StopTokens.Append(tokenizer.EosId).Concat(Named(tokenizer)).Where(id => id >= 0 && id < file.Config.VocabularySize).Distinct().Order()];

    /// <summary>The ids of GGUF metadata.</summary>
    public static int[] Read(GgufMetadata metadata) => [.. s_keys.Select(metadata.GetInt32).OfType<int>().Where(id => id >= 0).Distinct()];

    /// <summary>
    /// Writes them: the tokenizer's eos as eos, Gemma's end of turn as the end of a turn, then those that no name tells. What has such a name needs no place:
    /// llama.cpp finds it as we do.
    /// </summary>
    /// <exception cref="GemmaModelFormatException">There are more than GGUF has places for.</exception>
    public static void Write(GgufWriter writer, ModelFile file, GemmaTokenizer tokenizer)
    {
        int[] all = Of(file, tokenizer), named = [.. Named(tokenizer)];
        int[] ids = [.. new[] { tokenizer.EosId, tokenizer.EndOfTurnId }.Where(id => id >= 0).Concat(all.Except(named)).Distinct()];
        if (ids.Length > s_keys.Length)
        {
            throw new GemmaModelFormatException(
                $"'{file.Path}' ends replies at {all.Length:N0} tokens ({string.Join(", ", all)}), but GGUF has places for {s_keys.Length}. Leave the needless ones out of 'eos_token_id' in generation_config.json and config.json.");
        }

        for (int i = 0; i < ids.Length; i++)
        {
            writer.Set(s_keys[i], (uint)ids[i]);
        }
    }

    private static IEnumerable<int> Named(GemmaTokenizer tokenizer) =>
        Enumerable.Range(0, tokenizer.VocabularySize).Where(id => tokenizer.GetKind(id) == TokenKind.Control && s_names.Contains(tokenizer.GetPiece(id)));
}
