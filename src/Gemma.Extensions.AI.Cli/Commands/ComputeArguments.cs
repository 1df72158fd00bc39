using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>The options that say how a model is computed, whichever it is.</summary>
internal sealed class ComputeArguments
{
    private readonly Option<int?> _threads = CommonOptions.Threads();
    private readonly Option<int?> _context = CommonOptions.Context();
    private readonly Option<string?> _kernel = CommonOptions.Kernel();
    private readonly Option<string> _device = CommonOptions.Device();
    private readonly Option<int?> _gpuLayers = CommonOptions.GpuLayers();
    private readonly Option<bool> _ignoreMemory = CommonOptions.IgnoreMemory();
    private readonly Option<bool> _hugePages = CommonOptions.HugePages();

    public IEnumerable<Option> All => [_threads, _context, _kernel, _device, _gpuLayers, _ignoreMemory, _hugePages];

    public void Apply(ParseResult parsed, GemmaOptions options)
    {
        options.Threads = parsed.GetValue(_threads);
        options.ContextLength = parsed.GetValue(_context);
        options.Kernel = parsed.GetValue(_kernel);
        options.Device = parsed.GetRequiredValue(_device);
        options.GpuLayers = parsed.GetValue(_gpuLayers);
        options.MemoryCheck = parsed.MemoryCheck(_ignoreMemory);
        options.HugePages = parsed.GetValue(_hugePages);
    }
}
