using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>The options by which a command that answers loads its model.</summary>
internal sealed class ModelArguments
{
    private readonly Option<string?> _model = CommonOptions.Model();
    private readonly Option<int?> _threads = CommonOptions.Threads();
    private readonly Option<int?> _context = CommonOptions.Context();
    private readonly Option<string?> _kernel = CommonOptions.Kernel();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<int?> _gpuLayers = CommonOptions.GpuLayers();
    private readonly Option<bool> _ignoreMemory = CommonOptions.IgnoreMemory();

    /// <summary>Adds the options, behind those that the command has.</summary>
    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_model, _threads, _context, _kernel, _device, _gpuLayers, _ignoreMemory])
        {
            command.Add(option);
        }
    }

    public GemmaOptions Read(ParseResult parsed) => new()
    {
        ModelPath = CommonOptions.ModelOrDefault(parsed.GetValue(_model)),
        Threads = parsed.GetValue(_threads),
        ContextLength = parsed.GetValue(_context),
        Kernel = parsed.GetValue(_kernel),
        Device = parsed.GetRequiredValue(_device),
        GpuLayers = parsed.GetValue(_gpuLayers),
        MemoryCheck = parsed.MemoryCheck(_ignoreMemory),
    };
}
