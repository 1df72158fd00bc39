using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Native memory aligned to cache lines. It grows on demand and never moves while in use.</summary>
internal sealed unsafe class NativeBuffer : IDisposable
{
    private nuint _bytes;

    public byte* Data { get; private set; }

    /// <summary>At least this many bytes; the contents are lost when the buffer grows.</summary>
    public byte* Reserve(long bytes)
    {
        if ((nuint)bytes > _bytes)
        {
            Dispose();
            Data = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);
            _bytes = (nuint)bytes;
        }

        return Data;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(Data);
        Data = null;
        _bytes = 0;
    }
}
