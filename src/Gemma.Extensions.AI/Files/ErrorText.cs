namespace Gemma.Extensions.AI.Files;

/// <summary>Text from files that are not trusted, fit for one line of an error message.</summary>
internal static class ErrorText
{
    private const int MaxLength = 200;

    /// <summary>Without control characters, and cut where it is long.</summary>
    public static string Printable(string text)
    {
        string clipped = text.Length <= MaxLength ? text : text[..MaxLength] + "…";
        return clipped.Any(char.IsControl) ? string.Concat(clipped.Select(c => char.IsControl(c) ? '?' : c)) : clipped;
    }
}
