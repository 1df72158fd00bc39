using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles the GEMM micro-kernels of 512-bit registers, <c>void f(TileArgs*)</c>: panels of up to six activation rows of bytes, or twelve of floats, by
/// a tile of 32 weight rows.
/// </summary>
internal static class GemmAssembler
{
    public const int SavedVectorBytes = 168;

    /// <summary>The machine code.</summary>
    public static byte[] Code(Assembler c)
    {
        using MemoryStream stream = new();
        c.Assemble(new StreamCodeWriter(stream), 0);
        return stream.ToArray();
    }

    /// <summary>Functions one after the other, each from the beginning of a cache line.</summary>
    /// <param name="functions">Their code.</param>
    /// <param name="offsets">Receives where each begins.</param>
    public static byte[] Join(byte[][] functions, out int[] offsets)
    {
        offsets = new int[functions.Length];
        int length = 0;
        for (int i = 0; i < functions.Length; i++)
        {
            offsets[i] = (length + 63) & -64;
            length = offsets[i] + functions[i].Length;
        }

        byte[] all = new byte[length];
        Array.Fill(all, (byte)0xCC); // a breakpoint between two
        for (int i = 0; i < functions.Length; i++)
        {
            functions[i].CopyTo(all, offsets[i]);
        }

        return all;
    }

    /// <summary>
    /// Panels of floats a[column][rows], or of pairs of bfloat16 a[column/2][rows][2]: 24 sums, two weight registers and one activation, or pair, at a time.
    /// Unrolled by four (a tile has a multiple of four steps), so that loop overhead takes few issue slots from the multiply-adds; the next panel is prefetched.
    /// </summary>
    public static byte[] FloatKernel(int rows, bool bfloat16, bool windows)
    {
        const int Unroll = 4;
        Assembler c = new(64);
        AssemblerRegister64 args = rax, weights = rcx, activations = r8, next = r9, steps = r11;
        Begin(c, rows, windows);
        c.mov(weights, __qword_ptr[args]);
        c.mov(activations, __qword_ptr[args + 16]);
        c.mov(steps, __qword_ptr[args + 56]);
        c.imul(next, steps, 4 * rows);
        c.add(next, activations);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        for (int column = 0; column < Unroll; column++)
        {
            c.vmovups(zmm24, __zmmword_ptr[weights + 128 * column]);
            c.vmovups(zmm25, __zmmword_ptr[weights + 128 * column + 64]);
            for (int row = 0; row < rows; row++)
            {
                AssemblerRegisterZMM x = Register(26 + row % 6);
                int offset = 4 * (column * rows + row);
                if (offset % 64 == 0)
                {
                    c.prefetcht0(__byte_ptr[next + offset]);
                }

                c.vbroadcastss(x, __dword_ptr[activations + offset]);
                if (bfloat16)
                {
                    c.vdpbf16ps(Sum(row, 0), zmm24, x);
                    c.vdpbf16ps(Sum(row, 1), zmm25, x);
                }
                else
                {
                    c.vfmadd231ps(Sum(row, 0), zmm24, x);
                    c.vfmadd231ps(Sum(row, 1), zmm25, x);
                }
            }
        }

        c.add(weights, Unroll * TileFormat.Rows * sizeof(float));
        c.add(activations, Unroll * 4 * rows);
        c.add(next, Unroll * 4 * rows);
        c.sub(steps, Unroll);
        c.jnz(loop);
        End(c, rows, windows);
        return Code(c);
    }

    /// <summary>A tile of floats with the strides of its arguments by up to four activation rows: attention.</summary>
    public static byte[] StridedKernel(int rows, bool windows)
    {
        Assembler c = new(64);
        AssemblerRegister64 args = rax, weights = rcx, step = rdx, activations = r8, column = r9, apart = r10, steps = r11;
        Begin(c, rows, windows);
        c.mov(weights, __qword_ptr[args]);
        c.mov(activations, __qword_ptr[args + 16]);
        c.mov(steps, __qword_ptr[args + 56]);
        c.mov(column, __qword_ptr[args + 72]);
        c.shl(column, 2);
        c.mov(apart, __qword_ptr[args + 80]);
        c.shl(apart, 2);
        c.mov(step, __qword_ptr[args + 88]);
        c.shl(step, 2);
        c.push(args);
        c.lea(rax, __[apart + apart * 2]);
        Label loop = c.CreateLabel();
        c.Label(ref loop);
        c.vmovups(zmm24, __zmmword_ptr[weights]);
        c.vmovups(zmm25, __zmmword_ptr[weights + 64]);
        for (int row = 0; row < rows; row++)
        {
            AssemblerRegisterZMM x = Register(26 + row);
            c.vbroadcastss(x, row switch
            {
                0 => __dword_ptr[activations],
                1 => __dword_ptr[activations + apart],
                2 => __dword_ptr[activations + apart * 2],
                _ => __dword_ptr[activations + rax],
            });
            c.vfmadd231ps(Sum(row, 0), zmm24, x);
            c.vfmadd231ps(Sum(row, 1), zmm25, x);
        }

        c.add(weights, column);
        c.add(activations, step);
        c.dec(steps);
        c.jnz(loop);
        c.pop(args);
        End(c, rows, windows);
        return Code(c);
    }

    /// <summary>One kernel: <c>void f(TileArgs*)</c> for panels of <paramref name="rows"/> rows, in the order of sums that <see cref="MatMulKernels"/> states.</summary>
    public static byte[] ByteKernel(int rows, int group, bool minimum, bool windows)
    {
        Assembler c = new(64);
        AssemblerRegister64 args = rax, weights = rcx, scales = rdx, activations = r8, activationScales = r9, terms = r10, steps = r11;
        Begin(c, rows, windows);
        Label loop = c.CreateLabel();
        c.mov(weights, __qword_ptr[args]);
        c.mov(scales, __qword_ptr[args + 8]);
        c.mov(activations, __qword_ptr[args + 16]);
        c.mov(activationScales, __qword_ptr[args + 24]);
        c.mov(terms, __qword_ptr[args + 32]);
        c.mov(steps, __qword_ptr[args + 56]);
        c.Label(ref loop);

        // Prefetch the next panel of the batch, which follows this one.
        for (int line = 0; line < 32 * rows; line += 64)
        {
            c.prefetcht0(__byte_ptr[activations + BlockSizes.Int8Columns * rows + line]);
        }

        int scaleBytes = (minimum ? 2 : 1) * TileFormat.Rows * sizeof(float), groups = 32 / group;
        for (int g = 0; g < groups; g++)
        {
            EmitProducts(c, rows, group, g, minimum, weights, activations, terms);
            EmitScaling(c, rows, g, minimum, scaleBytes, scales, activationScales, terms);
        }

        c.add(weights, 32 * TileFormat.Rows);
        c.add(scales, groups * scaleBytes);
        c.add(activations, 32 * rows);
        c.add(activationScales, 4 * rows);
        c.add(terms, groups * 4 * rows);
        c.dec(steps);
        c.jnz(loop);
        End(c, rows, windows);
        return Code(c);
    }

    /// <summary>Arguments into rax, sums from the output or zero.</summary>
    private static void Begin(Assembler c, int rows, bool windows)
    {
        c.mov(rax, windows ? rcx : rdi);
        if (windows)
        {
            SaveVectors(c);
        }

        Label fresh = c.CreateLabel(), start = c.CreateLabel();
        c.mov(r11, __qword_ptr[rax + 40]);
        c.cmp(__qword_ptr[rax + 64], 0);
        c.je(fresh);
        for (int row = 0; row < rows; row++)
        {
            c.vmovups(Sum(row, 0), __zmmword_ptr[r11]);
            c.vmovups(Sum(row, 1), __zmmword_ptr[r11 + 64]);
            c.add(r11, __qword_ptr[rax + 48]);
        }

        c.jmp(start);
        c.Label(ref fresh);
        for (int row = 0; row < rows; row++)
        {
            c.vpxord(Sum(row, 0), Sum(row, 0), Sum(row, 0));
            c.vpxord(Sum(row, 1), Sum(row, 1), Sum(row, 1));
        }

        c.Label(ref start);
        c.nop();
    }

    /// <summary>Sums to the output.</summary>
    private static void End(Assembler c, int rows, bool windows)
    {
        c.mov(r11, __qword_ptr[rax + 40]);
        for (int row = 0; row < rows; row++)
        {
            c.vmovups(__zmmword_ptr[r11], Sum(row, 0));
            c.vmovups(__zmmword_ptr[r11 + 64], Sum(row, 1));
            c.add(r11, __qword_ptr[rax + 48]);
        }

        c.vzeroupper();
        if (windows)
        {
            RestoreVectors(c);
        }

        c.ret();
    }

    private static void EmitProducts(
        Assembler c, int rows, int group, int g, bool minimum, AssemblerRegister64 weights, AssemblerRegister64 activations, AssemblerRegister64 terms)
    {
        for (int row = 0; row < rows; row++)
        {
            for (int half = 0; half < 2; half++)
            {
                if (minimum)
                {
                    c.vpxord(Integer(row, half), Integer(row, half), Integer(row, half));
                }
                else
                {
                    c.vpbroadcastd(Integer(row, half), __dword_ptr[terms + 4 * (g * rows + row)]);
                }
            }
        }

        for (int step = g * group / 4; step < (g + 1) * group / 4; step++)
        {
            c.vmovdqu32(zmm24, __zmmword_ptr[weights + 128 * step]);
            c.vmovdqu32(zmm25, __zmmword_ptr[weights + 128 * step + 64]);
            for (int row = 0; row < rows; row++)
            {
                // Loaded once for both halves: two products issue per cycle but only one vector load.
                AssemblerRegisterZMM x = Register(26 + row % 6);
                c.vpbroadcastd(x, __dword_ptr[activations + 4 * (step * rows + row)]);
                c.vpdpbusd(Integer(row, 0), zmm24, x);
                c.vpdpbusd(Integer(row, 1), zmm25, x);
            }
        }
    }

    private static void EmitScaling(
        Assembler c, int rows, int g, bool minimum, int scaleBytes, AssemblerRegister64 scales, AssemblerRegister64 activationScales, AssemblerRegister64 terms)
    {
        for (int half = 0; half < 2; half++)
        {
            c.vmovups(half == 0 ? zmm26 : zmm27, __zmmword_ptr[scales + g * scaleBytes + 64 * half]);
            if (minimum)
            {
                c.vmovups(half == 0 ? zmm28 : zmm29, __zmmword_ptr[scales + g * scaleBytes + 128 + 64 * half]);
            }
        }

        for (int row = 0; row < rows; row++)
        {
            c.vbroadcastss(zmm24, __dword_ptr[activationScales + 4 * row]);
            if (minimum)
            {
                c.vbroadcastss(zmm25, __dword_ptr[terms + 4 * (g * rows + row)]);
            }

            for (int half = 0; half < 2; half++)
            {
                AssemblerRegisterZMM scale = half == 0 ? zmm30 : zmm31;
                c.vmulps(scale, half == 0 ? zmm26 : zmm27, zmm24);
                c.vcvtdq2ps(Integer(row, half), Integer(row, half));
                c.vfmadd231ps(Sum(row, half), Integer(row, half), scale);
                if (minimum)
                {
                    c.vfnmadd231ps(Sum(row, half), half == 0 ? zmm28 : zmm29, zmm25);
                }
            }
        }
    }

    private static AssemblerRegisterZMM Sum(int row, int half) => Register(2 * row + half);

    private static AssemblerRegisterZMM Integer(int row, int half) => Register(12 + 2 * row + half);

    private static AssemblerRegisterZMM Register(int index) => new(Iced.Intel.Register.ZMM0 + index);

    // In the Windows calling convention xmm6 to xmm15 are callee-saved.
    public static void SaveVectors(Assembler c)
    {
        c.sub(rsp, SavedVectorBytes);
        for (int i = 6; i < 16; i++)
        {
            c.vmovups(__xmmword_ptr[rsp + 16 * (i - 6)], new AssemblerRegisterXMM(Iced.Intel.Register.XMM0 + i));
        }
    }

    public static void RestoreVectors(Assembler c)
    {
        for (int i = 6; i < 16; i++)
        {
            c.vmovups(new AssemblerRegisterXMM(Iced.Intel.Register.XMM0 + i), __xmmword_ptr[rsp + 16 * (i - 6)]);
        }

        c.add(rsp, SavedVectorBytes);
    }
}
