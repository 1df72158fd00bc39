namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>
/// A chat template in the subset of Jinja that such templates use, as the library transformers evaluates it: blocks trimmed, loop controls, <c>tojson</c>
/// without escapes, <c>raise_exception</c>, <c>strftime_now</c>, <c>generation</c> blocks. Templates are not trusted: work, depth and size are bounded.
/// Immutable and safe for concurrent use.
/// </summary>
internal sealed class JinjaTemplate
{
    /// <summary>The longest template that is read, in characters. Published ones have up to about 20,000.</summary>
    public const int MaxLength = 1 << 18;

    private readonly string _source;
    private readonly List<Statement> _body;

    private JinjaTemplate(string source, List<Statement> body) => (_source, _body) = (source, body);

    /// <exception cref="TemplateException">The template is not valid, or not within the subset; says what and where.</exception>
    public static JinjaTemplate Parse(string source)
    {
        if (source.Length > MaxLength)
        {
            throw new TemplateException(TemplateFault.Unsupported, $"the template has {source.Length:N0} characters, expected at most {MaxLength:N0}", 0, 0);
        }

        string lines = source.ReplaceLineEndings("\n");
        lines = lines.EndsWith('\n') ? lines[..^1] : lines;
        return new JinjaTemplate(lines, TemplateParser.Parse(lines));
    }

    /// <summary>The text for some variables.</summary>
    /// <param name="variables">By name.</param>
    /// <param name="budget">Most steps; a step is an evaluation, or a few characters.</param>
    /// <param name="now">The time for <c>strftime_now</c>.</param>
    /// <param name="isStrict">True if printing an undefined value is an error instead of empty text.</param>
    /// <exception cref="TemplateException">The template raised an exception, failed, or did too much.</exception>
    public TemplateText Render(IEnumerable<KeyValuePair<string, object?>> variables, long budget, Func<DateTime> now, bool isStrict = false)
    {
        Scope scope = new(null);
        foreach ((string name, object? value) in variables)
        {
            scope.Set(name, value);
        }

        TemplateTextBuilder output = new();
        Statement.Run(_body, new TemplateContext(_source, scope, budget, now) { IsStrict = isStrict }, output);
        return output.ToText();
    }
}
