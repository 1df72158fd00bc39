using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>The options by which a command that answers loads its model.</summary>
internal sealed class ModelArguments
{
    private readonly Option<string?> _model = CommonOptions.Model();
    private readonly ComputeArguments _compute = new();

    /// <summary>Adds the options, behind those that the command has.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in _compute.All.Prepend(_model))
        {
            command.Add(option);
        }
    }

    public GemmaOptions Read(ParseResult parsed)
    {
        GemmaOptions options = new() { ModelPath = CommonOptions.ModelOrDefault(parsed.GetValue(_model)) };
        _compute.Apply(parsed, options);
        return options;
    }
}
