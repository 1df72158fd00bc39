using System.Collections.Concurrent;
using Gemma.Extensions.AI.AspNetCore.Models;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>
/// Passes Gemma's own options on to chat clients of another kind: those that have a usual name, as additional properties. No such client promises to honour them, so the log names each
/// once a model.
/// </summary>
internal sealed partial class ForeignOptions(ILogger logger)
{
    private readonly ConcurrentDictionary<(string Model, string Option), bool> _said = new();

    public void Apply(ModelChoice model, ChatOptions options, GemmaGenerationOptions extras)
    {
        List<string> names = [];
        Add("min_p", extras.MinP, passed: true);
        Add("repetition_penalty", extras.RepetitionPenalty, passed: true);
        Add("logit_bias", extras.LogitBias, passed: true);
        Add("logprobs", extras.TopLogProbabilities, passed: false);
        Add("grammar", extras.Grammar, passed: true);
        Add("regex", extras.Regex, passed: true);
        Add("priority", extras.Priority, passed: false);
        if (names.Where(name => _said.TryAdd((model.Model.Name, name), true)).ToArray() is { Length: > 0 } unsaid)
        {
            LogForeign(logger, model.Model.Name, string.Join(", ", unsaid));
        }

        void Add(string name, object? value, bool passed)
        {
            if (value is null)
            {
                return;
            }

            names.Add(name);
            if (passed)
            {
                (options.AdditionalProperties ??= [])[name] = value;
            }
        }
    }

    [LoggerMessage(102, LogLevel.Warning, "{Model} is no Gemma model of this library, and its client may not honour what requests ask for: {Options}. This is said once an option.")]
    private static partial void LogForeign(ILogger logger, string model, string options);
}
