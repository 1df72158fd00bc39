using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Finds the tokenizer of a checkpoint directory.</summary>
internal static class TokenizerFiles
{
    /// <summary>From <c>tokenizer.model</c>, or <c>tokenizer.json</c> where only that is present.</summary>
    /// <exception cref="GemmaModelFormatException">There is neither, or it is damaged.</exception>
    public static GemmaTokenizer Open(string directory)
    {
        string model = Path.Combine(directory, "tokenizer.model");
        string json = Path.Combine(directory, "tokenizer.json");
        return File.Exists(model) || File.Exists(json)
            ? throw new NotSupportedException("The tokenizer is not there yet.")
            : throw new GemmaModelFormatException($"The directory '{directory}' has neither 'tokenizer.model' nor 'tokenizer.json'. The download is incomplete; run 'gemma pull' again.");
    }
}
