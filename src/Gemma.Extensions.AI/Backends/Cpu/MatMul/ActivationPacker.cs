using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Packs the activations of a product into the layouts that its weights need, each once: interleaved floats, or signed bytes with a scale for every 32
/// and the sums for zero points or minima.
/// </summary>
internal sealed unsafe class ActivationPacker(WorkerPool workers, VectorLoops? loops) : IDisposable
{
    private readonly NativeBuffer _int8 = new(), _scales = new(), _float32 = new(), _bfloat16 = new(), _matrix = new();
    private readonly List<NativeBuffer> _terms = [];

    private VectorLoops? Loops => loops;

    /// <summary>Scales of 32 activations each: [step][panel][column/32][P].</summary>
    public float* Scales => (float*)_scales.Data;

    /// <summary>Zero-point terms of one kind: [step][panel][group][P], int32 or float32.</summary>
    public int* ZeroPointTerms(int kind) => (int*)_terms[kind].Data;

    /// <summary>The packed activations. A single row of float32 is used where it lies.</summary>
    public byte* Data(ActivationLayout layout, CpuMatrix x, int rows) => layout switch
    {
        ActivationLayout.Float32 => rows == 1 ? (byte*)x.Data : _float32.Data,
        ActivationLayout.BFloat16x2 => _bfloat16.Data,
        ActivationLayout.BFloat16Matrix => _matrix.Data,
        _ => _int8.Data,
    };

    /// <summary>Packs the first rows of a matrix in panels of <paramref name="panel"/> rows and steps of <paramref name="step"/> columns.</summary>
    public void Pack(CpuMatrix x, int rows, ActivationLayout layout, int panel, int step, ZeroPointTerms[] terms)
    {
        if (layout.IsInt8())
        {
            PackInt8(x, rows, layout, panel, step, terms);
        }
        else if (layout == ActivationLayout.BFloat16x2)
        {
            InterleaveWork work = new(x, _bfloat16.Reserve(sizeof(ushort) * (long)rows * x.Columns), rows, panel, x.Columns / 2, step / 2, layout);
            workers.Run(ref work, (rows + panel - 1) / panel);
        }
        else if (rows > 1)
        {
            InterleaveWork work = new(x, _float32.Reserve(sizeof(float) * (long)rows * x.Columns), rows, panel, x.Columns, step, layout);
            workers.Run(ref work, (rows + panel - 1) / panel);
        }
    }

    /// <summary>Packs rows of a matrix for matrix registers.</summary>
    public void PackMatrix(CpuMatrix x, int firstRow, int rows)
    {
        MatrixWork work = new(x, (ushort*)_matrix.Reserve(sizeof(ushort) * (long)rows * MatrixKernels.Padded(x.Columns)), firstRow, rows);
        workers.Run(ref work, (rows + MatrixKernels.RegisterRows - 1) / MatrixKernels.RegisterRows);
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in (NativeBuffer[])[.. _terms, _int8, _scales, _float32, _bfloat16, _matrix])
        {
            buffer.Dispose();
        }
    }

    private void PackInt8(CpuMatrix x, int rows, ActivationLayout layout, int panel, int step, ZeroPointTerms[] terms)
    {
        int columns = x.Columns;
        _int8.Reserve((long)rows * columns);
        _scales.Reserve((long)rows * (columns / 32) * sizeof(float));
        for (int kind = 0; kind < terms.Length; kind++)
        {
            if (kind == _terms.Count)
            {
                _terms.Add(new NativeBuffer());
            }

            _terms[kind].Reserve((long)rows * (columns / terms[kind].Group) * sizeof(int));
        }

        // A batch is divided by panels. A single panel, whose layout does not depend on the step, is divided by columns if that is worth waking workers.
        int share = columns;
        if (panel == rows)
        {
            step = Math.Min(step, BlockSizes.Int8Columns / 2);
            if ((long)rows * columns >= BlockSizes.SmallWork)
            {
                share = (columns / workers.Count + step - 1) / step * step;
            }
        }

        QuantiseWork work = new(this, x, rows, layout, panel, step, share, terms);
        workers.Run(ref work, (rows + panel - 1) / panel * work.Shares);
    }

    /// <summary>[step][panel][unit][P]; a unit is a float32, or a pair of bfloat16: four bytes either way.</summary>
    private readonly struct InterleaveWork(CpuMatrix x, byte* target, int rows, int panel, int units, int step, ActivationLayout layout) : IParallelWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            int first = part * panel, count = Math.Min(panel, rows - first);
            for (int start = 0; start < units; start += step)
            {
                int length = Math.Min(step, units - start);
                byte* destination = target + 4 * ((long)rows * start + (long)first * length);
                for (int r = 0; r < count; r++)
                {
                    if (layout == ActivationLayout.BFloat16x2)
                    {
                        Put(x.RowData(first + r) + 2 * start, (uint*)destination + r, length, count);
                    }
                    else
                    {
                        Put(x.RowData(first + r) + start, (float*)destination + r, length, count);
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Put(float* source, float* destination, int length, int count)
        {
            for (int k = 0; k < length; k++)
            {
                destination[k * count] = source[k];
            }
        }

        /// <summary>Rounds to bfloat16, nearest even. The first of a pair is the lower half.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Put(float* source, uint* destination, int length, int count)
        {
            for (int k = 0; k < length; k++)
            {
                destination[k * count] = HalfBits.BFloat16FromSingle(source[2 * k]) | (uint)HalfBits.BFloat16FromSingle(source[2 * k + 1]) << 16;
            }
        }
    }

    /// <summary>One register of rows a part.</summary>
    private readonly struct MatrixWork(CpuMatrix x, ushort* target, int firstRow, int rows) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            int first = part * MatrixKernels.RegisterRows, count = Math.Min(MatrixKernels.RegisterRows, rows - first);
            ushort* panel = target + (long)first * MatrixKernels.Padded(x.Columns);
            for (int r = 0; r < count; r++)
            {
                BFloat16Rows.Pack(x.RowData(firstRow + first + r), x.Columns, 1, panel + r * MatrixKernels.StepColumns, count);
            }
        }
    }

    /// <summary>Signed bytes [step][panel][…] in one of the int8 layouts, their scales, and the terms of each kind in the same order.</summary>
    private readonly struct QuantiseWork(ActivationPacker owner, CpuMatrix x, int rows, ActivationLayout layout, int panel, int step, int share, ZeroPointTerms[] terms) : IParallelWork
    {
        public int Shares => (x.Columns + share - 1) / share;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            int first = part / Shares * panel, count = Math.Min(panel, rows - first), begin = part % Shares * share, end = Math.Min(x.Columns, begin + share);
            bool sixteens = layout == ActivationLayout.Int8x16;
            int* sums = stackalloc int[2 * step / 32];
            for (int start = begin; start < end; start += step)
            {
                int columns = Math.Min(step, end - start), blocks = columns / 32;
                for (int r = 0; r < count; r++)
                {
                    float* source = x.RowData(first + r) + start;
                    int* target = (int*)(owner._int8.Data + (long)rows * start + (long)first * columns) + (sixteens ? 4 * r : r);
                    float* scales = owner.Scales + (long)rows * (start / 32) + (long)first * blocks + r;
                    if (owner.Loops is { } loops)
                    {
                        QuantiseArgs args = new() { Source = source, Target = target, Scales = scales, Sums = sums, Blocks = blocks, Rows = count };
                        loops.Quantise(&args, sixteens);
                    }
                    else
                    {
                        for (int block = 0; block < blocks; block++)
                        {
                            scales[block * count] = Round(source + 32 * block, target + 8 * count * block, count, sixteens, sums + 2 * block);
                        }
                    }

                    for (int kind = 0; kind < terms.Length; kind++)
                    {
                        ZeroPointTerms needed = terms[kind];
                        int groups = columns / needed.Group;
                        PutTerms(needed, owner.ZeroPointTerms(kind) + (long)rows * (start / needed.Group) + (long)first * groups + r, count, groups, scales, sums);
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void PutTerms(ZeroPointTerms needed, int* terms, int count, int groups, float* scales, int* sums)
        {
            int perBlock = 32 / needed.Group, offset = -needed.Offset;
            bool minimum = needed.HasMinimum;
            for (int g = 0; g < groups; g++)
            {
                int sum = perBlock == 1 ? sums[2 * g] + sums[2 * g + 1] : sums[g];
                if (minimum)
                {
                    ((float*)terms)[g * count] = scales[g / perBlock * count] * sum;
                }
                else
                {
                    terms[g * count] = offset * sum;
                }
            }
        }

        /// <summary>
        /// Rounds 32 numbers to signed bytes, stored four by four (or 16 by 16) between those of the other rows of the panel, <paramref name="stride"/> in all;
        /// returns their scale, and the sums of their halves.
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Round(float* source, int* target, int stride, bool sixteens, int* sums)
        {
            Vector512<float> low = Vector512.Load(source), high = Vector512.Load(source + 16);
            Vector512<float> magnitude = Vector512.Max(Vector512.Abs(low), Vector512.Abs(high));
            Vector256<float> half = Vector256.Max(magnitude.GetLower(), magnitude.GetUpper());
            Vector128<float> quarter = Vector128.Max(half.GetLower(), half.GetUpper());
            quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
            quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2)));
            float max = quarter.ToScalar();
            float inverse = max > 0 ? 127 / max : 0;

            // Adding 1.5·2^23 rounds to nearest even and leaves the integer in the low bits.
            Vector512<float> magic = Vector512.Create(12582912f);
            Vector512<int> a = (low * inverse + magic).AsInt32() - magic.AsInt32();
            Vector512<int> b = (high * inverse + magic).AsInt32() - magic.AsInt32();
            sums[0] = Vector512.Sum(a);
            sums[1] = Vector512.Sum(b);
            Vector256<sbyte> bytes = Vector256.Narrow(Vector256.Narrow(a.GetLower(), a.GetUpper()), Vector256.Narrow(b.GetLower(), b.GetUpper()));
            if (sixteens)
            {
                bytes.GetLower().AsInt32().Store(target);
                bytes.GetUpper().AsInt32().Store(target + 4 * stride);
            }
            else
            {
                int* dwords = stackalloc int[8];
                bytes.AsInt32().Store(dwords);
                for (int i = 0; i < 8; i++)
                {
                    target[i * stride] = dwords[i];
                }
            }

            return max / 127;
        }
    }
}
