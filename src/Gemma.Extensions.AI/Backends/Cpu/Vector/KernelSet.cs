using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>The kernels in C# of one instruction set, by address: their sources are compiled for registers of 512, 256 and 128 bits.</summary>
internal sealed unsafe class KernelSet
{
    public required TileFormat[] Formats { get; init; }

    /// <summary>bfloat16 that stays bfloat16.</summary>
    public required TileFormat BFloat16Pairs { get; init; }

    public required KvKernels Float16Kv { get; init; }

    public required KvKernels BFloat16Kv { get; init; }

    /// <summary>(arguments, row): one activation row of float32.</summary>
    public required delegate*<TileArgs*, int, void> FloatsOne { get; init; }

    /// <summary>Four of them.</summary>
    public required delegate*<TileArgs*, int, void> FloatsFour { get; init; }

    /// <summary>The kernels of an instruction set, in registers as wide as it has.</summary>
    public static KernelSet Of<TIsa>()
        where TIsa : struct, IVectorIsa =>
        typeof(TIsa) == typeof(Avx512Isa) ? KernelSets.Create<TIsa>()
        : typeof(TIsa) == typeof(Avx2Isa) ? InHalves.KernelSets.Create<InHalves.Avx2Isa>()
        : typeof(TIsa) == typeof(AvxVnniIsa) ? InHalves.KernelSets.Create<InHalves.AvxVnniIsa>()
        : typeof(TIsa) == typeof(NeonDotIsa) ? InQuarters.KernelSets.Create<InQuarters.NeonDotIsa>()
        : Vector256.IsHardwareAccelerated ? InHalves.KernelSets.Create<InHalves.PortableIsa>() : InQuarters.KernelSets.Create<InQuarters.PortableIsa>();

    /// <summary>(arguments, panel, row, group, minimum): one activation row of bytes.</summary>
    public static delegate*<TileArgs*, int, int, int, bool, void> BytesOne<TIsa, TSum>()
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth =>
        typeof(TIsa) == typeof(Avx2Isa) ? &InHalves.VectorTile.BytesOne<InHalves.Avx2Isa, TSum>
        : typeof(TIsa) == typeof(AvxVnniIsa) ? &InHalves.VectorTile.BytesOne<InHalves.AvxVnniIsa, TSum>
        : typeof(TIsa) == typeof(NeonDotIsa) ? &InQuarters.VectorTile.BytesOne<InQuarters.NeonDotIsa, TSum>
        : &VectorTile.BytesOne<TIsa, TSum>;

    /// <summary>Two of them, where <see cref="IVectorIsa.ByteRows"/> says so.</summary>
    public static delegate*<TileArgs*, int, int, int, bool, void> BytesTwo<TIsa, TSum>()
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth =>
        typeof(TIsa) == typeof(AvxVnniIsa) ? &InHalves.VectorTile.BytesTwo<InHalves.AvxVnniIsa, TSum>
        : typeof(TIsa) == typeof(NeonDotIsa) ? &InQuarters.VectorTile.BytesTwo<InQuarters.NeonDotIsa, TSum>
        : &VectorTile.BytesTwo<TIsa, TSum>;
}
