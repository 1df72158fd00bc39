using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Builds the tokenizer from the vocabulary in GGUF metadata.</summary>
internal static class GgufTokenizer
{
    public static GemmaTokenizer Create(GgufMetadata metadata) => throw new NotSupportedException("The tokenizer is not there yet.");
}
