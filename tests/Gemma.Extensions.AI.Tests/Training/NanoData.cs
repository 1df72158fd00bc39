using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>Files of gemma2-nano's recipe.</summary>
internal static class NanoData
{
    /// <summary>The vocabulary that the recipe is trained with.</summary>
    public static GemmaTokenizer Vocabulary { get; } = GemmaTokenizer.FromFile(Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.Nano.Recipe", "nano.model"));
}
