using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Training;

/// <summary>Float32 memory at a fixed, 64-byte aligned address.</summary>
internal sealed unsafe class FloatBuffer
{
    private readonly float[] _array;

    /// <summary>Allocates zeroed memory.</summary>
    public FloatBuffer(long length)
    {
        if (length > Array.MaxLength - 16)
        {
            throw new NotSupportedException(
                $"{length:N0} float32 values are wanted in one buffer, but at most {Array.MaxLength - 16:N0} fit. Train a smaller model or with smaller batches.");
        }

        _array = GC.AllocateArray<float>((int)length + 16, pinned: true);
        Pointer = (float*)(((nint)Unsafe.AsPointer(ref _array[0]) + 63) & ~63);
        Length = (int)length;
    }

    /// <summary>First element.</summary>
    public float* Pointer { get; }

    /// <summary>Elements.</summary>
    public int Length { get; }

    /// <summary>All elements.</summary>
    public Span<float> Span => new(Pointer, Length);
}
