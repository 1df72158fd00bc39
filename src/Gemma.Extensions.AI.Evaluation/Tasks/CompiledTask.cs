using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Evaluation.Metrics;
using Gemma.Extensions.AI.Text.Templates;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>A row as the model is asked.</summary>
/// <param name="Contexts">What stands before the continuations: one text for all, or one for each.</param>
/// <param name="Continuations">Continuations to choose from, the delimiter before them included; empty where an answer is written.</param>
/// <param name="Choices">The choices without it, whose lengths count.</param>
/// <param name="Answer">What is right.</param>
/// <param name="Group">The row's value of the field that results are grouped by.</param>
/// <param name="Tools">Functions that are offered.</param>
internal sealed record Question(IReadOnlyList<string> Contexts, IReadOnlyList<string> Continuations, IReadOnlyList<string> Choices, JsonNode? Answer, string? Group, IReadOnlyList<AITool> Tools);

/// <summary>A task whose templates and patterns were checked.</summary>
internal sealed class CompiledTask
{
    private readonly TaskTemplate? _prompt, _prompts, _choices, _answer, _target, _description, _tools;
    private readonly Dictionary<string, TemplateFunction> _functions = new(StringComparer.Ordinal);

    /// <exception cref="FormatException">The task cannot be; says why.</exception>
    public CompiledTask(EvaluationTask task)
    {
        Task = task;
        _prompt = TaskTemplate.Text("prompt", task.Prompt);
        _prompts = TaskTemplate.Expression("prompts", task.Prompts);
        _choices = TaskTemplate.Expression("choices", task.Choices);
        _answer = TaskTemplate.Expression("answer", task.Answer);
        _target = TaskTemplate.Text("target", task.Target);
        _description = TaskTemplate.Text("description", task.Description);
        _tools = TaskTemplate.Expression("tools", task.Tools);
        foreach ((string name, IReadOnlyList<TextStep> steps) in task.Functions)
        {
            TextFunction function = new(name, steps);
            _functions[name] = call => new TemplateText(function.Apply(call.RequireText(0, "text").Value));
        }

        Comparison = new AnswerComparison(task);
        Check();
    }

    public EvaluationTask Task { get; }

    public AnswerComparison Comparison { get; }

    /// <summary>The question of a row, with examples before it.</summary>
    /// <param name="row">The row.</param>
    /// <param name="examples">Rows of the examples, in order.</param>
    /// <param name="delimiter">Between prompt and answer.</param>
    /// <exception cref="FormatException">The row does not have what the task needs.</exception>
    public Question Ask(JsonObject row, IEnumerable<JsonObject> examples, string delimiter)
    {
        Dictionary<string, object?> variables = TaskRow.Variables(row, _functions);
        string before = (_description?.Render(variables) ?? "") + string.Concat(examples.Select(Example));
        string[] contexts = [.. (_prompts is null ? [_prompt!.Render(variables)] : Texts(_prompts.Evaluate(variables), "prompts")).Select(prompt => before + prompt)];
        string[] choices = Task.Kind != EvaluationKind.Choices ? [] : _prompts is null ? Texts(_choices!.Evaluate(variables), "choices") : [.. contexts.Select(_ => _target!.Render(variables))];
        string? group = Task.GroupBy is { } field ? row[field]?.ToString() ?? throw new FormatException($"A row has no field '{field}', by which the results are listed.") : null;
        return new Question(contexts, [.. choices.Select(choice => delimiter + choice)], choices, _answer?.Evaluate(variables), group, _tools is null ? [] : RowCalls.Tools(_tools.Evaluate(variables)));
    }

    /// <summary>The text that a row of a perplexity task has.</summary>
    public string TextOf(JsonObject row) => _prompt!.Render(TaskRow.Variables(row, _functions));

    /// <summary>Places of the right choices.</summary>
    public static int[] Places(JsonNode? answer, int choices)
    {
        int[] places = answer is JsonArray list ? [.. list.Select(Place)] : [Place(answer)];
        return places.Length > 0 && places.All(place => place >= 0 && place < choices) ? places
            : throw new FormatException($"The answer of a row is {answer?.ToJsonString() ?? "null"}, expected the place of one of {choices} choices, from 0.");

        static int Place(JsonNode? node) => node is JsonValue value && (value.TryGetValue(out int place) || (value.TryGetValue(out string? text) && int.TryParse(text, out place))) ? place
            : node is JsonValue other && other.TryGetValue(out bool truth) ? (truth ? 1 : 0) : -1;
    }

    private string Example(JsonObject row)
    {
        Dictionary<string, object?> variables = TaskRow.Variables(row, _functions);
        JsonNode? answer = _answer?.Evaluate(variables);
        string prompt, target;
        if (_prompts is not null)
        {
            string[] prompts = Texts(_prompts.Evaluate(variables), "prompts");
            (prompt, target) = (prompts[Places(answer, prompts.Length)[0]], _target!.Render(variables));
        }
        else
        {
            prompt = _prompt!.Render(variables);
            target = _target is not null ? _target.Render(variables)
                : Task.Kind == EvaluationKind.Choices ? Texts(_choices!.Evaluate(variables), "choices") is var choices ? choices[Places(answer, choices.Length)[0]] : ""
                : AnswerComparison.Right(answer)[0][0];
        }

        return prompt + Task.TargetDelimiter + target + Task.ExampleDelimiter;
    }

    private static string[] Texts(JsonNode? value, string member) => value is JsonArray { Count: > 0 } list
        ? [.. list.Select(item => item?.GetValueKind() == System.Text.Json.JsonValueKind.String ? item.GetValue<string>() : item?.ToJsonString() ?? throw new FormatException($"'{member}' of a row holds null."))]
        : throw new FormatException($"'{member}' of a row is {value?.ToJsonString() ?? "null"}, expected a list that is not empty.");

    private void Check()
    {
        bool chooses = Task.Kind == EvaluationKind.Choices;
        Require(!string.IsNullOrWhiteSpace(Task.Name), "'name' is missing");
        Require(_prompt is not null || (chooses && _prompts is not null), "'prompt' is missing");
        Require(!chooses || _prompts is not null || _choices is not null, "'choices' is missing");
        Require(_prompts is null || (_prompt is null && _target is not null && chooses), "'prompts' stands instead of 'prompt', in tasks of choices, and needs 'target'");
        Require(Task.Kind == EvaluationKind.Perplexity || _answer is not null || Task.Metrics.Count == 0, "'answer' is missing");
        Require((Task.Kind == EvaluationKind.Calls) == (_tools is not null), "'tools' belongs to the kind 'calls', which needs it");
        Require(Task.FewShot == 0 || Task.Kind != EvaluationKind.Calls, "calls have no examples: 'fewShot' must be 0");
        Require(Task.FewShot >= 0 && Task.MaxTokens > 0, "'fewShot' is less than 0, or 'maxTokens' less than 1");
        Require(Task.FewShot == 0 || Task.FewShotSplit is not null, "'fewShotSplit' is missing: it says where the examples are");
        Require(Task.Metrics.Count > 0 || Task.Kind == EvaluationKind.Generate, "'metrics' is empty");
        foreach (string metric in Task.Metrics)
        {
            Require(MetricNames.Of(Task.Kind).Contains(metric), $"'{metric}' is no metric of the kind '{Task.Kind}'; there are: {string.Join(", ", MetricNames.Of(Task.Kind))}");
        }

        void Require(bool isFine, string problem)
        {
            if (!isFine)
            {
                throw new FormatException($"The task '{Task.Name}': {problem}.");
            }
        }
    }
}
