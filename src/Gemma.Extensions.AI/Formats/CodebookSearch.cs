using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// Packs super-blocks of 256 elements into entries of a codebook, signs, and scales of groups, x ≈ d·(2·scale + 1)·unit·±number, so that the weighted squared
/// error is small. For each group a scale is searched for together with the entries; then d, the scales that it can state, and the entries under them.
/// </summary>
internal sealed unsafe class CodebookSearch
{
    private const int Block = BlockFormat.SuperBlock;

    /// <summary>Entries that are tried for numbers which are in no entry: the nearest ones to their rounded levels.</summary>
    private const int Candidates = 16;

    private readonly int _dimension;
    private readonly int _group;
    private readonly bool _evenSigns;
    private readonly float _unit;
    private readonly float[] _levels;
    private readonly float* _numbers; // [entries, dimension]
    private readonly ushort* _nearest; // [levels^dimension, Candidates], nearest first
    private readonly bool[] _isEntry; // [levels^dimension]

    /// <param name="type">The format.</param>
    /// <param name="levels">What the numbers of an entry can be, ascending.</param>
    /// <param name="dimension">Numbers of an entry: 4 or 8.</param>
    /// <param name="group">Elements that share a scale.</param>
    /// <param name="evenSigns">Whether of eight elements an even number must be negative.</param>
    /// <param name="unit">What a number stands for where d and the odd multiple are 1.</param>
    public CodebookSearch(TensorType type, ReadOnlySpan<byte> levels, int dimension, int group, bool evenSigns, float unit)
    {
        (_dimension, _group, _evenSigns, _unit) = (dimension, group, evenSigns, unit);
        _levels = new float[levels.Length];
        for (int i = 0; i < levels.Length; i++)
        {
            _levels[i] = levels[i];
        }

        ushort[] codes = Codebooks.Codes(type);
        int bits = dimension == 8 ? 2 : 3;
        _numbers = (float*)NativeMemory.Alloc((nuint)(codes.Length * dimension), sizeof(float));
        for (int i = 0; i < codes.Length * dimension; i++)
        {
            _numbers[i] = _levels[(codes[i / dimension] >> (i % dimension * bits)) & ((1 << bits) - 1)];
        }

        int points = (int)Math.Pow(levels.Length, dimension);
        _isEntry = new bool[points];
        _nearest = (ushort*)NativeMemory.Alloc((nuint)(points * Candidates), sizeof(ushort));
        float* point = stackalloc float[dimension];
        float[] distances = new float[codes.Length];
        ushort[] order = new ushort[codes.Length];
        for (int i = 0; i < points; i++)
        {
            for (int j = 0, rest = i; j < dimension; j++, rest /= levels.Length)
            {
                point[j] = _levels[rest % levels.Length];
            }

            for (int entry = 0; entry < codes.Length; entry++)
            {
                order[entry] = (ushort)entry;
                distances[entry] = 0;
                for (int j = 0; j < dimension; j++)
                {
                    float difference = point[j] - _numbers[entry * dimension + j];
                    distances[entry] += difference * difference;
                }
            }

            Array.Sort(distances, order);
            _isEntry[i] = distances[0] == 0;
            order.AsSpan(0, Candidates).CopyTo(new Span<ushort>(_nearest + i * Candidates, Candidates));
        }
    }

    /// <summary>Encodes whole super-blocks.</summary>
    /// <param name="format">The format, for the bytes of its blocks.</param>
    /// <param name="source">Finite elements.</param>
    /// <param name="destination">Receives the blocks; d is the first thing in each.</param>
    /// <param name="elements">How many.</param>
    /// <param name="importance">What the squared error of each element weighs; null: the choice of <see cref="ScaleSearch.Weights"/>.</param>
    /// <param name="store">(block, entries [256 / dimension], signs [32], scales [256 / group]): writes them to a block of zeros.</param>
    public void Encode(BlockFormat format, float* source, byte* destination, long elements, float* importance, delegate*<byte*, ushort*, byte*, byte*, void> store)
    {
        float* weights = stackalloc float[Block];
        ushort* entries = stackalloc ushort[Block / 4];
        byte* signs = stackalloc byte[Block / 8];
        byte* scales = stackalloc byte[Block / 16];
        for (long i = 0; i < elements; i += Block, source += Block, destination += format.BlockBytes)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, Block, weights);
            new Span<byte>(destination, format.BlockBytes).Clear();
            *(ushort*)destination = Pack(source, weights, entries, signs, scales);
            store(destination, entries, signs, scales);
        }
    }

    /// <summary>Packs one super-block.</summary>
    /// <param name="x">[256] finite elements.</param>
    /// <param name="weights">[256] what the squared error of each weighs.</param>
    /// <param name="entries">Receives [256 / dimension] indices.</param>
    /// <param name="signs">Receives [32] bytes; bit i of byte b is set where element 8b + i is negative.</param>
    /// <param name="scales">Receives [256 / group] of 0 to 15.</param>
    /// <returns>Bits of the float16 d.</returns>
    private ushort Pack(float* x, float* weights, ushort* entries, byte* signs, byte* scales)
    {
        float* magnitudes = stackalloc float[Block];
        int groups = Block / _group;
        float* fits = stackalloc float[groups];
        TakeSigns(x, weights, magnitudes, signs);
        float largest = 0;
        for (int group = 0; group < groups; group++)
        {
            fits[group] = FitGroup(magnitudes + group * _group, weights + group * _group, entries + group * _group / _dimension);
            largest = Math.Max(largest, fits[group]);
        }

        new Span<byte>(scales, groups).Clear();
        if (largest <= 0)
        {
            new Span<ushort>(entries, Block / _dimension).Clear();
            return 0;
        }

        // d is stated in float16, which holds nothing below 2^-24 and nothing above 65,504.
        float d = BestStep(magnitudes, weights, entries, largest / (31 * _unit), scales, groups);
        for (int round = 0; round < 2; round++)
        {
            (double dot, double square) = (0, 0);
            for (int group = 0; group < groups; group++)
            {
                float scale = Rounded(d) * (2 * scales[group] + 1) * _unit;
                FindEntries(magnitudes + group * _group, weights + group * _group, scale > 0 ? 1 / scale : 0, entries + group * _group / _dimension);
                (double b, double c) = Moments(magnitudes + group * _group, weights + group * _group, entries + group * _group / _dimension);
                double multiple = (2 * scales[group] + 1) * _unit;
                dot += multiple * b;
                square += multiple * multiple * c;
            }

            d = dot > 0 && square > 0 ? (float)(dot / square) : d;
        }

        return HalfBits.FromSingle(Math.Min(d, 65504));
    }

    private static float Rounded(float d) => HalfBits.ToSingle(HalfBits.FromSingle(Math.Min(d, 65504)));

    /// <summary>Magnitudes and signs. Where signs must be even and are not, the element that costs least changes its sign and wants the smallest number.</summary>
    private void TakeSigns(float* x, float* weights, float* magnitudes, byte* signs)
    {
        for (int octet = 0; octet < Block / 8; octet++)
        {
            int bits = 0, cheapest = 0;
            float least = float.PositiveInfinity;
            for (int i = 0; i < 8; i++)
            {
                float value = x[octet * 8 + i];
                magnitudes[octet * 8 + i] = Math.Abs(value);
                bits |= value < 0 ? 1 << i : 0;
                float cost = weights[octet * 8 + i] * value * value;
                (least, cheapest) = cost < least ? (cost, i) : (least, cheapest);
            }

            if (_evenSigns && (System.Numerics.BitOperations.PopCount((uint)bits) & 1) != 0)
            {
                bits ^= 1 << cheapest;
                magnitudes[octet * 8 + cheapest] *= -1;
            }

            signs[octet] = (byte)bits;
        }
    }

    /// <summary>Searches the scale of one group and its entries. Returns the scale, in units of the numbers.</summary>
    private float FitGroup(float* magnitudes, float* weights, ushort* entries)
    {
        float largest = 0;
        for (int i = 0; i < _group; i++)
        {
            largest = Math.Max(largest, magnitudes[i]);
        }

        int count = _group / _dimension;
        new Span<ushort>(entries, count).Clear();
        if (largest < 1e-30f)
        {
            return 0;
        }

        // From scales that clip the largest element to those where it uses half of the levels.
        ushort* trial = stackalloc ushort[_group / 4];
        double best = double.NegativeInfinity;
        float bestScale = 0;
        for (int step = -4; step <= 14; step++)
        {
            Try(_levels[^1] / largest * (1 - step * 0.04f));
        }

        // The scale that suits these entries best may suit others better.
        for (int round = 0; round < 3 && bestScale > 0 && Try(1 / bestScale); round++)
        {
        }

        return bestScale;

        bool Try(float inverse)
        {
            FindEntries(magnitudes, weights, inverse, trial);
            (double dot, double square) = Moments(magnitudes, weights, trial);
            if (dot <= 0 || dot * dot / square <= best)
            {
                return false;
            }

            best = dot * dot / square;
            bestScale = (float)(dot / square);
            Buffer.MemoryCopy(trial, entries, count * sizeof(ushort), count * sizeof(ushort));
            return true;
        }
    }

    /// <summary>The d whose representable scales come nearest to the best ones, and these scales.</summary>
    private float BestStep(float* magnitudes, float* weights, ushort* entries, float start, byte* scales, int groups)
    {
        double* dots = stackalloc double[groups], squares = stackalloc double[groups];
        for (int group = 0; group < groups; group++)
        {
            (dots[group], squares[group]) = Moments(magnitudes + group * _group, weights + group * _group, entries + group * _group / _dimension);
        }

        byte* trial = stackalloc byte[groups];
        double best = double.PositiveInfinity;
        float bestStep = start;
        for (int step = -6; step <= 20; step++)
        {
            float d = Rounded(start * (1 + step * 0.02f));
            double error = 0;
            for (int group = 0; group < groups; group++)
            {
                // The error of a scale s is s²·square - 2·s·dot, and a constant.
                double unit = d * _unit, wanted = squares[group] > 0 ? dots[group] / squares[group] / unit : 0;
                int scale = (int)Math.Clamp(Math.Round((wanted - 1) / 2), 0, 15);
                double s = unit * (2 * scale + 1);
                error += s * (s * squares[group] - 2 * dots[group]);
                trial[group] = (byte)scale;
            }

            if (error < best)
            {
                best = error;
                bestStep = d;
                Buffer.MemoryCopy(trial, scales, groups, groups);
            }
        }

        return bestStep;
    }

    /// <summary>Sums of weight·magnitude·number and weight·number² over a group.</summary>
    private (double Dot, double Square) Moments(float* magnitudes, float* weights, ushort* entries)
    {
        Vector128<float> dot = default, square = default;
        for (int i = 0; i < _group; i += 4)
        {
            Vector128<float> numbers = Vector128.Load(_numbers + entries[i / _dimension] * _dimension + i % _dimension), weighted = Vector128.Load(weights + i) * numbers;
            dot += weighted * Vector128.Load(magnitudes + i);
            square += weighted * numbers;
        }

        return (Vector128.Sum(dot), Vector128.Sum(square));
    }

    private void FindEntries(float* magnitudes, float* weights, float inverseScale, ushort* entries)
    {
        float* scaled = stackalloc float[8];
        for (int start = 0; start < _group; start += _dimension)
        {
            int point = 0;
            for (int j = _dimension - 1; j >= 0; j--)
            {
                scaled[j] = magnitudes[start + j] * inverseScale;
                point = point * _levels.Length + Level(scaled[j]);
            }

            entries[start / _dimension] = Nearest(point, scaled, weights + start);
        }
    }

    /// <summary>Index of the nearest level.</summary>
    private int Level(float value)
    {
        int level = 0;
        while (level < _levels.Length - 1 && value > 0.5f * (_levels[level] + _levels[level + 1]))
        {
            level++;
        }

        return level;
    }

    private ushort Nearest(int point, float* scaled, float* weights)
    {
        ushort* candidates = _nearest + point * Candidates;
        if (_isEntry[point])
        {
            return candidates[0]; // every number is at its best
        }

        ushort best = candidates[0];
        float least = float.PositiveInfinity;
        if (_dimension == 8)
        {
            Vector256<float> x = Vector256.Load(scaled), w = Vector256.Load(weights);
            for (int i = 0; i < Candidates; i++)
            {
                Vector256<float> difference = x - Vector256.Load(_numbers + candidates[i] * 8);
                float distance = Vector256.Sum(w * difference * difference);
                (least, best) = distance < least ? (distance, candidates[i]) : (least, best);
            }

            return best;
        }

        Vector128<float> four = Vector128.Load(scaled), fourWeights = Vector128.Load(weights);
        for (int i = 0; i < Candidates; i++)
        {
            Vector128<float> difference = four - Vector128.Load(_numbers + candidates[i] * 4);
            float distance = Vector128.Sum(fourWeights * difference * difference);
            (least, best) = distance < least ? (distance, candidates[i]) : (least, best);
        }

        return best;
    }
}
