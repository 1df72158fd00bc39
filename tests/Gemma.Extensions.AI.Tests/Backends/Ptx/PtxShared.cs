using System.Globalization;
using System.Numerics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>A copy to shared memory that is under way.</summary>
internal readonly record struct PtxCopy(ulong To, ulong From, int Bytes);

/// <summary>Copies to shared memory that arrive later, and matrices that are read from there.</summary>
internal static unsafe class PtxShared
{
    private const int CopyBytes = 16;

    /// <summary>
    /// cp.async: the bytes arrive when they are waited for, not before, and what lay there is lost at once. So reading too early shows, and so does overwriting what another
    /// warp may still read: both moments count as writing.
    /// </summary>
    public static PtxStep? Copy(string operation, string[] operands, PtxOperands names)
    {
        switch (operation)
        {
            case "cp.async.commit_group":
                return warp =>
                {
                    warp.Require(warp.Alive, operation);
                    warp.Copies.Add(warp.OpenCopies);
                    warp.OpenCopies = [];
                };
            case "cp.async.wait_group":
                int later = int.Parse(operands[0], CultureInfo.InvariantCulture);
                return warp =>
                {
                    warp.Require(warp.Alive, operation);
                    while (warp.Copies.Count > later)
                    {
                        warp.Copies[0].ForEach(copy => Arrive(warp, copy));
                        warp.Copies.RemoveAt(0);
                    }
                };
            case "cp.async.cg.shared.global" when operands[2] == "16":
                (int to, long toOffset, _) = names.AddressOf(operands[0]);
                (int from, long fromOffset, _) = names.AddressOf(operands[1]);
                int bytes = names.PlaceOf(operands[3], isWide: false);
                return warp =>
                {
                    for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
                    {
                        int lane = BitOperations.TrailingZeroCount(mask);
                        PtxCopy copy = new(warp.R[to + lane] + (ulong)toOffset, ((ulong*)(warp.R + from))[lane] + (ulong)fromOffset, (int)warp.R[bytes + lane]);
                        if (copy.Bytes is not (0 or CopyBytes))
                        {
                            throw new PtxException($"cp.async of {copy.Bytes} bytes.");
                        }

                        new Span<byte>(warp.Block.Shared(copy.To, CopyBytes, warp.Index, write: true), CopyBytes).Fill(0xFF);
                        warp.OpenCopies.Add(copy);
                    }
                };
            default:
                return null;
        }
    }

    /// <summary>ldmatrix: the lanes 8 i to 8 i + 7 give the rows of matrix i, of eight 16-bit numbers each.</summary>
    public static PtxStep? LoadMatrices(string operation, string[] operands, PtxOperands names)
    {
        bool transposed = operation == "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16";
        if (!transposed && operation != "ldmatrix.sync.aligned.m8n8.x4.shared.b16")
        {
            return null;
        }

        int[] to = [.. PtxOperands.VectorOf(operands[0]).Select(register => names.PlaceOf(register, isWide: false))];
        (int address, long offset, _) = names.AddressOf(operands[1]);
        return warp =>
        {
            warp.RequireAll("ldmatrix");
            uint* r = warp.R;
            ushort** rows = stackalloc ushort*[32];
            for (int lane = 0; lane < 32; lane++)
            {
                rows[lane] = (ushort*)warp.Block.Shared(r[address + lane] + (ulong)offset, 16, warp.Index, write: false);
            }

            for (int matrix = 0; matrix < 4; matrix++)
            {
                for (int lane = 0; lane < 32; lane++)
                {
                    int g = lane / 4, q = lane % 4 * 2;
                    ushort** row = rows + 8 * matrix;
                    r[to[matrix] + lane] = transposed ? row[q][g] | (uint)row[q + 1][g] << 16 : row[g][q] | (uint)row[g][q + 1] << 16;
                }
            }
        };
    }

    private static void Arrive(PtxWarp warp, PtxCopy copy)
    {
        byte* to = warp.Block.Shared(copy.To, CopyBytes, warp.Index, write: true);
        if (copy.Bytes == 0)
        {
            new Span<byte>(to, CopyBytes).Clear();
        }
        else
        {
            Buffer.MemoryCopy(warp.Memory.At(copy.From, CopyBytes, warp), to, CopyBytes, CopyBytes);
        }
    }
}
