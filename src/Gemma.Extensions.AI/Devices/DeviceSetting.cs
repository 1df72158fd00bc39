using System.Globalization;

namespace Gemma.Extensions.AI.Devices;

/// <summary>A parsed <see cref="GemmaOptions.Device"/>.</summary>
/// <param name="IsAuto">A GPU where the model fits one, else the CPU.</param>
/// <param name="UsesCuda">Whether a GPU is looked for.</param>
/// <param name="Index">Which; null: the first suitable one.</param>
internal readonly record struct DeviceSetting(bool IsAuto, bool UsesCuda, int? Index)
{
    /// <summary>Reads <c>auto</c>, <c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>, in any letter case.</summary>
    public static bool TryParse(string? text, out DeviceSetting setting)
    {
        text = text?.Trim().ToLowerInvariant();
        int index = 0;
        bool numbered = text is not null && text.StartsWith("cuda:", StringComparison.Ordinal) && int.TryParse(text.AsSpan(5), NumberStyles.None, CultureInfo.InvariantCulture, out index);
        setting = new DeviceSetting(text == "auto", text is "auto" or "cuda" || numbered, numbered ? index : null);
        return text is "auto" or "cpu" or "cuda" || numbered;
    }
}
