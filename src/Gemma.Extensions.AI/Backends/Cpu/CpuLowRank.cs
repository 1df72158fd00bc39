using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>
/// Updates of a stacked matrix. The A of all parts lie behind one another, [ranks, columns], so that one pass over x serves them; each B is
/// transposed, [rank, rows of the part], so that a result is a sum of rows.
/// </summary>
internal sealed unsafe class CpuLowRank : LowRankMatrix
{
    private const int ChunkRows = 512;
    private readonly float[] _a, _b; // pinned: the kernels use their addresses

    public CpuLowRank(int rows, int columns, ReadOnlySpan<LowRankPart> parts)
        : base(rows, columns)
    {
        long aCount = 0, bCount = 0;
        foreach (LowRankPart part in parts)
        {
            aCount += part.A.Length;
            bCount += part.B.Length;
        }

        _a = GC.AllocateUninitializedArray<float>(checked((int)aCount), pinned: true);
        _b = GC.AllocateUninitializedArray<float>(checked((int)bCount), pinned: true);
        A = (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_a));
        float* b = (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_b));
        List<Chunk> chunks = new();
        List<(int, int, int)> ranks = new();
        foreach (LowRankPart part in parts)
        {
            int outputs = part.B.Length / part.Rank;
            part.A.CopyTo(_a, (long)Rank * columns);
            for (int n = 0; n < outputs; n++)
            {
                for (int j = 0; j < part.Rank; j++)
                {
                    b[(long)j * outputs + n] = part.B[(long)n * part.Rank + j];
                }
            }

            for (int n = 0; n < outputs; n += ChunkRows)
            {
                chunks.Add(new Chunk(b + n, outputs, Rank, part.Rank, PaddedRank, part.FirstRow + n, Math.Min(ChunkRows, outputs - n)));
            }

            ranks.Add((Rank, part.Rank, PaddedRank));

            b += part.B.Length;
            Rank += part.Rank;
            PaddedRank += MatrixKernels.Padded(part.Rank);
        }

        Chunks = [.. chunks];
        Parts = [.. ranks];
    }

    /// <summary>Sum of the parts' ranks.</summary>
    public int Rank { get; }

    /// <summary>The same where each part's rank is filled up to whole tiles of 32.</summary>
    public int PaddedRank { get; }

    /// <summary>First rank and rank of each part, and the first one when the parts before it are filled up.</summary>
    public (int First, int Rank, int PaddedFirst)[] Parts { get; }

    /// <summary>[<see cref="Rank"/>, columns].</summary>
    public float* A { get; }

    /// <summary>Slices of the outputs, each short enough for L1.</summary>
    public Chunk[] Chunks { get; }

    /// <summary>Some outputs of one part.</summary>
    public readonly struct Chunk(float* b, int stride, int firstRank, int rank, int paddedFirst, int firstRow, int rows)
    {
        /// <summary>The chunk's first output in the transposed B; its rows are <see cref="Stride"/> floats apart.</summary>
        public readonly float* B = b;
        public readonly int Stride = stride;
        public readonly int FirstRank = firstRank;
        public readonly int Rank = rank;

        /// <summary>As in <see cref="Parts"/>.</summary>
        public readonly int PaddedFirst = paddedFirst;
        public readonly int FirstRow = firstRow;
        public readonly int Rows = rows;
    }
}
