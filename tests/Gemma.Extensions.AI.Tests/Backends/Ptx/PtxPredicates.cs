using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Comparisons, and what is done with their results: masks with one bit a lane.</summary>
internal static unsafe class PtxPredicates
{
    public static PtxStep? Logic(string operation, string[] operands, PtxOperands names)
    {
        int to = names.PredicateOf(operands[0]);
        if (operation == "mov" && names.IsConstant(operands[1], out ulong constant))
        {
            uint all = constant == 0 ? 0 : ~0u;
            return warp => Put(warp, to, all);
        }

        int x = names.PredicateOf(operands[1]), y = operands.Length > 2 ? names.PredicateOf(operands[2]) : x;
        return operation switch
        {
            "and" => warp => Put(warp, to, warp.P[x] & warp.P[y]),
            "or" => warp => Put(warp, to, warp.P[x] | warp.P[y]),
            "xor" => warp => Put(warp, to, warp.P[x] ^ warp.P[y]),
            "not" => warp => Put(warp, to, ~warp.P[x]),
            _ => warp => Put(warp, to, warp.P[x]),
        };
    }

    public static PtxStep? Select(string type, string[] operands, PtxOperands names)
    {
        bool isWide = type[1..] == "64";
        int to = names.PlaceOf(operands[0], isWide), x = names.PlaceOf(operands[1], isWide), y = names.PlaceOf(operands[2], isWide), p = names.PredicateOf(operands[3]);
        if (isWide)
        {
            return null;
        }

        return warp =>
        {
            uint* r = warp.R;
            for (int i = 0; i < 32; i += 8)
            {
                PtxLanes.Put(r + to + i, warp.Mask >> i, Vector256.ConditionalSelect(PtxLanes.Mask(warp.P[p] >> i), Vector256.Load(r + x + i), Vector256.Load(r + y + i)));
            }
        };
    }

    public static PtxStep? Compare(string relation, string type, string[] operands, PtxOperands names)
    {
        bool isWide = type[1..] == "64";
        int to = names.PredicateOf(operands[0]), x = names.PlaceOf(operands[1], isWide), y = names.PlaceOf(operands[2], isWide);
        return (relation, type) switch
        {
            ("eq", "s64" or "u64" or "b64") => warp => Put(warp, to, Wide(warp, x, y, equal: true)),
            ("ne", "s64" or "u64" or "b64") => warp => Put(warp, to, Wide(warp, x, y, equal: false)),
            ("eq", "f32") => Vectors((a, b) => Vector256.Equals(a.AsSingle(), b.AsSingle()).AsUInt32()),
            ("gt", "f32") => Vectors((a, b) => Vector256.GreaterThan(a.AsSingle(), b.AsSingle()).AsUInt32()),
            ("lt", "f32") => Vectors((a, b) => Vector256.LessThan(a.AsSingle(), b.AsSingle()).AsUInt32()),
            ("leu", "f32") => Vectors((a, b) => ~Vector256.GreaterThan(a.AsSingle(), b.AsSingle()).AsUInt32()),
            ("eq", "s32" or "u32" or "b32") => Vectors(Vector256.Equals),
            ("ne", "s32" or "u32" or "b32") => Vectors((a, b) => ~Vector256.Equals(a, b)),
            ("lt", "s32") => Vectors((a, b) => Vector256.LessThan(a.AsInt32(), b.AsInt32()).AsUInt32()),
            ("le", "s32") => Vectors((a, b) => Vector256.LessThanOrEqual(a.AsInt32(), b.AsInt32()).AsUInt32()),
            ("gt", "s32") => Vectors((a, b) => Vector256.GreaterThan(a.AsInt32(), b.AsInt32()).AsUInt32()),
            ("ge", "s32") => Vectors((a, b) => Vector256.GreaterThanOrEqual(a.AsInt32(), b.AsInt32()).AsUInt32()),
            ("lt", "u32") => Vectors(Vector256.LessThan),
            ("le", "u32") => Vectors(Vector256.LessThanOrEqual),
            ("gt", "u32") => Vectors(Vector256.GreaterThan),
            ("ge", "u32") => Vectors(Vector256.GreaterThanOrEqual),
            _ => null,
        };

        PtxStep Vectors(Func<Vector256<uint>, Vector256<uint>, Vector256<uint>> compare) => warp =>
        {
            uint* r = warp.R;
            uint result = 0;
            for (int i = 0; i < 32; i += 8)
            {
                result |= compare(Vector256.Load(r + x + i), Vector256.Load(r + y + i)).ExtractMostSignificantBits() << i;
            }

            Put(warp, to, result);
        };
    }

    private static uint Wide(PtxWarp warp, int x, int y, bool equal)
    {
        ulong* a = (ulong*)(warp.R + x), b = (ulong*)(warp.R + y);
        uint result = 0;
        for (int i = 0; i < 32; i++)
        {
            result |= a[i] == b[i] == equal ? 1u << i : 0;
        }

        return result;
    }

    private static void Put(PtxWarp warp, int to, uint value) => warp.P[to] = (warp.P[to] & ~warp.Mask) | (value & warp.Mask);
}
