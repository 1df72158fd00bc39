using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Files;

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
        AskForHugePages();
    }

    /// <summary>First element.</summary>
    public float* Pointer { get; }

    /// <summary>Elements.</summary>
    public int Length { get; }

    /// <summary>All elements.</summary>
    public Span<float> Span => new(Pointer, Length);

    /// <summary>
    /// A matrix product touches pages of several large buffers in turn, more than the address translation remembers at 4 KB each. On Linux, where most
    /// distributions give pages of 2 MB to who asks, this asks; memory that was touched before, and other systems, stay as they are.
    /// </summary>
    private void AskForHugePages()
    {
        nint first = ((nint)Pointer + HugePages.Size - 1) & -HugePages.Size, end = ((nint)Pointer + (nint)Length * sizeof(float)) & -HugePages.Size;
        HugePages.Advise((void*)first, end - first);
    }

    /// <summary>Hands out the bytes of all elements in order, a piece at a time: a span of them would end at 2 GB.</summary>
    public void ForBytes(Action<Span<byte>> action)
    {
        const int Piece = 1 << 24;
        for (long i = 0; i < Length; i += Piece)
        {
            action(new Span<byte>(Pointer + i, (int)Math.Min(Piece, Length - i) * sizeof(float)));
        }
    }
}
