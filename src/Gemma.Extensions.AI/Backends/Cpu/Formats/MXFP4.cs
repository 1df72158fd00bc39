using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles that index a table of 16 signed bytes, which tiles hold moved up by 16; a power of two of 32 columns.</summary>
internal static unsafe class MXFP4Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.MXFP4,
        Group = 32,
        Offset = 16,
        MaxByte = 28,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 32, rows += 17, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            // The two smallest powers are subnormal float32 numbers: 2^-128 and 2^-127.
            Vector512<uint> e = First<TIsa>(rows, stride) & Vector512.Create(255u);
            Vector512<uint> small = Vector512.ConditionalSelect(Vector512.Equals(e, Vector512<uint>.Zero), Vector512.Create(0x0020_0000u), Vector512.Create(0x0040_0000u));
            Vector512.ConditionalSelect(Vector512.LessThan(e, Vector512.Create(2u)), small, (e - Vector512<uint>.One) << 23).AsSingle().Store(scales);
            PutCodes<TIsa, MXFP4Codes>(rows + 1, stride, tile);
        }
    }
}

/// <summary>The table of MXFP4.</summary>
internal readonly struct MXFP4Codes : ICodeTable
{
    public static Vector128<byte> Codes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)16, 17, 18, 19, 20, 22, 24, 28, 16, 15, 14, 13, 12, 10, 8, 4);
    }
}
