using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>How 16 bits are a number.</summary>
internal interface INumberBits
{
    static abstract float Read(uint bits);
}

internal readonly struct BFloat16Bits : INumberBits { public static float Read(uint bits) => PtxLanes.Single(bits << 16); }

internal readonly struct Float16Bits : INumberBits { public static float Read(uint bits) => (float)BitConverter.UInt16BitsToHalf((ushort)bits); }

/// <summary>Instructions that all 32 lanes carry out together.</summary>
internal static unsafe class PtxCollective
{
    /// <summary>shfl.sync.bfly: each lane gets the number of the lane whose index differs in the given bits.</summary>
    public static PtxStep? Shuffle(string[] parts, string[] operands, PtxOperands names)
    {
        if (parts[2] != "bfly")
        {
            return null;
        }

        int to = names.PlaceOf(operands[0].Split('|')[0], isWide: false), from = names.PlaceOf(operands[1], isWide: false), by = names.PlaceOf(operands[2], isWide: false);
        int clamp = names.PlaceOf(operands[3], isWide: false), members = names.PlaceOf(operands[4], isWide: false);
        return warp =>
        {
            warp.RequireAll("shfl.sync");
            uint* r = warp.R;
            if (r[clamp] != 31 || r[members] != ~0u)
            {
                throw new PtxException($"shfl.sync within {r[clamp]} for the lanes {r[members]:x8}.");
            }

            uint* values = stackalloc uint[32];
            Buffer.MemoryCopy(r + from, values, 128, 128);
            for (int i = 0; i < 32; i++)
            {
                r[to + i] = r[by + i] < 32 ? values[i ^ (int)r[by + i]] : throw new PtxException($"shfl.sync to lane {i ^ (int)r[by + i]}.");
            }
        };
    }

    /// <summary>
    /// A product of matrices [16, k] and [k, 8], added to [16, 8], spread over the registers of 32 lanes as the ISA says. The hardware adds in an order of its
    /// own: here column after column, in float32.
    /// </summary>
    public static PtxStep? Mma(string operation, string[] operands, PtxOperands names)
    {
        int[] d = Places(0), a = Places(1), b = Places(2), c = Places(3);
        return operation switch
        {
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => warp => Float<BFloat16Bits>(warp, d, a, b, c),
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" => warp => Float<Float16Bits>(warp, d, a, b, c),
            "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32" => warp => Int8(warp, d, a, b, c, 2),
            "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32" => warp => Int8(warp, d, a, b, c, 1),
            _ => null,
        };

        int[] Places(int operand) => [.. PtxOperands.VectorOf(operands[operand]).Select(register => names.PlaceOf(register, isWide: false))];
    }

    private static void Float<T>(PtxWarp warp, int[] d, int[] a, int[] b, int[] c)
        where T : struct, INumberBits
    {
        warp.RequireAll("mma.sync");
        uint* r = warp.R;
        float* left = stackalloc float[16 * 16], right = stackalloc float[16 * 8], sums = stackalloc float[16 * 8];
        for (int lane = 0; lane < 32; lane++)
        {
            int g = lane / 4, q = lane % 4 * 2;
            for (int k = 0; k < 4; k++)
            {
                // Registers 0 and 2 are of row g, 1 and 3 of row g + 8; 2 and 3 of the columns from 8 on.
                float* at = left + (g + (k & 1) * 8) * 16 + q + (k >> 1) * 8;
                at[0] = T.Read(r[a[k] + lane] & 0xFFFF);
                at[1] = T.Read(r[a[k] + lane] >> 16);
            }

            for (int k = 0; k < 2; k++)
            {
                right[(q + k * 8) * 8 + g] = T.Read(r[b[k] + lane] & 0xFFFF);
                right[(q + k * 8 + 1) * 8 + g] = T.Read(r[b[k] + lane] >> 16);
            }

            for (int k = 0; k < 4; k++)
            {
                sums[(g + (k >> 1) * 8) * 8 + q + (k & 1)] = PtxLanes.Single(r[c[k] + lane]);
            }
        }

        for (int row = 0; row < 16; row++)
        {
            Vector256<float> sum = Vector256<float>.Zero;
            for (int k = 0; k < 16; k++)
            {
                sum = Vector256.FusedMultiplyAdd(Vector256.Create(left[row * 16 + k]), Vector256.Load(right + k * 8), sum);
            }

            (Vector256.Load(sums + row * 8) + sum).Store(sums + row * 8);
        }

        Spread(r, d, (uint*)sums);
    }

    private static void Int8(PtxWarp warp, int[] d, int[] a, int[] b, int[] c, int words)
    {
        warp.RequireAll("mma.sync");
        uint* r = warp.R;
        int* left = stackalloc int[16 * 32], right = stackalloc int[32 * 8], sums = stackalloc int[16 * 8];
        for (int lane = 0; lane < 32; lane++)
        {
            int g = lane / 4, q = lane % 4;
            for (int word = 0; word < words; word++)
            {
                for (int i = 0; i < 4; i++)
                {
                    int k = word * 16 + q * 4 + i;
                    left[g * 32 + k] = (sbyte)(r[a[2 * word] + lane] >> (8 * i));
                    left[(g + 8) * 32 + k] = (sbyte)(r[a[2 * word + 1] + lane] >> (8 * i));
                    right[k * 8 + g] = (sbyte)(r[b[word] + lane] >> (8 * i));
                }
            }

            for (int k = 0; k < 4; k++)
            {
                sums[(g + (k >> 1) * 8) * 8 + q * 2 + (k & 1)] = (int)r[c[k] + lane];
            }
        }

        for (int row = 0; row < 16; row++)
        {
            Vector256<int> sum = Vector256.Load(sums + row * 8);
            for (int k = 0; k < 16 * words; k++)
            {
                sum += Vector256.Create(left[row * 32 + k]) * Vector256.Load(right + k * 8);
            }

            sum.Store(sums + row * 8);
        }

        Spread(r, d, (uint*)sums);
    }

    /// <summary>[16, 8] back to the lanes.</summary>
    private static void Spread(uint* r, int[] d, uint* sums)
    {
        for (int lane = 0; lane < 32; lane++)
        {
            for (int k = 0; k < 4; k++)
            {
                r[d[k] + lane] = sums[(lane / 4 + (k >> 1) * 8) * 8 + lane % 4 * 2 + (k & 1)];
            }
        }
    }
}
