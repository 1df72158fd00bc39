using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles that index a table of 16 signed bytes, which tiles hold moved up by 128.</summary>
internal static unsafe class IQ4_NLTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ4_NL,
        Group = 32,
        Offset = 128,
        MaxByte = 255,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 32, rows += 18, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First<TIsa>(rows, stride)).Store(scales);
            PutCodes<TIsa, IQ4_NLCodes>(rows + 2, stride, tile);
        }
    }
}

/// <summary>The table of IQ4_NL and IQ4_XS.</summary>
internal readonly struct IQ4_NLCodes : ICodeTable
{
    public static Vector128<byte> Codes
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Vector128.Create((byte)1, 24, 45, 63, 79, 93, 106, 118, 129, 141, 153, 166, 181, 197, 217, 241);
    }
}
