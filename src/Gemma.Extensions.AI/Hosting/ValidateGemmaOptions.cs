using Gemma.Extensions.AI.Hub;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Hosting;

/// <summary>Turns <see cref="GemmaOptions.Validate"/> into the failures of the options system.</summary>
internal sealed class ValidateGemmaOptions(IEnumerable<GemmaRegistration> registrations) : IValidateOptions<GemmaOptions>
{
    public ValidateOptionsResult Validate(string? name, GemmaOptions options)
    {
        List<string> problems = [.. options.Validate()];
        foreach (string path in GemmaRegistration.Paths(registrations, name ?? "", options.ModelPath).Select(own => own.Path).OfType<string>().Where(path => path != options.ModelPath))
        {
            if (ModelAliases.Find(path, out string? problem) is null && !(options.AllowDownload && ModelAliases.IsHub(path)))
            {
                problems.Add(problem!);
            }
        }

        if (!string.IsNullOrEmpty(name) && problems.Count > 0)
        {
            problems[0] = $"The Gemma model with the key '{name}' (configuration section '{GemmaOptions.SectionName}:{name}') cannot be used. {problems[0]}";
        }

        return problems.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(problems);
    }
}
