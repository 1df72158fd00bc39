using System.Buffers;

namespace Gemma.Extensions.AI.Files;

/// <summary>Memory that the garbage collector does not own (a memory map), for interfaces that take <see cref="Memory{T}"/>.</summary>
internal sealed unsafe class UnmanagedBytes(byte* data, int length) : MemoryManager<byte>
{
    public override Span<byte> GetSpan() => new(data, length);

    public override MemoryHandle Pin(int elementIndex = 0) => new(data + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
