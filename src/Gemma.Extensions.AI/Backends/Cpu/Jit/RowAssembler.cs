using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Reads packed weight rows, 16 of them in 16 lanes: transposed, scales converted. What the assemblers of GEMV and of tiles share.</summary>
/// <param name="interleaved">Whether the rows lie as <see cref="InterleavedRows"/> writes them: nothing is left to transpose.</param>
internal abstract class RowAssembler(bool interleaved)
{
    protected const int Line = 64;
    protected const uint Nibbles = 0x0F0F0F0F;

    /// <summary>Weight rows 0, 4, 8 and 12.</summary>
    protected static readonly AssemblerRegister64[] Bases = [r8, r9, r10, r11];

    /// <summary>The stride, and three times the stride.</summary>
    protected static readonly AssemblerRegister64 Stride = rcx, Stride3 = rdx;

    protected static readonly AssemblerRegister64 Blocks = rax;
    protected static readonly AssemblerRegisterZMM Mask = zmm30, LowNibbles = zmm31;

    protected readonly Assembler _c = new(64);

    /// <summary>True if the rows lie as <see cref="InterleavedRows"/> writes them.</summary>
    protected bool Interleaved { get; } = interleaved;

    /// <summary>Prologue: moves the arguments to where they are used.</summary>
    protected abstract void Begin();

    /// <summary>Epilogue: restores registers and returns.</summary>
    protected abstract void End();

    /// <summary>The machine code of a function around a loop over blocks; null without one.</summary>
    protected byte[]? Function(Action? blocks)
    {
        if (blocks is null)
        {
            return null;
        }

        Begin();
        blocks();
        End();
        return GemmAssembler.Code(_c);
    }

    /// <summary>The other bases and three times the stride, from the first base and the stride.</summary>
    protected void RowAddresses()
    {
        if (Interleaved)
        {
            return;
        }

        _c.lea(Bases[1], __[Bases[0] + Stride * 4]);
        _c.lea(Bases[2], __[Bases[0] + Stride * 8]);
        _c.lea(Bases[3], __[Bases[1] + Stride * 8]);
        _c.lea(Stride3, __[Stride + Stride * 2]);
    }

    /// <summary>Goes on in all rows.</summary>
    protected void AdvanceRows(int bytes)
    {
        foreach (AssemblerRegister64 row in Interleaved ? Bases[..1] : Bases)
        {
            _c.add(row, Interleaved ? InterleavedRows.Count * bytes : bytes);
        }
    }

    /// <summary>16 bytes of each of 16 rows, transposed: the registers of dwords 0 to 3. Needs five registers.</summary>
    protected int[] Read16(int offset, int[] free)
    {
        if (Interleaved)
        {
            return ReadInterleaved(offset, free[..4]);
        }

        for (int i = 0; i < 4; i++)
        {
            // Halves first: Zen 4 inserts into 256-bit registers at twice the rate of 512-bit ones.
            foreach (int half in (int[])[free[i], free[4]])
            {
                int first = i + (half == free[4] ? 8 : 0);
                AssemblerRegisterYMM y = new(Register.YMM0 + half);
                _c.vmovdqu32(new AssemblerRegisterXMM(Register.XMM0 + half), Row(__xmmword_ptr, first, offset));
                _c.vinserti32x4(y, y, Row(__xmmword_ptr, first + 4, offset), 1);
            }

            _c.vinserti64x4(Z(free[i]), Z(free[i]), new AssemblerRegisterYMM(Register.YMM0 + free[4]), 1);
        }

        return Transpose(free[0], free[1], free[2], free[3], free[4], out _);
    }

    /// <summary>32 bytes of each of 16 rows, transposed: eight registers. Needs nine. A fifth fewer instructions than twice 16 bytes.</summary>
    protected int[] Read32(int offset, int[] free)
    {
        if (Interleaved)
        {
            return ReadInterleaved(offset, free[..8]);
        }

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
        int[] dwords = new int[8];
        for (int j = 0; j < 4; j++)
        {
            _c.vshufi32x4(Z(spare), Z(a[j]), Z(b[j]), 0x88);
            _c.vshufi32x4(Z(b[j]), Z(a[j]), Z(b[j]), 0xDD);
            (dwords[j], dwords[4 + j], spare) = (spare, b[j], a[j]);
        }

        return dwords;
    }

    private int[] ReadInterleaved(int offset, int[] registers)
    {
        for (int j = 0; j < registers.Length; j++)
        {
            _c.vmovdqu32(Z(registers[j]), __zmmword_ptr[Bases[0] + InterleavedRows.Count * offset + Line * j]);
        }

        return registers;
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
    /// The float16 at the start of each of 16 rows, as float32. Inserted one by one into 128-bit registers, which Zen 4 shuffles at twice the rate of
    /// 512-bit ones: transposing 16 bytes of each row instead took a seventh more time for one row of Q4_0 in the cache.
    /// </summary>
    protected void HalfScales(AssemblerRegisterZMM scale, AssemblerRegisterXMM low, AssemblerRegisterXMM high)
    {
        if (Interleaved)
        {
            _c.vcvtph2ps(scale, __ymmword_ptr[Bases[0]]);
            return;
        }

        for (int row = 0; row < 16; row++)
        {
            AssemblerRegisterXMM target = row < 8 ? low : high;
            if (row % 8 == 0)
            {
                _c.vpbroadcastw(target, Row(__word_ptr, row, 0));
            }
            else
            {
                _c.vpinsrw(target, target, Row(__word_ptr, row, 0), (byte)(row % 8));
            }
        }

        AssemblerRegisterYMM halves = new(Register.YMM0 + (int)((Register)low - Register.XMM0));
        _c.vinserti32x4(halves, halves, high, 1);
        _c.vcvtph2ps(scale, halves);
    }

    /// <summary>The float16 at an offset of each of 16 rows that ends a block, as float32. Needs five registers.</summary>
    protected AssemblerRegisterZMM LastHalf(int offset, int[] free)
    {
        if (!Interleaved)
        {
            return HighHalf(Read16(offset - 14, free)[3]);
        }

        _c.vcvtph2ps(Z(free[0]), __ymmword_ptr[Bases[0] + InterleavedRows.Count * offset]);
        return Z(free[0]);
    }

    /// <summary>The higher half of each dword, float16 to float32 in place.</summary>
    protected AssemblerRegisterZMM HighHalf(int register)
    {
        AssemblerRegisterZMM value = Z(register);
        _c.vpsrld(value, value, 16);
        ToSingle(value, value);
        return value;
    }

    protected void ToSingle(AssemblerRegisterZMM target, AssemblerRegisterZMM halves)
    {
        AssemblerRegisterYMM narrow = new(Register.YMM0 + (int)((Register)target - Register.ZMM0));
        _c.vpmovdw(narrow, halves);
        _c.vcvtph2ps(target, narrow);
    }

    /// <summary>Scale, minimum and the six-bit scales and minima of the eight groups of Q4_K and Q5_K, from the 16 bytes at the start of a block; four of a dword are still to be cut out.</summary>
    protected void SixBits(int[] header, AssemblerRegisterZMM d, AssemblerRegisterZMM dmin, AssemblerRegisterZMM laterScales, AssemblerRegisterZMM laterMinima, AssemblerRegisterZMM t)
    {
        AssemblerRegisterZMM both = Z(header[0]), scales = Z(header[1]), minima = Z(header[2]), high = Z(header[3]);
        _c.vpsrld(t, both, 16);
        ToSingle(d, both);
        ToSingle(dmin, t);

        // Four bits of the later ones are nibbles, two the top bits of the earlier ones.
        _c.vpsrld(laterScales, scales, 2);
        _c.vpternlogd(laterScales, LowNibbles, high, 0xB8);
        _c.vpsrld(laterMinima, minima, 2);
        _c.vpsrld(high, high, 4);
        _c.vpternlogd(laterMinima, LowNibbles, high, 0xB8);
    }

    /// <summary>A constant in all lanes, by way of r15.</summary>
    protected void Broadcast(AssemblerRegisterZMM target, uint value)
    {
        _c.mov(r15d, value);
        _c.vpbroadcastd(target, r15d);
    }

    protected static AssemblerRegisterZMM Z(int index) => new(Register.ZMM0 + index);
}
