using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>Regular expressions of a task: they come from files, so none may run for ever.</summary>
internal static class Patterns
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(2);

    /// <exception cref="FormatException">The pattern is no regular expression.</exception>
    public static Regex Compile(string pattern, string owner)
    {
        try
        {
            return new Regex(pattern, RegexOptions.CultureInvariant, s_limit);
        }
        catch (ArgumentException e)
        {
            throw new FormatException($"The pattern '{pattern}' of '{owner}' is no regular expression: {e.Message}", e);
        }
    }
}
