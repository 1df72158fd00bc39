namespace Gemma.Extensions.AI.Nano;

/// <summary>Chooses gemma2-nano.</summary>
public static class NanoGemmaOptionsExtensions
{
    /// <summary>Sets <see cref="GemmaOptions.ModelPath"/> to gemma2-nano.</summary>
    /// <param name="options">Options to change.</param>
    /// <returns>The same options.</returns>
    public static GemmaOptions UseNano(this GemmaOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.ModelPath = NanoModel.Path;
        return options;
    }
}
