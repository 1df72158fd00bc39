using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles <see cref="Gemv"/> for one to <see cref="GemvArgs.MaxActivationRows"/> activation rows, <c>void f(GemvArgs*)</c>: 16 weight rows in 16 lanes are unpacked once,
/// and for every 32 columns an activation row costs eight <c>vpdpbusd</c> with broadcast memory operands and four instructions of scaling. Codebook formats with groups of 16 columns
/// take twice as many, with an accumulator for each half, and four rows at most.
/// Prefetches are spread evenly among the products: a burst of them fills the core's line fill buffers and stalls it.
/// A loop body covers 32 to 128 columns, few enough instructions for the micro-op cache.
/// </summary>
internal sealed partial class GemvAssembler : RowAssembler
{
    private const int LoopScratch = 1024;

    private static readonly AssemblerRegister64 Activations = rsi, ActivationScales = rdi, ZeroPointTerms = rbx;
    private static readonly AssemblerRegister64 Ahead = rbp, Stream = r12, Stream3 = r13;
    private static readonly AssemblerRegister64 Scratch = r14, PartOffset = r15;
    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15, rsi, rdi];

    // zmm0-7: sums; 8-15: integer accumulators, free between groups; of more than eight rows 0-15 are accumulators, or sums without any; 16-24: packed weights; from 25: temporaries and constants.
    private static readonly AssemblerRegisterZMM Scale = zmm27, Minimum = zmm28;

    private readonly int _rows, _streams;
    private readonly bool _windows, _manyRows, _sumsInMemory;
    private readonly GemvTuning _tuning;
    private AssemblerRegisterZMM[] _temporaries = [zmm25, zmm26, zmm29];
    private int _requests, _turn;

    private GemvAssembler(TensorType type, int rows, bool windows, GemvTuning tuning, bool interleaved)
        : base(interleaved)
    {
        _tuning = tuning;
        _rows = rows;
        _windows = windows;
        _streams = Streams(type);
        _manyRows = rows > GemvArgs.MaxRegisterRows;

        // Sums of floats need no accumulators beside them, and groups of 16 columns take few registers for weights.
        _sumsInMemory = _manyRows && type is not (TensorType.BF16 or TensorType.Q6_K);
    }

    /// <summary>
    /// The machine code, in the Windows or the System V calling convention; null for a format without a GEMV kernel (for so many rows), which goes through
    /// tiles. bfloat16 weights take bfloat16 activations if their tiles do.
    /// </summary>
    public static byte[]? Assemble(TileFormat format, int rows, bool windows, GemvTuning tuning = default, bool interleaved = false)
    {
        if (interleaved && !InterleavedRows.Has(format.Type))
        {
            return null;
        }

        GemvAssembler assembler = new(format.Type, rows, windows, tuning, interleaved);
        Action? blocks = format.Type switch
        {
            TensorType.IQ3_S or TensorType.IQ3_XXS or TensorType.IQ2_XXS or TensorType.IQ1_S when rows > GemvArgs.MaxRegisterRows => null,
            TensorType.Q4_0 => assembler.Q4_0,
            TensorType.Q8_0 => assembler.Q8_0,
            TensorType.Q4_K => assembler.Q4_K,
            TensorType.Q5_K => assembler.Q5_K,
            TensorType.Q6_K => assembler.Q6_K,
            TensorType.IQ4_NL => assembler.IQ4_NL,
            TensorType.IQ4_XS => assembler.IQ4_XS,
            TensorType.IQ3_S => assembler.IQ3_S,
            TensorType.IQ3_XXS => assembler.IQ3_XXS,
            TensorType.IQ2_S when rows <= 4 => assembler.IQ2_S,
            TensorType.IQ2_XS when rows <= 4 => assembler.IQ2_XS,
            TensorType.IQ2_XXS => assembler.IQ2_XXS,
            TensorType.IQ1_M when rows <= 4 => assembler.IQ1_M,
            TensorType.IQ1_S => assembler.IQ1_S,
            TensorType.BF16 => format.Layout == TileLayout.BFloat16x2 ? assembler.BFloat16Pairs : assembler.BF16,
            _ => null,
        };
        return assembler.Function(blocks);
    }

    /// <summary>Bytes from a stream to the next, of the 16 rows that are prefetched.</summary>
    /// <param name="type">Type of the weights.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    public static long StreamBytes(TensorType type, long rowBytes) => (GemvArgs.WeightRows * rowBytes / Streams(type) + Line - 1) & -Line;

    /// <summary>
    /// Streams in which a format's kernel prefetches the next rows. A turn of its loop takes so many requests of each stream, one line each, that all lines are requested: with four
    /// streams a block of Q4_0 (4.5 lines) left every ninth line out, one of Q8_0 (8.5) every seventeenth, and one of Q6_K (52.5) the last line of each stream.
    /// </summary>
    private static int Streams(TensorType type) => type switch
    {
        TensorType.Q4_0 or TensorType.IQ4_NL => 5,
        TensorType.Q8_0 or TensorType.Q6_K => 3,
        _ => 4,
    };

    /// <summary>The products of one group of columns, in the order of sums that <see cref="MatMulKernels"/> states.</summary>
    private void Group(int group, int steps, bool minimum, int requests, Func<int, AssemblerRegisterZMM, AssemblerRegisterZMM> weights, bool scaleIsLoaded = false)
    {
        StartAccumulators(group, minimum);
        for (int j = 0; j < steps; j += 4)
        {
            if (_rows > 2 && steps == 4 && group % 2 == 1 && !_tuning.OneProductACycle)
            {
                ShuffledProducts(group * steps - Middle(steps), j, weights);
            }
            else
            {
                BroadcastProducts(group * steps - Middle(steps), j, weights);
            }

            Requests((j + 4) * requests / steps - j * requests / steps);
        }

        if (!scaleIsLoaded)
        {
            int stride = minimum ? 2 * Line : Line;
            _c.vmovaps(Scale, KeptOfPart(stride * group, 0));
            if (minimum)
            {
                _c.vmovaps(Minimum, KeptOfPart(stride * group, 1));
            }
        }

        for (int row = 0; row < _rows; row++)
        {
            AssemblerRegisterZMM scale = Temporary();
            _c.vmulps(scale, Scale, __dword_bcst[ActivationScales + 4 * (group * steps / 8 * _rows + row)]);
            _c.vcvtdq2ps(Accumulator(row), Accumulator(row));
            AssemblerRegisterZMM sum = _sumsInMemory ? Accumulator(row) : Sum(row);
            if (_sumsInMemory)
            {
                _c.vfmadd213ps(sum, scale, SumInMemory(row));
            }
            else
            {
                _c.vfmadd231ps(sum, Accumulator(row), scale);
            }

            if (minimum)
            {
                _c.vfnmadd231ps(sum, Minimum, __dword_bcst[ZeroPointTerms + 4 * (group * _rows + row)]);
            }

            if (_sumsInMemory)
            {
                _c.vmovaps(SumInMemory(row), sum);
            }
        }
    }

    /// <summary>The accumulators begin with zero, or with the zero point's part.</summary>
    private void StartAccumulators(int group, bool minimum)
    {
        for (int row = 0; row < _rows; row++)
        {
            if (minimum)
            {
                _c.vpxord(Accumulator(row), Accumulator(row), Accumulator(row));
            }
            else
            {
                _c.vpbroadcastd(Accumulator(row), __dword_ptr[ZeroPointTerms + 4 * (group * _rows + row)]);
            }
        }
    }

    /// <summary>16 columns with activations as broadcast memory operands, one load per product.</summary>
    private void BroadcastProducts(int offset, int first, Func<int, AssemblerRegisterZMM, AssemblerRegisterZMM> weights)
    {
        for (int j = first; j < first + 4; j++)
        {
            AssemblerRegisterZMM w = weights(j, Temporary());
            for (int row = 0; row < _rows; row++)
            {
                _c.vpdpbusd(Accumulator(row), w, __dword_bcst[Activations + Activation(offset + j, row)]);
            }
        }
    }

    /// <summary>
    /// 16 columns with one load of activations per row and four shuffles. On an Ice Lake server two products issued per cycle but only one vector
    /// load, so groups of 16 columns, the most load-bound, alternate between the two ways: 5 to 12 % less time for eight rows of Q6_K. Groups of 32 columns gained nothing.
    /// Zen 4 issues one product and one load per cycle, and shuffles only add to them: 5 % more time.
    /// </summary>
    private void ShuffledProducts(int offset, int first, Func<int, AssemblerRegisterZMM, AssemblerRegisterZMM> weights)
    {
        AssemblerRegisterZMM[] w = [weights(first, zmm24), weights(first + 1, Scale), weights(first + 2, Minimum), weights(first + 3, zmm29)];
        for (int row = 0; row < _rows; row++)
        {
            _c.vbroadcasti32x4(zmm25, __xmmword_ptr[Activations + Activation(offset + first, row)]);
            for (int i = 0; i < 4; i++)
            {
                _c.vpshufd(zmm26, zmm25, (byte)(0x55 * i));
                _c.vpdpbusd(Accumulator(row), w[i], zmm26);
            }
        }
    }

    /// <summary>Offset of four columns in a[column/16][P][16].</summary>
    private int Activation(int step, int row) => 16 * ((step >> 2) * _rows + row) + 4 * (step & 3);

    /// <summary>Steps from the activation pointer back to the first of the part.</summary>
    private static int Middle(int steps) => steps == 4 ? 16 : 0;

    /// <summary>Advances the pointers by bytes of weights and columns of activations; each group of columns has zero-point terms.</summary>
    private void Advance(int bytes, int columns, int group = 32)
    {
        AdvanceRows(bytes);
        if (columns > 0)
        {
            _c.add(Activations, columns * _rows);
            _c.add(ActivationScales, columns / 32 * 4 * _rows);
            _c.add(ZeroPointTerms, columns / group * 4 * _rows);
        }
    }

    /// <summary>The outer loop, over blocks. The body advances the pointers itself, except past the bytes that follow a block's parts.</summary>
    private void Loop(int restBytes, Action body)
    {
        Label start = _c.CreateLabel();
        _c.Label(ref start);
        body();
        if (restBytes > 0)
        {
            Advance(restBytes, 0);
        }

        _c.dec(Blocks);
        _c.jnz(start);
    }

    /// <summary>A loop over a block of 256 columns; <see cref="PartOffset"/> walks over the first 1024 bytes of scratch.</summary>
    private void Parts(int scratch, int bytes, int columns, int group, Action body)
    {
        _c.xor(r15d, r15d);
        Label start = _c.CreateLabel();
        _c.Label(ref start);
        body();
        Advance(bytes, columns, group);
        _c.add(PartOffset, scratch);
        _c.cmp(r15d, LoopScratch);
        _c.jb(start);
    }

    private void Keep(int offset, int[] registers)
    {
        for (int j = 0; j < registers.Length; j++)
        {
            _c.vmovdqa32(Kept(offset, j), Z(registers[j]));
        }
    }

    private static AssemblerMemoryOperand Kept(int offset, int j) => __zmmword_ptr[Scratch + offset + Line * j];

    /// <summary>Scratch of the part that the inner loop is at.</summary>
    private static AssemblerMemoryOperand KeptOfPart(int offset, int j) => __zmmword_ptr[Scratch + PartOffset + offset + Line * j];

    /// <summary>
    /// Prefetches the next lines, in three to five streams. A turn of a loop must take a multiple of them: the same code requests the same streams again. Interleaved rows are one stream, and
    /// it is just ahead: nearer lines go to the first cache.
    /// </summary>
    private void Requests(int count)
    {
        for (; count > 0; count--)
        {
            if (Interleaved)
            {
                _c.prefetcht0(__byte_ptr[Ahead]);
                _c.add(Ahead, Line);
                continue;
            }

            int stream = _requests++ % _streams;
            switch (stream)
            {
                case 0:
                    _c.prefetcht1(__byte_ptr[Ahead]);
                    break;
                case 3:
                    _c.prefetcht1(__byte_ptr[Ahead + Stream3]);
                    break;
                default:
                    _c.prefetcht1(__byte_ptr[Ahead + Stream * stream]);
                    break;
            }

            if (stream == _streams - 1)
            {
                _c.add(Ahead, Line);
            }
        }
    }

    private AssemblerRegisterZMM And(AssemblerRegisterZMM target, AssemblerRegisterZMM mask, int register)
    {
        _c.vpandd(target, mask, Z(register));
        return target;
    }

    private AssemblerRegisterZMM AndNot(AssemblerRegisterZMM target, AssemblerRegisterZMM mask, int register)
    {
        _c.vpandnd(target, mask, Z(register));
        return target;
    }

    /// <summary>Rotates through three registers.</summary>
    private AssemblerRegisterZMM Temporary() => _temporaries[_turn++ % 3];

    private static AssemblerRegisterZMM Sum(int row) => Z(row);

    private AssemblerRegisterZMM Accumulator(int row) => Z(_sumsInMemory ? row : _manyRows ? GemvArgs.MaxActivationRows + row % GemvArgs.MaxRegisterRows : GemvArgs.MaxRegisterRows + row);

    private static AssemblerMemoryOperand SumInMemory(int row) => Kept(GemvArgs.SumsAt, row);

    /// <summary>Prologue: loads the arguments and clears the sums.</summary>
    protected override void Begin()
    {
        foreach (AssemblerRegister64 register in Saved)
        {
            _c.push(register);
        }

        AssemblerRegister64 args = _windows ? rcx : rdi;
        _c.push(args);
        if (_windows)
        {
            GemmAssembler.SaveVectors(_c);
        }

        _c.mov(rax, args);
        _c.mov(Bases[0], __qword_ptr[rax + GemvArgs.WeightsAt]);
        _c.mov(Stride, __qword_ptr[rax + GemvArgs.WeightStrideAt]);
        RowAddresses();
        _c.mov(Activations, __qword_ptr[rax + GemvArgs.ActivationsAt]);
        _c.mov(ActivationScales, __qword_ptr[rax + GemvArgs.ActivationScalesAt]);
        _c.mov(ZeroPointTerms, __qword_ptr[rax + GemvArgs.ZeroPointTermsAt]);
        _c.mov(Ahead, __qword_ptr[rax + GemvArgs.AheadAt]);
        _c.mov(Stream, __qword_ptr[rax + GemvArgs.StreamAt]);
        _c.lea(Stream3, __[Stream + Stream * 2]);
        _c.mov(Scratch, __qword_ptr[rax + GemvArgs.ScratchAt]);
        _c.mov(Tables, __qword_ptr[rax + GemvArgs.TablesAt]);
        _c.mov(Blocks, __qword_ptr[rax + GemvArgs.BlocksAt]);
        for (int row = 0; row < _rows; row++)
        {
            if (!_sumsInMemory || row == 0)
            {
                _c.vpxord(Sum(row), Sum(row), Sum(row));
            }

            if (_sumsInMemory)
            {
                _c.vmovaps(SumInMemory(row), Sum(0));
            }
        }
    }

    /// <summary>Epilogue: stores the sums and restores the registers.</summary>
    protected override void End()
    {
        _c.mov(rax, __qword_ptr[rsp + (_windows ? GemmAssembler.SavedVectorBytes : 0)]);
        _c.mov(rax, __qword_ptr[rax + GemvArgs.OutputAt]);
        for (int row = 0; row < _rows; row++)
        {
            if (_sumsInMemory)
            {
                _c.vmovaps(Sum(row), SumInMemory(row));
            }

            _c.vmovups(__zmmword_ptr[rax + Line * row], Sum(row));
        }

        _c.vzeroupper();
        if (_windows)
        {
            GemmAssembler.RestoreVectors(_c);
        }

        _c.pop(rax);
        for (int i = Saved.Length - 1; i >= 0; i--)
        {
            _c.pop(Saved[i]);
        }

        _c.ret();
    }
}
