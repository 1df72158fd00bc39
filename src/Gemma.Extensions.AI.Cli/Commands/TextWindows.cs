using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>A text cut into windows that do not overlap, each beginning with bos.</summary>
internal static class TextWindows
{
    public const int DefaultContext = 512;

    /// <summary>Tokens of a window, the bos included.</summary>
    /// <exception cref="ArgumentException">The window does not fit the model.</exception>
    public static int Length(int? context, int modelContext)
    {
        int window = context ?? Math.Min(DefaultContext, modelContext);
        return window >= 2 && window <= modelContext ? window : throw new ArgumentException($"--context is {window:N0}, expected 2 to {modelContext:N0} tokens.");
    }

    /// <exception cref="ArgumentException">The window does not fit the model, or the text is empty.</exception>
    public static List<int[]> Read(GemmaTokenizer tokenizer, string path, int? context, int modelContext, int? most)
    {
        int window = Length(context, modelContext);
        if (most < 1)
        {
            throw new ArgumentException($"--windows is {most}, expected at least 1.");
        }

        List<int> tokens = [];
        tokenizer.Encode(File.ReadAllText(path), tokens, matchSpecial: false);
        List<int[]> windows = [];
        for (int start = 0; start < tokens.Count && windows.Count < (most ?? int.MaxValue); start += window - 1)
        {
            windows.Add([tokenizer.BosId, .. tokens.GetRange(start, Math.Min(window - 1, tokens.Count - start))]);
        }

        return windows.Count > 0 ? windows : throw new ArgumentException($"'{path}' holds no text.");
    }
}
