using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends;

/// <summary>
/// Cosines and sines of the rotary angles by position, extended on demand. Angles are float32 products of position and frequency,
/// as in gemma_pytorch's precompute_freqs_cis; their cosines are taken in double precision.
/// </summary>
internal sealed unsafe class RopeTable(float @base, float factor, int headDim) : IDisposable
{
    private const int ChunkPositions = 256;
    private readonly float[] _frequencies = Frequencies(@base, factor, headDim);
    private readonly List<nint> _chunks = [];

    public float Base { get; } = @base;
    public float Factor { get; } = factor;
    public int HeadDim { get; } = headDim;

    /// <summary>headDim/2 cosines followed by headDim/2 sines. The position must have been <see cref="Ensure">ensured</see>.</summary>
    public float* Row(int position) => (float*)_chunks[position / ChunkPositions] + (long)(position % ChunkPositions) * HeadDim;

    /// <summary>Makes rows for positions 0 to <paramref name="position"/>.</summary>
    public void Ensure(int position)
    {
        while (_chunks.Count * ChunkPositions <= position)
        {
            float* rows = (float*)NativeMemory.AlignedAlloc((nuint)(ChunkPositions * HeadDim * sizeof(float)), 64);
            int half = HeadDim / 2;
            for (int i = 0; i < ChunkPositions; i++)
            {
                float p = _chunks.Count * ChunkPositions + i;
                for (int j = 0; j < half; j++)
                {
                    (double sin, double cos) = Math.SinCos(p * _frequencies[j]);
                    rows[i * HeadDim + j] = (float)cos;
                    rows[i * HeadDim + half + j] = (float)sin;
                }
            }

            _chunks.Add((nint)rows);
        }
    }

    public void Dispose()
    {
        foreach (nint chunk in _chunks)
        {
            NativeMemory.AlignedFree((void*)chunk);
        }

        _chunks.Clear();
    }

    private static float[] Frequencies(float @base, float factor, int headDim)
    {
        float[] result = new float[headDim / 2];
        for (int i = 0; i < result.Length; i++)
        {
            result[i] = 1 / (float)Math.Pow(@base, 2f * i / headDim) / factor;
        }

        return result;
    }
}
