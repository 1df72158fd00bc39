using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>AVX2 with the dot product of 256-bit registers that .NET exposes (Alder Lake and later client processors, Zen 5, Xeon from Sapphire Rapids).</summary>
internal readonly unsafe struct AvxVnniIsa : IVectorIsa
{
    public static bool HasDot => true;

    public static int ByteRows => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => Vector512.Create(
        AvxVnni.MultiplyWideningAndAdd(sum.GetLower(), weights.GetLower(), activations.GetLower()),
        AvxVnni.MultiplyWideningAndAdd(sum.GetUpper(), weights.GetUpper(), activations.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => Dot(sum, weights, activations);

    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> PairSums(Vector512<short> values) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3) =>
        Avx2Isa.Transpose(rows, stride, out d0, out d1, out d2, out d3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices) => Avx2Isa.Lookup(table, indices);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices) => Avx2Isa.Gather(table, indices);
}
