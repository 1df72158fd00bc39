namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Layout in which a panel of P activation rows is packed for a micro-kernel. Panels follow each other within a step of columns, steps follow
/// each other within the batch: [step][panel][…].
/// </summary>
internal enum ActivationLayout
{
    /// <summary>float32: <c>a[column][P]</c>. A single row is used in place.</summary>
    Float32,

    /// <summary>bfloat16: <c>a[column/2][P][2]</c>, the operand order of a dot product of pairs.</summary>
    BFloat16x2,

    /// <summary>
    /// bfloat16 for matrix registers, whole rows at once: <c>a[column/32][16][32]</c>, or as many rows as the last register has. The next 16 rows follow. Columns are filled
    /// up with zeros.
    /// </summary>
    BFloat16Matrix,

    /// <summary>Signed bytes <c>a[column/4][P][4]</c>, the operand order of a four-way dot product, with a scale for 32 columns and zero-point terms.</summary>
    Int8x4,

    /// <summary>Signed bytes <c>a[column/16][P][16]</c>, for GEMV: the operands of 16 bytes of a weight row are contiguous. Otherwise as <see cref="Int8x4"/>.</summary>
    Int8x16,
}

/// <summary>Properties of the layouts.</summary>
internal static class ActivationLayouts
{
    public static bool IsInt8(this ActivationLayout layout) => layout is ActivationLayout.Int8x4 or ActivationLayout.Int8x16;

    public static int BytesPerColumn(this ActivationLayout layout) => layout switch
    {
        ActivationLayout.Float32 => sizeof(float),
        ActivationLayout.BFloat16x2 or ActivationLayout.BFloat16Matrix => sizeof(ushort),
        _ => sizeof(sbyte),
    };

    /// <summary>The layout for GEMV of weights whose GEMM takes this one.</summary>
    public static ActivationLayout ForGemv(this ActivationLayout gemm) => gemm.IsInt8() ? ActivationLayout.Int8x16 : gemm;
}
