using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>Byte tiles by multiply-add of byte pairs (AVX2, AVX-512) or by the four-way dot product that .NET exposes (AVX-VNNI).</summary>
internal sealed unsafe class Int8MatMulKernels<TIsa>(string? fallbackReason = null) : FloatMatMulKernels<TIsa>
    where TIsa : struct, IDotIsa
{
    public override string? FallbackReason => fallbackReason;

    public override bool FloatOnly => false;

    private readonly delegate*<byte*, long, int, GemvArgs*, void>[] _gemvs = GemvKernels.Table<TIsa>();

    public override bool CanGemv(TensorType type, int rows) => rows == 1 && _gemvs[(int)type] is not null;

    public override void Gemv(TensorType type, GemvArgs* args) => _gemvs[(int)type](args->Weights, args->WeightStride, args->Columns, args);

    public override void Bytes(TileArgs* args, int panel, TileFormat format)
    {
        if (TIsa.HasDot)
        {
            if (format.MaxByte > 127)
            {
                Bytes<WideDotSum>(args, panel, format);
            }
            else
            {
                Bytes<DotSum>(args, panel, format);
            }

            return;
        }

        // How many pair sums fit 16 bits: each is at most twice the largest weight byte times 127.
        switch (format.MaxByte)
        {
            case <= 31:
                Bytes<FourPairs>(args, panel, format);
                break;
            case <= 63:
                Bytes<TwoPairs>(args, panel, format);
                break;
            default:
                Bytes<HalfPairs>(args, panel, format);
                break;
        }
    }

    private static void Bytes<TSum>(TileArgs* args, int panel, TileFormat format)
        where TSum : struct, ISumDepth
    {
        int row = 0;
        for (; row + 2 <= panel; row += 2)
        {
            VectorTile.BytesTwo<TIsa, TSum>(args, panel, row, format.Group, format.HasMinimum);
        }

        if (row < panel)
        {
            VectorTile.BytesOne<TIsa, TSum>(args, panel, row, format.Group, format.HasMinimum);
        }
    }
}
