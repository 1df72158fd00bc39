using System.Globalization;
using System.Numerics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Loads and stores, of up to four numbers at once.</summary>
internal static unsafe class PtxAccess
{
    public static PtxStep? Decode(string[] parts, string[] operands, PtxOperands names)
    {
        bool load = parts[0] == "ld", signed = parts[^1][0] == 's';
        string space = parts[1];
        int bytes = int.Parse(parts[^1].AsSpan(1), CultureInfo.InvariantCulture) / 8;
        string[] registers = PtxOperands.VectorOf(operands[load ? 0 : 1]);
        (int, bool)[] places = [.. registers.Select(register => register.StartsWith("%rd", StringComparison.Ordinal) || (bytes == 8 && register[0] != '%')).Zip(registers, (wide, register) => (names.PlaceOf(register, wide), wide))];
        bool isWide = PtxOperands.IsWideAddress(operands[load ? 1 : 0]);
        (int place, long offset, bool isParameter) = names.AddressOf(operands[load ? 1 : 0]);
        return (space, isParameter) switch
        {
            ("param", true) when load => warp => Parameter(warp, (int)offset, bytes, signed, places),
            ("global", false) => warp => Global(warp, load, place, offset, bytes, signed, places),
            ("shared", false) => warp => Shared(warp, load, place, isWide, offset, bytes, signed, places),
            _ => null,
        };
    }

    private static void Parameter(PtxWarp warp, int offset, int bytes, bool signed, (int Place, bool IsWide)[] places)
    {
        fixed (byte* parameters = warp.Block.Parameters)
        {
            for (int k = 0; k < places.Length; k++)
            {
                for (int lane = 0; lane < 32; lane++)
                {
                    Load(warp.R, places[k], lane, parameters + offset + k * bytes, bytes, signed);
                }
            }
        }
    }

    private static void Global(PtxWarp warp, bool load, int place, long offset, int bytes, bool signed, (int Place, bool IsWide)[] places)
    {
        ulong* addresses = (ulong*)(warp.R + place);
        int size = bytes * places.Length;
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            Transfer(warp, lane, warp.Memory.At(addresses[lane] + (ulong)offset, size, warp), load, bytes, signed, places);
        }
    }

    private static void Shared(PtxWarp warp, bool load, int place, bool isWide, long offset, int bytes, bool signed, (int Place, bool IsWide)[] places)
    {
        int size = bytes * places.Length;
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int lane = BitOperations.TrailingZeroCount(mask);
            ulong address = (isWide ? ((ulong*)(warp.R + place))[lane] : warp.R[place + lane]) + (ulong)offset;
            Transfer(warp, lane, warp.Block.Shared(address, size, warp.Index, !load), load, bytes, signed, places);
        }
    }

    private static void Transfer(PtxWarp warp, int lane, byte* memory, bool load, int bytes, bool signed, (int Place, bool IsWide)[] places)
    {
        foreach ((int, bool) register in places)
        {
            if (load)
            {
                Load(warp.R, register, lane, memory, bytes, signed);
            }
            else
            {
                Store(warp.R, register, lane, memory, bytes);
            }

            memory += bytes;
        }
    }

    /// <summary>A register may be wider than what is loaded: the rest is the sign, or zero.</summary>
    private static void Load(uint* registers, (int Place, bool IsWide) register, int lane, byte* memory, int bytes, bool signed)
    {
        ulong value = bytes switch
        {
            1 => signed ? (ulong)*(sbyte*)memory : *memory,
            2 => signed ? (ulong)*(short*)memory : *(ushort*)memory,
            4 => signed ? (ulong)*(int*)memory : *(uint*)memory,
            _ => *(ulong*)memory,
        };
        if (register.IsWide)
        {
            ((ulong*)(registers + register.Place))[lane] = value;
        }
        else
        {
            registers[register.Place + lane] = (uint)value;
        }
    }

    private static void Store(uint* registers, (int Place, bool IsWide) register, int lane, byte* memory, int bytes)
    {
        ulong value = register.IsWide ? ((ulong*)(registers + register.Place))[lane] : registers[register.Place + lane];
        switch (bytes)
        {
            case 1:
                *memory = (byte)value;
                break;
            case 2:
                *(ushort*)memory = (ushort)value;
                break;
            case 4:
                *(uint*)memory = (uint)value;
                break;
            default:
                *(ulong*)memory = value;
                break;
        }
    }
}
