using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles <c>void f(MatrixArgs*)</c> for AMX: two registers of 16 activation rows (or one) by two of 16 weight rows, whose four (two) sums stay in registers over all
/// columns of a tile. So four loads feed four products of 16 cycles each; in C, one core of an Emerald Rapids did 2,819 Gop/s in that way with both operands in L2, against 458 by VNNI.
/// The shapes are loaded at the beginning and released at the end: nothing of it outlives a call, after which the runtime may stop the thread.
/// </summary>
internal static class AmxAssembler
{
    /// <summary>Bytes of 32 columns of a tile of 32 weight rows.</summary>
    private const int WeightStep = MatrixKernels.StepColumns / 2 * 128;

    public static byte[] Product(bool two, bool windows)
    {
        Assembler c = new(64);
        AssemblerRegister64 args = rax, outputStride = rcx, weights = rdx, rows = r8, nextRows = r9, steps = r10, tiles = r11, line = rbx, output = rsi, nextOutput = rdi;
        Label tile = c.CreateLabel(), step = c.CreateLabel();
        c.push(rbx);
        if (windows)
        {
            c.push(rsi);
            c.push(rdi);
        }

        c.mov(args, windows ? rcx : rdi);
        c.mov(line, __qword_ptr[args + MatrixArgs.ConfigurationAt]);
        c.ldtilecfg(__[line]);
        c.mov(line, 64);
        c.mov(weights, __qword_ptr[args + MatrixArgs.WeightsAt]);
        c.mov(output, __qword_ptr[args + MatrixArgs.OutputAt]);
        c.mov(nextOutput, __qword_ptr[args + MatrixArgs.NextOutputAt]);
        c.mov(outputStride, __qword_ptr[args + MatrixArgs.OutputStrideAt]);
        c.mov(tiles, __qword_ptr[args + MatrixArgs.TilesAt]);

        c.Label(ref tile);
        c.mov(rows, __qword_ptr[args + MatrixArgs.RowsAt]);
        c.mov(nextRows, __qword_ptr[args + MatrixArgs.NextRowsAt]);
        c.mov(steps, __qword_ptr[args + MatrixArgs.StepsAt]);
        Sums((register, at) => c.tilezero(register));
        c.cmp(__qword_ptr[args + MatrixArgs.AccumulateAt], 0);
        c.je(step);
        Sums((register, at) => c.tileloadd(register, at));

        c.Label(ref step);
        c.tileloadd(tmm4, __[rows + line]);
        c.tileloadd(tmm6, __[weights + line * 2]);
        c.tileloadd(tmm7, __[weights + line * 2 + 64]);
        c.tdpbf16ps(tmm0, tmm4, tmm6);
        c.tdpbf16ps(tmm1, tmm4, tmm7);
        if (two)
        {
            c.tileloadd(tmm5, __[nextRows + line]);
            c.tdpbf16ps(tmm2, tmm5, tmm6);
            c.tdpbf16ps(tmm3, tmm5, tmm7);
            c.add(nextRows, __qword_ptr[args + MatrixArgs.NextRowsStepAt]);
        }

        c.add(rows, __qword_ptr[args + MatrixArgs.RowsStepAt]);
        c.add(weights, WeightStep);
        c.dec(steps);
        c.jnz(step);

        Sums((register, at) => c.tilestored(at, register));
        c.add(output, 128);
        c.add(nextOutput, 128);
        c.dec(tiles);
        c.jnz(tile);

        c.tilerelease();
        if (windows)
        {
            c.pop(rdi);
            c.pop(rsi);
        }

        c.pop(rbx);
        c.ret();
        return GemmAssembler.Code(c);

        void Sums(Action<AssemblerRegisterTMM, AssemblerMemoryOperand> instruction)
        {
            instruction(tmm0, __[output + outputStride]);
            instruction(tmm1, __[output + outputStride + 64]);
            if (two)
            {
                instruction(tmm2, __[nextOutput + outputStride]);
                instruction(tmm3, __[nextOutput + outputStride + 64]);
            }
        }
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
}
