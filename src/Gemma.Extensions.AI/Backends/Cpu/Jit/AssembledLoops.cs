using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>The loops that <see cref="LoopAssembler"/> assembles.</summary>
internal sealed unsafe class AssembledLoops : VectorLoops
{
    private readonly ExecutableMemory _code;
    private readonly delegate* unmanaged[SuppressGCTransition]<float*, float*, float*, long, void> _geGlu;
    private readonly delegate* unmanaged[SuppressGCTransition]<WeighArgs*, void> _weigh;
    private readonly delegate* unmanaged[SuppressGCTransition]<QuantiseArgs*, void> _fours, _sixteens;

    private AssembledLoops(ExecutableMemory code, int[] offsets)
    {
        _code = code;
        _geGlu = (delegate* unmanaged[SuppressGCTransition]<float*, float*, float*, long, void>)(code.Address + offsets[0]);
        _weigh = (delegate* unmanaged[SuppressGCTransition]<WeighArgs*, void>)(code.Address + offsets[1]);
        _fours = (delegate* unmanaged[SuppressGCTransition]<QuantiseArgs*, void>)(code.Address + offsets[2]);
        _sixteens = (delegate* unmanaged[SuppressGCTransition]<QuantiseArgs*, void>)(code.Address + offsets[3]);
    }

    /// <summary>Null where machine code cannot be made executable.</summary>
    public static AssembledLoops? TryCreate(CodeAllocator allocate)
    {
        bool windows = OperatingSystem.IsWindows();
        byte[][] loops = [LoopAssembler.GeGlu(windows), LoopAssembler.Weigh(windows), LoopAssembler.Quantise(sixteens: false, windows), LoopAssembler.Quantise(sixteens: true, windows)];
        return allocate(GemmAssembler.Join(loops, out int[] offsets), out _) is { } code ? new AssembledLoops(code, offsets) : null;
    }

    public override void GeGlu(float* gate, float* up, float* output, int count) => _geGlu(gate, up, output, count);

    public override void Weigh(WeighArgs* args) => _weigh(args);

    public override void Quantise(QuantiseArgs* args, bool sixteens) => (sixteens ? _sixteens : _fours)(args);

    public override void Dispose() => _code.Dispose();
}
