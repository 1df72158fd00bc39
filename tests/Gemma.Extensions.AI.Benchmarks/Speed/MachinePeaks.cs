using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>What the machine gives at this moment: the roof under which kernels are measured. On shared machines it swings by the second.</summary>
/// <param name="ReadGigabytes">GB/s that all threads together read, each in four streams of its own memory; best of some passes.</param>
/// <param name="ByteGigaops">10^9 multiplications and additions a second of bytes by <c>vpdpbusd</c> on 512-bit registers; 0 where there is none.</param>
/// <param name="FloatGigaops">The same of float32 by fused multiply-add on 512-bit registers; 0 where there is none.</param>
/// <param name="PairGigaops">The same of pairs of bfloat16 by <c>vdpbf16ps</c> on 512-bit registers; 0 where there is none.</param>
internal sealed record MachinePeaks(double ReadGigabytes, double ByteGigaops, double FloatGigaops, double PairGigaops)
{
    private const int Steps = 4_000_000, Registers = 24, Streams = 4;

    public static MachinePeaks Measure(int threads)
    {
        double bytes = 0, floats = 0, pairs = 0;
        if (JitMatMulKernels.Unsupported() is null)
        {
            bytes = Best(threads, 2.0 * 64, c => Each(register => c.vpdpbusd(register, zmm30, zmm31)));
            floats = Best(threads, 2.0 * 16, c => Each(register => c.vfmadd231ps(register, zmm30, zmm31)));
        }

        if (JitMatMulKernels.UnsupportedBFloat16() is null)
        {
            pairs = Best(threads, 2.0 * 32, c => Each(register => c.vdpbf16ps(register, zmm30, zmm31)));
        }

        return new MachinePeaks(ReadBandwidth(threads), bytes, floats, pairs);
    }

    /// <summary>10^9 multiplications and additions a second of bfloat16 by <c>tdpbf16ps</c>, four sums at once; what is multiplied stays in registers.</summary>
    public static unsafe double TileGigaops(int threads)
    {
        const int Times = 1_000_000;
        Assembler assembler = new(64);
        Label loop = assembler.CreateLabel();
        assembler.ldtilecfg(__[OperatingSystem.IsWindows() ? rcx : rdi]);
        for (int i = 0; i < 8; i++)
        {
            assembler.tilezero(new AssemblerRegisterTMM(Register.TMM0 + i));
        }

        assembler.mov(eax, Times);
        assembler.Label(ref loop);
        for (int i = 0; i < 4; i++)
        {
            assembler.tdpbf16ps(new AssemblerRegisterTMM(Register.TMM0 + i), new AssemblerRegisterTMM(Register.TMM4 + i / 2), new AssemblerRegisterTMM(Register.TMM6 + i % 2));
        }

        assembler.dec(eax);
        assembler.jnz(loop);
        assembler.tilerelease();
        assembler.ret();
        using ExecutableMemory code = ExecutableMemory.TryCreate(GemmAssembler.Code(assembler), out string? reason) ?? throw new NotSupportedException(reason);
        delegate* unmanaged<byte*, void> run = (delegate* unmanaged<byte*, void>)code.Address;
        byte* shapes = stackalloc byte[64];
        AmxAssembler.Configure(new Span<byte>(shapes, 64), 32);
        double best = 0;
        for (int i = 0; i < 4; i++)
        {
            best = Math.Max(best, threads * 4.0 * Times * 2 * 16 * 16 * 32 / Together(threads, _ => run(shapes)));
        }

        return best / 1e9;
    }

    /// <summary>Bytes read a second by all threads together, in 10^9.</summary>
    public static unsafe double ReadBandwidth(int threads)
    {
        const long Stream = 96L << 20;
        byte* data = (byte*)NativeMemory.AlignedAlloc((nuint)(threads * Streams * Stream), 4096);
        new Span<byte>(data, (int)Math.Min(int.MaxValue, threads * Streams * Stream)).Fill(1);
        double[] passes = ReadPasses(threads, data, threads * Streams * Stream, 6);
        NativeMemory.AlignedFree(data);
        return passes.Max();
    }

    /// <summary>10^9 bytes a second of each pass over memory, which all threads share out.</summary>
    public static unsafe double[] ReadPasses(int threads, byte* data, long bytes, int passes)
    {
        long stream = bytes / (threads * Streams) & ~127L;
        return [.. Enumerable.Range(0, passes).Select(_ => threads * Streams * stream / 1e9 / Together(threads, thread => Read(data + thread * Streams * stream, stream)))];
    }

    private static unsafe void Read(byte* data, long stream)
    {
        Vector512<byte> a = default, b = default, c = default, d = default;
        for (long i = 0; i < stream; i += 128)
        {
            a |= Vector512.Load(data + i) | Vector512.Load(data + i + 64);
            b |= Vector512.Load(data + stream + i) | Vector512.Load(data + stream + i + 64);
            c |= Vector512.Load(data + 2 * stream + i) | Vector512.Load(data + 2 * stream + i + 64);
            d |= Vector512.Load(data + 3 * stream + i) | Vector512.Load(data + 3 * stream + i + 64);
        }

        GC.KeepAlive((a | b | c | d)[0]);
    }

    private static void Each(Action<AssemblerRegisterZMM> emit)
    {
        for (int i = 0; i < Registers; i++)
        {
            emit(new AssemblerRegisterZMM(Register.ZMM0 + i));
        }
    }

    /// <summary>10^9 operations a second of a loop of independent instructions.</summary>
    private static unsafe double Best(int threads, double operations, Action<Assembler> body)
    {
        Assembler assembler = new(64);
        Label loop = assembler.CreateLabel();

        // As bytes 63, as float32 0.75: zeros might be faster than what kernels multiply.
        assembler.mov(eax, 0x3F3F3F3F);
        assembler.vpbroadcastd(zmm30, eax);
        assembler.vpbroadcastd(zmm31, eax);
        Each(register => assembler.vpxord(register, register, register));
        assembler.mov(eax, Steps);
        assembler.Label(ref loop);
        body(assembler);
        assembler.dec(eax);
        assembler.jnz(loop);
        assembler.vzeroupper();
        assembler.ret();
        using MemoryStream stream = new();
        assembler.Assemble(new StreamCodeWriter(stream), 0);
        using ExecutableMemory code = ExecutableMemory.TryCreate(stream.ToArray(), out string? reason) ?? throw new NotSupportedException(reason);
        delegate* unmanaged<void> run = (delegate* unmanaged<void>)code.Address;
        double best = 0;
        for (int i = 0; i < 4; i++)
        {
            best = Math.Max(best, threads * (double)Steps * Registers * operations / Together(threads, _ => run()));
        }

        return best / 1e9;
    }

    /// <summary>Seconds from the first thread's start to the last one's end, by their own clocks: this thread may be woken late.</summary>
    private static double Together(int threads, Action<int> work)
    {
        using Barrier start = new(threads);
        long[] begins = new long[threads];
        long[] ends = new long[threads];
        Thread[] all = [.. Enumerable.Range(0, threads).Select(thread => new Thread(() =>
        {
            start.SignalAndWait();
            begins[thread] = Stopwatch.GetTimestamp();
            work(thread);
            ends[thread] = Stopwatch.GetTimestamp();
        }))];
        foreach (Thread thread in all)
        {
            thread.Start();
        }

        foreach (Thread thread in all)
        {
            thread.Join();
        }

        return Stopwatch.GetElapsedTime(begins.Min(), ends.Max()).TotalSeconds;
    }
}
