using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Finds the tokenizer of a checkpoint directory.</summary>
internal static class TokenizerFiles
{
    /// <summary>The largest known tokenizer.json of Gemma has 33 MB.</summary>
    private const long MaxBytes = 256 << 20;

    /// <summary>From <c>tokenizer.model</c>, or <c>tokenizer.json</c> where only that is present.</summary>
    /// <exception cref="GemmaModelFormatException">There is neither, or it is damaged.</exception>
    public static GemmaTokenizer Open(string directory)
    {
        string model = Path.Combine(directory, "tokenizer.model");
        string json = Path.Combine(directory, "tokenizer.json");
        return File.Exists(model) ? GemmaTokenizer.FromSentencePiece(Read(model), model)
            : File.Exists(json) ? GemmaTokenizer.FromTokenizerJson(Read(json), json)
            : throw new GemmaModelFormatException($"The directory '{directory}' has neither 'tokenizer.model' nor 'tokenizer.json'. The download is incomplete; run 'gemma pull' again.");
    }

    private static byte[] Read(string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        if (stream.Length > MaxBytes)
        {
            throw new GemmaModelFormatException($"'{path}' has {stream.Length:N0} bytes, expected at most {MaxBytes:N0}. It is not a tokenizer; download it again.");
        }

        var bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
