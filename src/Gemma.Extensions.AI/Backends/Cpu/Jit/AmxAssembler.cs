using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles <c>void f(MatrixArgs*)</c> for AMX: two registers of 16 activation rows (or one) by two of 16 weight rows, whose four (two) sums stay in registers over all
/// columns of a tile. So four loads feed four products of 16 cycles each; in C, one core of an Emerald Rapids did 2,819 Gop/s in that way with both operands in L2, against 458 by VNNI.
/// The shapes are loaded at the beginning and released at the end: no tile state outlives a call, since the runtime may stop the thread after it.
/// </summary>
internal static class AmxAssembler
{
    /// <summary>Bytes of 32 columns of a tile of 32 weight rows.</summary>
    private const int WeightStep = MatrixKernels.StepColumns / 2 * 128;

    private static readonly AssemblerRegister64 s_args = rax, s_line = rbx, s_outputStride = rcx, s_weights = rdx, s_output = rsi, s_nextOutput = rdi, s_rows = r8, s_nextRows = r9, s_steps = r10, s_tiles = r11;

    public static byte[] Product(bool two, bool windows)
    {
        Assembler c = new(64);
        Label tile = c.CreateLabel(), step = c.CreateLabel();
        Begin(c, windows);

        c.Label(ref tile);
        c.mov(s_rows, __qword_ptr[s_args + MatrixArgs.RowsAt]);
        c.mov(s_nextRows, __qword_ptr[s_args + MatrixArgs.NextRowsAt]);
        c.mov(s_steps, __qword_ptr[s_args + MatrixArgs.StepsAt]);
        Sums(two, (register, at) => c.tilezero(register));
        c.cmp(__qword_ptr[s_args + MatrixArgs.AccumulateAt], 0);
        c.je(step);
        Sums(two, (register, at) => c.tileloadd(register, at));

        c.Label(ref step);
        Step(c, two);
        c.dec(s_steps);
        c.jnz(step);

        Sums(two, (register, at) => c.tilestored(at, register));
        c.add(s_output, 128);
        c.add(s_nextOutput, 128);
        c.dec(s_tiles);
        c.jnz(tile);

        c.tilerelease();
        End(c, windows);
        return GemmAssembler.Code(c);
    }

    /// <summary>The shapes for some activation rows, 64 bytes: sums in registers 0 to 3, activations in 4 and 5, weights in 6 and 7.</summary>
    public static void Configure(Span<byte> configuration, int rows)
    {
        int first = Math.Min(MatrixKernels.RegisterRows, rows), second = rows - first;
        configuration.Clear();
        configuration[0] = 1; // palette: eight registers of 16 rows of 64 bytes
        ReadOnlySpan<int> heights = [first, first, second, second, first, second, 16, 16];
        for (int register = 0; register < heights.Length; register++)
        {
            configuration[16 + 2 * register] = (byte)(heights[register] > 0 ? 64 : 0);
            configuration[48 + register] = (byte)heights[register];
        }
    }

    /// <summary>Saves the caller's registers, loads the shapes and what stays the same for all tiles.</summary>
    private static void Begin(Assembler c, bool windows)
    {
        c.push(rbx);
        if (windows)
        {
            c.push(rsi);
            c.push(rdi);
        }

        c.mov(s_args, windows ? rcx : rdi);
        c.mov(s_line, __qword_ptr[s_args + MatrixArgs.ConfigurationAt]);
        c.ldtilecfg(__[s_line]);
        c.mov(s_line, 64);
        c.mov(s_weights, __qword_ptr[s_args + MatrixArgs.WeightsAt]);
        c.mov(s_output, __qword_ptr[s_args + MatrixArgs.OutputAt]);
        c.mov(s_nextOutput, __qword_ptr[s_args + MatrixArgs.NextOutputAt]);
        c.mov(s_outputStride, __qword_ptr[s_args + MatrixArgs.OutputStrideAt]);
        c.mov(s_tiles, __qword_ptr[s_args + MatrixArgs.TilesAt]);
    }

    /// <summary>The products of one step of columns.</summary>
    private static void Step(Assembler c, bool two)
    {
        c.tileloadd(tmm4, __[s_rows + s_line]);
        c.tileloadd(tmm6, __[s_weights + s_line * 2]);
        c.tileloadd(tmm7, __[s_weights + s_line * 2 + 64]);
        c.tdpbf16ps(tmm0, tmm4, tmm6);
        c.tdpbf16ps(tmm1, tmm4, tmm7);
        if (two)
        {
            c.tileloadd(tmm5, __[s_nextRows + s_line]);
            c.tdpbf16ps(tmm2, tmm5, tmm6);
            c.tdpbf16ps(tmm3, tmm5, tmm7);
            c.add(s_nextRows, __qword_ptr[s_args + MatrixArgs.NextRowsStepAt]);
        }

        c.add(s_rows, __qword_ptr[s_args + MatrixArgs.RowsStepAt]);
        c.add(s_weights, WeightStep);
    }

    /// <summary>One instruction for each register of sums and its place in the output.</summary>
    private static void Sums(bool two, Action<AssemblerRegisterTMM, AssemblerMemoryOperand> instruction)
    {
        instruction(tmm0, __[s_output + s_outputStride]);
        instruction(tmm1, __[s_output + s_outputStride + 64]);
        if (two)
        {
            instruction(tmm2, __[s_nextOutput + s_outputStride]);
            instruction(tmm3, __[s_nextOutput + s_outputStride + 64]);
        }
    }

    private static void End(Assembler c, bool windows)
    {
        if (windows)
        {
            c.pop(rdi);
            c.pop(rsi);
        }

        c.pop(rbx);
        c.ret();
    }
}
