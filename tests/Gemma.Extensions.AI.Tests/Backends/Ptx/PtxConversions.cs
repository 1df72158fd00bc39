using System.Numerics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Conversions between types, and products that are wider than their factors. Registers of 16 bits are the low halves of 32.</summary>
internal static unsafe class PtxConversions
{
    public static PtxStep? Decode(string operation, string[] operands, PtxOperands names)
    {
        string[] parts = operation.Split('.');
        string to = parts[^2], from = parts[^1];
        if (to[1..] == "64")
        {
            int d = names.PlaceOf(operands[0], isWide: true), s = names.PlaceOf(operands[1], isWide: false);
            return from switch
            {
                "s32" => warp => Widen(warp, d, s, s, (x, _) => (ulong)(int)x),
                "u32" => warp => Widen(warp, d, s, s, (x, _) => x),
                _ => null,
            };
        }

        if (from[1..] == "64")
        {
            int d = names.PlaceOf(operands[0], isWide: false), s = names.PlaceOf(operands[1], isWide: true);
            return to is "u32" or "s32" ? warp => Narrow(warp, d, s) : null;
        }

        return operation switch
        {
            "cvt.rn.f32.s32" => Scalar((x, _) => PtxLanes.Bits((int)x)),
            "cvt.rn.f32.u32" => Scalar((x, _) => PtxLanes.Bits(x)),
            "cvt.rn.f32.s16" => Scalar((x, _) => PtxLanes.Bits((short)x)),
            "cvt.rn.f32.u16" => Scalar((x, _) => PtxLanes.Bits((ushort)x)),
            "cvt.f32.f16" => Scalar((x, _) => PtxLanes.Bits((float)BitConverter.UInt16BitsToHalf((ushort)x))),
            "cvt.rn.f16.f32" => Scalar((x, _) => BitConverter.HalfToUInt16Bits((Half)PtxLanes.Single(x))),
            "cvt.rn.f16x2.f32" => Scalar((x, y) => (uint)BitConverter.HalfToUInt16Bits((Half)PtxLanes.Single(x)) << 16 | BitConverter.HalfToUInt16Bits((Half)PtxLanes.Single(y))),
            "cvt.rn.bf16x2.f32" => Scalar((x, y) => BFloat16(x) << 16 | BFloat16(y)),
            "cvt.rni.s32.f32" => Scalar((x, _) => float.IsNaN(PtxLanes.Single(x)) ? 0 : (uint)(int)Math.Clamp(MathF.Round(PtxLanes.Single(x)), int.MinValue, 2147483520f)),
            "cvt.u16.u32" or "cvt.u32.u16" => Scalar((x, _) => (ushort)x),
            "cvt.s32.s16" => Scalar((x, _) => (uint)(short)x),
            "cvt.s16.s8" => Scalar((x, _) => (ushort)(sbyte)x),
            "cvt.s32.s8" => Scalar((x, _) => (uint)(sbyte)x),
            "cvt.u32.u8" or "cvt.u16.u8" => Scalar((x, _) => (byte)x),
            _ => null,
        };

        PtxStep Scalar(Func<uint, uint, uint> compute)
        {
            int d = names.PlaceOf(operands[0], isWide: false), x = names.PlaceOf(operands[1], isWide: false), y = names.PlaceOf(operands[^1], isWide: false);
            return PtxLanes.Scalar(d, x, y, y, (a, b, _) => compute(a, b));
        }
    }

    /// <summary>mul.wide and mad.wide: 32-bit factors, 64-bit result; of 16-bit factors a 32-bit one.</summary>
    public static PtxStep? Wide(string operation, string type, string[] operands, PtxOperands names)
    {
        if (operation != "mul" || type is not ("s32" or "u32"))
        {
            return null;
        }

        int to = names.PlaceOf(operands[0], isWide: true), x = names.PlaceOf(operands[1], isWide: false), y = names.PlaceOf(operands[2], isWide: false);
        return type == "s32" ? warp => Widen(warp, to, x, y, (a, b) => (ulong)((long)(int)a * (int)b)) : warp => Widen(warp, to, x, y, (a, b) => (ulong)a * b);
    }

    private static void Widen(PtxWarp warp, int to, int x, int y, Func<uint, uint, ulong> compute)
    {
        ulong* d = (ulong*)(warp.R + to);
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int i = BitOperations.TrailingZeroCount(mask);
            d[i] = compute(warp.R[x + i], warp.R[y + i]);
        }
    }

    private static void Narrow(PtxWarp warp, int to, int from)
    {
        ulong* s = (ulong*)(warp.R + from);
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int i = BitOperations.TrailingZeroCount(mask);
            warp.R[to + i] = (uint)s[i];
        }
    }

    /// <summary>Rounded to the nearest, ties to even.</summary>
    private static uint BFloat16(uint bits) => float.IsNaN(PtxLanes.Single(bits)) ? 0x7FFFu : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}
