using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

internal readonly unsafe struct PortableIsa : IVectorIsa
{
    public static bool HasDot => false;

    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> PairSums(Vector512<short> values) => throw new NotSupportedException();

    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        uint* buffer = stackalloc uint[64];
        for (int r = 0; r < 16; r++)
        {
            uint* row = (uint*)(rows + r * stride);
            buffer[r] = row[0];
            buffer[16 + r] = row[1];
            buffer[32 + r] = row[2];
            buffer[48 + r] = row[3];
        }

        d0 = Vector512.Load(buffer);
        d1 = Vector512.Load(buffer + 16);
        d2 = Vector512.Load(buffer + 32);
        d3 = Vector512.Load(buffer + 48);
    }

    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector512<byte> i = indices.AsByte();
        return Vector512.Create(
            Vector256.Create(Vector128.Shuffle(table, i.GetLower().GetLower()), Vector128.Shuffle(table, i.GetLower().GetUpper())),
            Vector256.Create(Vector128.Shuffle(table, i.GetUpper().GetLower()), Vector128.Shuffle(table, i.GetUpper().GetUpper()))).AsUInt32();
    }

    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices)
    {
        uint* lanes = stackalloc uint[16];
        indices.Store(lanes);
        for (int i = 0; i < 16; i++)
        {
            lanes[i] = table[lanes[i]];
        }

        return Vector512.Load(lanes);
    }
}
