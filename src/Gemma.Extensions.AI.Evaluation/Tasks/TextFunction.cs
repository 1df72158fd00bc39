using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>A function of a task that changes a text step by step.</summary>
internal sealed class TextFunction
{
    private readonly List<Func<string, string>> _steps = [];

    public TextFunction(string name, IEnumerable<TextStep> steps)
    {
        foreach (TextStep step in steps)
        {
            if ((step.Trim ? 1 : 0) + (step.Find is { Length: > 0 } ? 1 : 0) + (step.Pattern is not null ? 1 : 0) != 1)
            {
                throw new FormatException($"A step of the function '{name}' has none, or more than one, of 'trim', 'find' and 'pattern'.");
            }

            if (step.Pattern is { } pattern)
            {
                Regex regex = Patterns.Compile(pattern, name);
                _steps.Add(text => regex.Replace(text, _ => step.With));
            }
            else
            {
                _steps.Add(step.Trim ? static text => text.Trim() : text => text.Replace(step.Find!, step.With, StringComparison.Ordinal));
            }
        }
    }

    public string Apply(string text) => _steps.Aggregate(text, static (current, step) => step(current));
}
