using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles <see cref="Gemv"/> for one to <see cref="GemvArgs.MaxActivationRows"/> activation rows, <c>void f(GemvArgs*)</c>: 16 weight rows in 16 lanes are unpacked once,
/// and an activation row costs eight <c>vpdpbusd</c> with the activations as broadcast memory operands and four instructions of scaling for each 32
/// columns. Requests for what comes next stand evenly among the products, because a burst of them fills the buffers of the core and stalls it.
/// A loop works on 32 to 128 columns, few enough instructions for the cache of decoded ones.
/// </summary>
internal sealed class GemvAssembler
{
    private const int LoopScratch = 1024, Line = 64;
    private const uint Nibbles = 0x0F0F0F0F;

    // Weight rows 0, 4, 8 and 12; their stride, once and three times.
    private static readonly AssemblerRegister64[] Bases = [r8, r9, r10, r11];
    private static readonly AssemblerRegister64 Stride = rcx, Stride3 = rdx;
    private static readonly AssemblerRegister64 Activations = rsi, ActivationScales = rdi, ZeroPointTerms = rbx;
    private static readonly AssemblerRegister64 Ahead = rbp, Stream = r12, Stream3 = r13;
    private static readonly AssemblerRegister64 Scratch = r14, PartOffset = r15, Blocks = rax;
    private static readonly AssemblerRegister64[] Saved = [rbx, rbp, r12, r13, r14, r15, rsi, rdi];

    // 0 to 7: sums; 8 to 15: accumulators, free between groups; 16 to 24: packed weights; from 25: temporaries and what stays.
    private static readonly AssemblerRegisterZMM Scale = zmm27, Minimum = zmm28, Mask = zmm30, LowNibbles = zmm31;

    private readonly Assembler _c = new(64);
    private readonly int _rows;
    private readonly bool _windows;
    private int _requests, _turn;

    private GemvAssembler(int rows, bool windows)
    {
        _rows = rows;
        _windows = windows;
    }

    /// <summary>
    /// The machine code for the calling convention of Windows or of the others, or null for a type that goes by way of tiles. Weights of bfloat16
    /// meet activations of bfloat16 where their tiles would.
    /// </summary>
    public static byte[]? Assemble(TileFormat format, int rows, bool windows)
    {
        var assembler = new GemvAssembler(rows, windows);
        Action? blocks = format.Type switch
        {
            TensorType.Q4_0 => assembler.Q4_0,
            TensorType.Q8_0 => assembler.Q8_0,
            TensorType.Q4_K => assembler.Q4_K,
            TensorType.Q5_K => assembler.Q5_K,
            TensorType.Q6_K => assembler.Q6_K,
            TensorType.BF16 => format.Layout == TileLayout.BFloat16x2 ? assembler.BFloat16Pairs : assembler.BF16,
            _ => null,
        };
        if (blocks is null)
        {
            return null;
        }

        assembler.Begin();
        blocks();
        assembler.End();
        return GemmAssembler.Code(assembler._c);
    }

    /// <summary>Columns of one turn of the outer loop, <see cref="GemvArgs.Blocks"/>.</summary>
    public static int BlockColumns(TensorType type) => type switch { TensorType.BF16 => 16, TensorType.Q4_0 or TensorType.Q8_0 => 32, _ => 256 };

    private void Q4_K()
    {
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x3F);
        Loop(144 - 128, () =>
        {
            // The high nibbles stay where they are, sixteen times as large: their scales are that much smaller, which rounds nothing.
            SixBitScales(1 / 16f);
            Parts(256, 32, 64, () =>
            {
                int[] packed = Read32(16, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
                Group(0, 8, minimum: true, 4, (j, weights) => And(weights, LowNibbles, packed[j]));
                Group(1, 8, minimum: true, 4, (j, weights) => AndNot(weights, LowNibbles, packed[j]));
            });
        });
    }

    private void Q5_K()
    {
        Broadcast(LowNibbles, Nibbles);
        Loop(176 - 128, () =>
        {
            Broadcast(Mask, 0x3F);
            SixBitScales(1);
            Keep(LoopScratch, Read32(16, [16, 17, 18, 19, 20, 21, 22, 23, 24]));
            Requests(8);
            Broadcast(Mask, 0x1F1F1F1F);
            Parts(256, 32, 64, () =>
            {
                // The fifth bits of the two groups are the lowest two of each byte.
                int[] packed = Read32(48, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
                Group(0, 8, minimum: true, 4, (j, weights) =>
                {
                    _c.vpslld(weights, Kept(LoopScratch, j), 4);
                    _c.vpternlogd(weights, LowNibbles, Z(packed[j]), 0xB8);
                    _c.vpandd(weights, weights, Mask);
                    return weights;
                });
                Group(1, 8, minimum: true, 4, (j, weights) =>
                {
                    _c.vpslld(weights, Kept(LoopScratch, j), 3);
                    _c.vpsrld(Z(packed[j]), Z(packed[j]), 4);
                    _c.vpternlogd(weights, LowNibbles, Z(packed[j]), 0xB8);
                    _c.vpandd(weights, weights, Mask);
                    return weights;
                });
                for (int j = 0; j < 8; j++)
                {
                    AssemblerRegisterZMM fifth = Temporary();
                    _c.vprord(fifth, Kept(LoopScratch, j), 2);
                    _c.vmovdqa32(Kept(LoopScratch, j), fifth);
                }
            });
        });
    }

    private void Q6_K()
    {
        const int Low = LoopScratch + 1024;
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x3F3F3F3F);

        // The pointer stands in the middle of 128 columns, so that distances fit into a byte.
        _c.add(Activations, 64 * _rows);
        Loop(210 - 128, () =>
        {
            AssemblerRegisterZMM d = HighHalf(Read16(194, [16, 17, 18, 19, 20])[3]);
            int[] scales = Read16(192, [21, 22, 23, 24, 25]);
            for (int g = 0; g < 16; g++)
            {
                AssemblerRegisterZMM scale = Z(8 + g % 8);
                if (g % 4 == 3)
                {
                    _c.vpsrad(scale, Z(scales[g / 4]), 24);
                }
                else
                {
                    _c.vpslld(scale, Z(scales[g / 4]), (byte)(24 - 8 * (g % 4)));
                    _c.vpsrad(scale, scale, 24);
                }

                _c.vcvtdq2ps(scale, scale);
                _c.vmulps(scale, scale, d);
                _c.vmovaps(Kept(0, g), scale);
            }

            Requests(4);
            Keep(LoopScratch, Read32(128, [16, 17, 18, 19, 20, 21, 22, 23, 24]));
            Keep(LoopScratch + 512, Read32(160, [8, 9, 10, 11, 12, 13, 14, 15, 25]));
            Parts(512, 64, 128, () =>
            {
                Keep(Low, Read32(0, [16, 17, 18, 19, 20, 21, 22, 23, 24]));
                Keep(Low + 512, Read32(32, [8, 9, 10, 11, 12, 13, 14, 15, 25]));
                for (int g = 0; g < 8; g++)
                {
                    int group = g;
                    Group(group, 4, minimum: false, 3, (j, weights) => SixBits(group, 4 * (group & 1) + j, weights));
                }
            });
        });

        // Group 0 and 1 of a half have the low nibbles of the first 32 bytes, 2 and 3 of the second, 4 to 7 the high ones; two bits more from the same bytes for all.
        AssemblerRegisterZMM SixBits(int group, int j, AssemblerRegisterZMM weights)
        {
            AssemblerMemoryOperand low = Kept(Low + 512 * ((group >> 1) & 1), j), high = KeptOfPart(LoopScratch, j);
            if (group < 4)
            {
                _c.vpslld(weights, high, (byte)(group < 2 ? 4 : 2));
                _c.vpternlogd(weights, LowNibbles, low, 0xB8);
            }
            else
            {
                _c.vpsrld(weights, low, 4);
                if (group < 6)
                {
                    _c.vpternlogd(weights, LowNibbles, high, 0xE2);
                }
                else
                {
                    AssemblerRegisterZMM top = Z(16 + j);
                    _c.vpsrld(top, high, 2);
                    _c.vpternlogd(weights, LowNibbles, top, 0xE2);
                }
            }

            _c.vpandd(weights, weights, Mask);
            return weights;
        }
    }

    private void Q4_0()
    {
        Broadcast(LowNibbles, Nibbles);
        Loop(0, () =>
        {
            HalfScales();
            int[] packed = Read16(2, [16, 17, 18, 19, 20]);
            Group(0, 8, minimum: false, 4, (j, weights) =>
            {
                if (j >= 4)
                {
                    _c.vpsrld(Z(packed[j - 4]), Z(packed[j - 4]), 4);
                }

                return And(weights, LowNibbles, packed[j % 4]);
            }, scaleIsLoaded: true);
            Advance(18, 32);
        });
    }

    private void Q8_0()
    {
        Broadcast(Mask, 0x80808080);
        Loop(0, () =>
        {
            HalfScales();
            int[] packed = Read32(2, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            Group(0, 8, minimum: false, 8, (j, _) =>
            {
                _c.vpxord(Z(packed[j]), Z(packed[j]), Mask);
                return Z(packed[j]);
            }, scaleIsLoaded: true);
            Advance(34, 32);
        });
    }

    private void BF16()
    {
        Broadcast(Mask, 0xFFFF0000);
        Loop(0, () =>
        {
            int[] packed = Read32(0, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            for (int j = 0; j < 16; j++)
            {
                AssemblerRegisterZMM weights = Temporary();
                if (j % 2 == 0)
                {
                    _c.vpslld(weights, Z(packed[j / 2]), 16);
                    Requests(1);
                }
                else
                {
                    And(weights, Mask, packed[j / 2]);
                }

                for (int row = 0; row < _rows; row++)
                {
                    _c.vfmadd231ps(Sum(row), weights, __dword_bcst[Activations + 4 * (j * _rows + row)]);
                }
            }

            Advance(32, 0);
            _c.add(Activations, 64 * _rows);
        });
    }

    /// <summary>Dwords of the file are pairs already: as many products as dwords, nothing to unpack.</summary>
    private void BFloat16Pairs()
    {
        Loop(0, () =>
        {
            int[] packed = Read32(0, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            for (int j = 0; j < 8; j++)
            {
                Requests(1);
                for (int row = 0; row < _rows; row++)
                {
                    _c.vdpbf16ps(Sum(row), Z(packed[j]), __dword_bcst[Activations + 4 * (j * _rows + row)]);
                }
            }

            Advance(32, 0);
            _c.add(Activations, 32 * _rows);
        });
    }

    /// <summary>Scales and minima of the eight groups of Q4_K and Q5_K; those of the odd groups times a factor.</summary>
    private void SixBitScales(float oddFactor)
    {
        int[] header = Read16(0, [16, 17, 18, 19, 20]);
        Requests(4);
        AssemblerRegisterZMM both = Z(header[0]), scales = Z(header[1]), minima = Z(header[2]), high = Z(header[3]), d = zmm8, odd = zmm9, dmin = zmm10;
        AssemblerRegisterZMM laterScales = zmm11, laterMinima = zmm12, t = zmm13;
        _c.vpsrld(t, both, 16);
        ToSingle(d, both);
        ToSingle(dmin, t);
        if (oddFactor != 1)
        {
            Broadcast(odd, BitConverter.SingleToUInt32Bits(oddFactor));
            _c.vmulps(odd, odd, d);
        }

        // Four bits of the later ones are nibbles, two the top bits of the earlier ones.
        _c.vpsrld(laterScales, scales, 2);
        _c.vpternlogd(laterScales, LowNibbles, high, 0xB8);
        _c.vpsrld(laterMinima, minima, 2);
        _c.vpsrld(high, high, 4);
        _c.vpternlogd(laterMinima, LowNibbles, high, 0xB8);
        for (int g = 0; g < 8; g++)
        {
            Put(Line * 2 * g, g < 4 ? scales : laterScales, oddFactor != 1 && g % 2 == 1 ? odd : d, zmm14);
            Put(Line * (2 * g + 1), g < 4 ? minima : laterMinima, dmin, zmm15);
            void Put(int offset, AssemblerRegisterZMM six, AssemblerRegisterZMM factor, AssemblerRegisterZMM value)
            {
                if (g % 4 > 0)
                {
                    _c.vpsrld(six, six, 8);
                }

                _c.vpandd(value, six, Mask);
                _c.vcvtdq2ps(value, value);
                _c.vmulps(value, value, factor);
                _c.vmovaps(Kept(offset, 0), value);
            }
        }
    }

    /// <summary>The products of one group of columns, in the order of sums that <see cref="MatMulKernels"/> states.</summary>
    private void Group(int group, int steps, bool minimum, int requests, Func<int, AssemblerRegisterZMM, AssemblerRegisterZMM> weights, bool scaleIsLoaded = false)
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

        for (int j = 0; j < steps; j += 4)
        {
            if (_rows > 2 && steps == 4 && group % 2 == 1)
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
            _c.vfmadd231ps(Sum(row), Accumulator(row), scale);
            if (minimum)
            {
                _c.vfnmadd231ps(Sum(row), Minimum, __dword_bcst[ZeroPointTerms + 4 * (group * _rows + row)]);
            }
        }
    }

    /// <summary>16 columns with activations from memory, a load for each product.</summary>
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
    /// 16 columns with one load of activations a row and four shuffles. On an Ice Lake server two products ran in a cycle but only one load of a
    /// vector, so groups of 16 columns, which load most beside them, take turns: 5 to 12 % less time for eight rows of Q6_K. Groups of 32 columns did not gain.
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

    /// <summary>Where the activations a[column/16][P][16] of four columns lie.</summary>
    private int Activation(int step, int row) => 16 * ((step >> 2) * _rows + row) + 4 * (step & 3);

    /// <summary>Steps from the place of the pointer back to the first of the part.</summary>
    private static int Middle(int steps) => steps == 4 ? 16 : 0;

    /// <summary>Goes on by some bytes of weights and columns of activations.</summary>
    private void Advance(int bytes, int columns)
    {
        foreach (AssemblerRegister64 row in Bases)
        {
            _c.add(row, bytes);
        }

        if (columns > 0)
        {
            _c.add(Activations, columns * _rows);
            _c.add(ActivationScales, columns / 32 * 4 * _rows);
            _c.add(ZeroPointTerms, columns / (columns == 128 ? 16 : 32) * 4 * _rows);
        }
    }

    /// <summary>The outer loop, over blocks. Its body goes on by itself, but for the bytes behind the parts of a block.</summary>
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
    private void Parts(int scratch, int bytes, int columns, Action body)
    {
        _c.xor(r15d, r15d);
        Label start = _c.CreateLabel();
        _c.Label(ref start);
        body();
        Advance(bytes, columns);
        _c.add(PartOffset, scratch);
        _c.cmp(r15d, LoopScratch);
        _c.jb(start);
    }

    /// <summary>16 bytes of each of 16 rows, transposed: the registers of dwords 0 to 3. Needs five registers.</summary>
    private int[] Read16(int offset, int[] free)
    {
        for (int i = 0; i < 4; i++)
        {
            // Halves first: twice as many inserts into 256 bits run in a cycle (Zen 4) as into 512.
            foreach (int half in (int[])[free[i], free[4]])
            {
                int first = i + (half == free[4] ? 8 : 0);
                var y = new AssemblerRegisterYMM(Register.YMM0 + half);
                _c.vmovdqu32(new AssemblerRegisterXMM(Register.XMM0 + half), Row(__xmmword_ptr, first, offset));
                _c.vinserti32x4(y, y, Row(__xmmword_ptr, first + 4, offset), 1);
            }

            _c.vinserti64x4(Z(free[i]), Z(free[i]), new AssemblerRegisterYMM(Register.YMM0 + free[4]), 1);
        }

        return Transpose(free[0], free[1], free[2], free[3], free[4], out _);
    }

    /// <summary>32 bytes of each of 16 rows, transposed: eight registers. Needs nine. A fifth fewer instructions than twice 16 bytes.</summary>
    private int[] Read32(int offset, int[] free)
    {
        for (int half = 0; half < 2; half++)
        {
            for (int i = 0; i < 4; i++)
            {
                int register = free[4 * half + i];
                _c.vmovdqu32(new AssemblerRegisterYMM(Register.YMM0 + register), Row(__ymmword_ptr, 8 * half + i, offset));
                _c.vinserti64x4(Z(register), Z(register), Row(__ymmword_ptr, 8 * half + 4 + i, offset), 1);
            }
        }

        // Rows 0 to 7 and 8 to 15; quarters: dword j of four rows, dword j + 4 of these, and both of the next four rows.
        int[] a = Transpose(free[0], free[1], free[2], free[3], free[8], out int spare);
        int[] b = Transpose(free[4], free[5], free[6], free[7], spare, out spare);
        var dwords = new int[8];
        for (int j = 0; j < 4; j++)
        {
            _c.vshufi32x4(Z(spare), Z(a[j]), Z(b[j]), 0x88);
            _c.vshufi32x4(Z(b[j]), Z(a[j]), Z(b[j]), 0xDD);
            (dwords[j], dwords[4 + j], spare) = (spare, b[j], a[j]);
        }

        return dwords;
    }

    /// <summary>Transposes four dwords of four registers in each quarter; the results lie in four of the five registers, one is left over.</summary>
    private int[] Transpose(int r0, int r1, int r2, int r3, int free, out int spare)
    {
        _c.vpunpckldq(Z(free), Z(r0), Z(r1));
        _c.vpunpckhdq(Z(r0), Z(r0), Z(r1));
        _c.vpunpckldq(Z(r1), Z(r2), Z(r3));
        _c.vpunpckhdq(Z(r2), Z(r2), Z(r3));
        _c.vpunpcklqdq(Z(r3), Z(free), Z(r1));
        _c.vpunpckhqdq(Z(r1), Z(free), Z(r1));
        _c.vpunpcklqdq(Z(free), Z(r0), Z(r2));
        _c.vpunpckhqdq(Z(r2), Z(r0), Z(r2));
        spare = r0;
        return [r3, r1, free, r2];
    }

    private static AssemblerMemoryOperand Row(AssemblerMemoryOperandFactory size, int row, int offset)
    {
        AssemblerRegister64 start = Bases[row / 4];
        return (row % 4) switch
        {
            0 => size[start + offset],
            1 => size[start + Stride + offset],
            2 => size[start + Stride * 2 + offset],
            _ => size[start + Stride3 + offset],
        };
    }

    /// <summary>
    /// The float16 at the beginning of each of 16 rows, as float32. Inserted one by one into registers of 128 bits, twice as many of which are shuffled in a
    /// cycle (Zen 4) as of 512: with 16 bytes of each row transposed instead, one row of Q4_0 in the cache took a seventh more time.
    /// </summary>
    private void HalfScales()
    {
        for (int row = 0; row < 16; row++)
        {
            AssemblerRegisterXMM target = row < 8 ? xmm8 : xmm9;
            if (row % 8 == 0)
            {
                _c.vpbroadcastw(target, Row(__word_ptr, row, 0));
            }
            else
            {
                _c.vpinsrw(target, target, Row(__word_ptr, row, 0), (byte)(row % 8));
            }
        }

        _c.vinserti32x4(ymm8, ymm8, xmm9, 1);
        _c.vcvtph2ps(Scale, ymm8);
    }

    /// <summary>The higher half of each dword, float16 to float32 in place.</summary>
    private AssemblerRegisterZMM HighHalf(int register)
    {
        AssemblerRegisterZMM value = Z(register);
        _c.vpsrld(value, value, 16);
        ToSingle(value, value);
        return value;
    }

    private void ToSingle(AssemblerRegisterZMM target, AssemblerRegisterZMM halves)
    {
        var narrow = new AssemblerRegisterYMM(Register.YMM0 + (int)((Register)target - Register.ZMM0));
        _c.vpmovdw(narrow, halves);
        _c.vcvtph2ps(target, narrow);
    }

    private void Keep(int offset, int[] registers)
    {
        for (int j = 0; j < registers.Length; j++)
        {
            _c.vmovdqa32(Kept(offset, j), Z(registers[j]));
        }
    }

    private static AssemblerMemoryOperand Kept(int offset, int j) => __zmmword_ptr[Scratch + offset + Line * j];

    /// <summary>What belongs to the part that the inner loop is at.</summary>
    private static AssemblerMemoryOperand KeptOfPart(int offset, int j) => __zmmword_ptr[Scratch + PartOffset + offset + Line * j];

    /// <summary>Asks for the next lines, in four streams.</summary>
    private void Requests(int count)
    {
        for (; count > 0; count--)
        {
            switch (_requests++ % 4)
            {
                case 0:
                    _c.prefetcht1(__byte_ptr[Ahead]);
                    break;
                case 1:
                    _c.prefetcht1(__byte_ptr[Ahead + Stream]);
                    break;
                case 2:
                    _c.prefetcht1(__byte_ptr[Ahead + Stream * 2]);
                    break;
                default:
                    _c.prefetcht1(__byte_ptr[Ahead + Stream3]);
                    _c.add(Ahead, Line);
                    break;
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

    private void Broadcast(AssemblerRegisterZMM target, uint value)
    {
        _c.mov(r15d, value);
        _c.vpbroadcastd(target, r15d);
    }

    /// <summary>Three registers in turn.</summary>
    private AssemblerRegisterZMM Temporary() => (_turn++ % 3) switch { 0 => zmm25, 1 => zmm26, _ => zmm29 };

    private static AssemblerRegisterZMM Sum(int row) => Z(row);

    private static AssemblerRegisterZMM Accumulator(int row) => Z(8 + row);

    private static AssemblerRegisterZMM Z(int index) => new(Register.ZMM0 + index);

    /// <summary>Registers from the arguments; the sums are zero.</summary>
    private void Begin()
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
        _c.lea(Bases[1], __[Bases[0] + Stride * 4]);
        _c.lea(Bases[2], __[Bases[0] + Stride * 8]);
        _c.lea(Bases[3], __[Bases[1] + Stride * 8]);
        _c.lea(Stride3, __[Stride + Stride * 2]);
        _c.mov(Activations, __qword_ptr[rax + GemvArgs.ActivationsAt]);
        _c.mov(ActivationScales, __qword_ptr[rax + GemvArgs.ActivationScalesAt]);
        _c.mov(ZeroPointTerms, __qword_ptr[rax + GemvArgs.ZeroPointTermsAt]);
        _c.mov(Ahead, __qword_ptr[rax + GemvArgs.AheadAt]);
        _c.mov(Stream, __qword_ptr[rax + GemvArgs.StreamAt]);
        _c.lea(Stream3, __[Stream + Stream * 2]);
        _c.mov(Scratch, __qword_ptr[rax + GemvArgs.ScratchAt]);
        _c.mov(Blocks, __qword_ptr[rax + GemvArgs.BlocksAt]);
        for (int row = 0; row < _rows; row++)
        {
            _c.vpxord(Sum(row), Sum(row), Sum(row));
        }
    }

    /// <summary>Sums to the output, then the registers as they were.</summary>
    private void End()
    {
        _c.mov(rax, __qword_ptr[rsp + (_windows ? GemmAssembler.SavedVectorBytes : 0)]);
        _c.mov(rax, __qword_ptr[rax + GemvArgs.OutputAt]);
        for (int row = 0; row < _rows; row++)
        {
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
