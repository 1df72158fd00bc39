using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>A template over the fields of a row.</summary>
internal sealed class TaskTemplate
{
    private const long WorkPerRow = 1 << 20;
    private readonly string _member;
    private readonly JinjaTemplate _template;

    private TaskTemplate(string member, string source)
    {
        _member = member;
        try
        {
            // Chat templates lose a line break at their end, those of tasks keep it.
            _template = JinjaTemplate.Parse(source.EndsWith('\n') ? source + "\n" : source);
        }
        catch (TemplateException e)
        {
            throw new FormatException($"The task's member '{member}' is no template: {e.Message}", e);
        }
    }

    /// <summary>A text; null where none is given.</summary>
    public static TaskTemplate? Text(string member, string? source) => source is null ? null : new(member, source);

    /// <summary>Parses an expression: either bare, or a template that writes it as JSON.</summary>
    public static TaskTemplate? Expression(string member, string? source) =>
        source is null ? null : new(member, source.Contains("{%", StringComparison.Ordinal) || source.Contains("{{", StringComparison.Ordinal) ? source : $"{{{{ ({source}) | tojson }}}}");

    /// <exception cref="FormatException">The row lacks what the template prints, or the template fails.</exception>
    public string Render(IEnumerable<KeyValuePair<string, object?>> variables)
    {
        try
        {
            return _template.Render(variables, WorkPerRow, static () => DateTime.UnixEpoch, isStrict: true).Value;
        }
        catch (TemplateException e)
        {
            throw new FormatException($"The task's member '{_member}' cannot be written for a row: {e.Message}", e);
        }
    }

    /// <exception cref="FormatException">The row lacks what the expression needs, or it gives no value.</exception>
    public JsonNode? Evaluate(IEnumerable<KeyValuePair<string, object?>> variables)
    {
        string json = Render(variables);
        try
        {
            return JsonNode.Parse(json);
        }
        catch (JsonException e)
        {
            throw new FormatException($"The task's member '{_member}' gives no value for a row: {e.Message}", e);
        }
    }
}
