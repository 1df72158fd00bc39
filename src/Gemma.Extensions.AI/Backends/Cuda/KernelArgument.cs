using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>An argument of a kernel: a number or address, or the place of a structure.</summary>
internal readonly unsafe struct KernelArgument
{
    private readonly ulong _value;
    private readonly void* _structure;

    private KernelArgument(ulong value, void* structure, int bytes)
    {
        _value = value;
        _structure = structure;
        Bytes = bytes;
    }

    /// <summary>Its size; numbers have that of an address.</summary>
    public int Bytes { get; }

    public static implicit operator KernelArgument(ulong address) => new(address, null, sizeof(ulong));

    public static implicit operator KernelArgument(int number) => new((uint)number, null, sizeof(ulong));

    public static implicit operator KernelArgument(float number) => new(BitConverter.SingleToUInt32Bits(number), null, sizeof(ulong));

    /// <summary>A structure on the stack.</summary>
    public static KernelArgument Of<T>(ref T structure)
        where T : unmanaged => new(0, Unsafe.AsPointer(ref structure), sizeof(T));

    /// <summary>Address of the argument; the driver copies it at launch.</summary>
    public static void* PlaceOf(KernelArgument* argument) => argument->_structure is not null ? argument->_structure : &argument->_value;
}
