using System.Globalization;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Turns instructions into steps. What is not listed here is not known.</summary>
internal static class PtxDecoder
{
    public static PtxStep? Decode(string operation, string[] operands, PtxOperands names)
    {
        string[] parts = operation.Split('.');
        string type = parts[^1];
        return parts[0] switch
        {
            "ret" or "exit" => warp => warp.Exit(),
            "bar" when parts[1] == "sync" && operands is ["0"] => warp => warp.Barrier(),
            "ld" or "st" => PtxAccess.Decode(parts, operands, names),
            "cp" => PtxShared.Copy(operation, operands, names),
            "ldmatrix" => PtxShared.LoadMatrices(operation, operands, names),
            "shfl" => PtxCollective.Shuffle(parts, operands, names),
            "mma" => PtxCollective.Mma(operation, operands, names),
            "setp" => PtxPredicates.Compare(parts[1], type, operands, names),
            "selp" => PtxPredicates.Select(type, operands, names),
            "and" or "or" or "xor" or "not" or "mov" when type == "pred" => PtxPredicates.Logic(parts[0], operands, names),
            "cvt" => PtxConversions.Decode(operation, operands, names),
            "mul" or "mad" when parts[1] == "wide" => PtxConversions.Wide(parts[0], type, operands, names),
            _ => type is "u64" or "s64" or "b64"
                ? Arithmetic64(parts[0] == "cvta" ? "mov" : operation[..^(type.Length + 1)], type == "s64", operands, names)
                : Arithmetic32(operation, operands, names),
        };
    }

    private static PtxStep? Arithmetic32(string operation, string[] operands, PtxOperands names)
    {
        if (operation is "shl.b32" or "shr.u32" or "shr.s32" && names.IsConstant(operands[2], out ulong count))
        {
            int left = Place(0), right = Place(1), by = (int)Math.Min(count, 32);
            return operation[2] == 'l' ? PtxLanes.Shift<ShiftLeft>(left, right, by) : operation[^3] == 'u' ? PtxLanes.Shift<ShiftRight>(left, right, by) : PtxLanes.Shift<ShiftRightSigned>(left, right, Math.Min(by, 31));
        }

        return operation switch
        {
            "mov.u32" or "mov.s32" or "mov.b32" or "mov.f32" => Lanes<Move>(),
            "add.f32" => Lanes<AddF>(),
            "sub.f32" or "sub.rn.f32" => Lanes<SubtractF>(),
            "mul.f32" or "mul.rn.f32" => Lanes<MultiplyF>(),
            "fma.rn.f32" => Lanes<FusedF>(),
            "div.rn.f32" or "div.approx.f32" => Lanes<DivideF>(),
            "rcp.rn.f32" => Lanes<ReciprocalF>(),
            "max.f32" => Lanes<MaxF>(),
            "min.f32" => Lanes<MinF>(),
            "abs.f32" => Lanes<AbsF>(),
            "neg.f32" => Lanes<NegateF>(),
            "rsqrt.approx.f32" => Lanes<InverseRootF>(),
            "ex2.approx.f32" => PtxLanes.Scalar(Place(0), Place(1), Place(1), Place(1), (x, _, _) => PtxLanes.Bits(MathF.Pow(2, PtxLanes.Single(x)))),
            "add.s32" or "add.u32" => Lanes<Add>(),
            "sub.s32" or "sub.u32" => Lanes<Subtract>(),
            "mul.lo.s32" or "mul.lo.u32" => Lanes<Multiply>(),
            "mad.lo.s32" or "mad.lo.u32" => Lanes<MultiplyAdd>(),
            "and.b32" => Lanes<And>(),
            "or.b32" => Lanes<Or>(),
            "xor.b32" => Lanes<Xor>(),
            "not.b32" => Lanes<Not>(),
            "min.s32" => Lanes<MinS>(),
            "max.s32" => Lanes<MaxS>(),
            "min.u32" => Lanes<MinU>(),
            "max.u32" => Lanes<MaxU>(),
            "shl.b32" => Scalar((x, y, _) => y >= 32 ? 0 : x << (int)y),
            "shr.u32" => Scalar((x, y, _) => y >= 32 ? 0 : x >> (int)y),
            "shr.s32" => Scalar((x, y, _) => (uint)((int)x >> (int)Math.Min(y, 31))),
            "shr.s16" => Scalar((x, y, _) => (ushort)((short)x >> (int)Math.Min(y, 15))),
            "shr.u16" => Scalar((x, y, _) => (uint)((ushort)x >> (int)Math.Min(y, 16))),
            "and.b16" => Scalar((x, y, _) => (ushort)(x & y)),
            "or.b16" => Scalar((x, y, _) => (ushort)(x | y)),
            "xor.b16" => Scalar((x, y, _) => (ushort)(x ^ y)),
            "mul.hi.u32" => Scalar((x, y, _) => (uint)((ulong)x * y >> 32)),
            "div.s32" => Scalar((x, y, _) => y == 0 ? throw new PtxException("division by zero.") : (uint)((int)x / (int)y)),
            "bfi.b32" => BitFieldInsert(),
            _ => null,
        };

        int Place(int i) => names.PlaceOf(operands[Math.Min(i, operands.Length - 1)], isWide: false);

        PtxStep Lanes<T>()
            where T : struct, ILaneOperation => PtxLanes.Make<T>(Place(0), Place(1), Place(2), Place(3));

        PtxStep Scalar(Func<uint, uint, uint, uint> compute) => PtxLanes.Scalar(Place(0), Place(1), Place(2), Place(3), compute);

        PtxStep BitFieldInsert()
        {
            int at = int.Parse(operands[3], CultureInfo.InvariantCulture), bits = int.Parse(operands[4], CultureInfo.InvariantCulture);
            uint field = (uint)(((1ul << bits) - 1) << at);
            return Scalar((x, y, _) => (x << at & field) | (y & ~field));
        }
    }

    private static PtxStep? Arithmetic64(string operation, bool signed, string[] operands, PtxOperands names)
    {
        if (operation == "mov" && operands[1][0] == '{')
        {
            return null;
        }

        bool isShift = operation is "shl" or "shr";
        int to = Place(0), x = Place(1), y = isShift ? names.PlaceOf(operands[2], isWide: false) : Place(2), z = Place(3);
        return operation switch
        {
            "mov" => PtxLanes.Wide<Move64>(to, x, y, z),
            "add" => PtxLanes.Wide<Add64>(to, x, y, z),
            "sub" => PtxLanes.Wide<Subtract64>(to, x, y, z),
            "mul.lo" => PtxLanes.Wide<Multiply64>(to, x, y, z),
            "mad.lo" => PtxLanes.Wide<MultiplyAdd64>(to, x, y, z),
            "and" => PtxLanes.Wide<And64>(to, x, y, z),
            "or" => PtxLanes.Wide<Or64>(to, x, y, z),
            "shl" => PtxLanes.WideShift(to, x, y, (value, by) => by >= 64 ? 0 : value << (int)by),
            "shr" when signed => PtxLanes.WideShift(to, x, y, (value, by) => (ulong)((long)value >> (int)Math.Min(by, 63))),
            "shr" => PtxLanes.WideShift(to, x, y, (value, by) => by >= 64 ? 0 : value >> (int)by),
            _ => null,
        };

        int Place(int i) => names.PlaceOf(operands[Math.Min(i, operands.Length - 1) is var last && isShift ? Math.Min(last, 1) : last], isWide: true);
    }
}
