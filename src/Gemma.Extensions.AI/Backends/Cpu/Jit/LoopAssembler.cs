using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Assembles <see cref="VectorLoops"/> for 512-bit registers, one method after the other as <see cref="VectorMath"/> and <see cref="ActivationPacker"/> compute them.</summary>
internal sealed class LoopAssembler
{
    // Constants of the exponential function: zmm16 to zmm28.
    private static readonly float[] s_exponential =
    [
        VectorMath.LeastExponent, VectorMath.LargestExponent, VectorMath.RoundingShift, VectorMath.Log2E, -VectorMath.Ln2High, -VectorMath.Ln2Low,
        VectorMath.Seventh, VectorMath.Sixth, VectorMath.Fifth, VectorMath.Fourth, VectorMath.Third, 0.5f, 1,
    ];

    private static readonly AssemblerRegisterZMM One = Z(28);

    private readonly Assembler _c = new(64);

    /// <summary><c>void f(gate, up, output, long count)</c>.</summary>
    public static byte[] GeGlu(bool windows)
    {
        LoopAssembler assembler = new();
        Assembler c = assembler._c;
        (AssemblerRegister64 gate, AssemblerRegister64 up, AssemblerRegister64 output, AssemblerRegister64 count) = windows ? (rcx, rdx, r8, r9) : (rdi, rsi, rdx, rcx);
        assembler.LoadExponential();
        assembler.Broadcast(zmm29, VectorMath.GeluCubic);
        assembler.Broadcast(zmm30, VectorMath.GeluLinear);
        Label start = c.CreateLabel();
        c.Label(ref start);
        c.vmovups(zmm0, __zmmword_ptr[gate]);
        c.vmulps(zmm1, zmm0, zmm0);
        c.vfmadd213ps(zmm1, zmm29, zmm30);
        c.vmulps(zmm1, zmm0, zmm1);
        assembler.Exponential(zmm1, zmm2, zmm3);
        c.vaddps(zmm1, One, zmm1);
        c.vdivps(zmm0, zmm0, zmm1);
        c.vmulps(zmm0, zmm0, __zmmword_ptr[up]);
        c.vmovups(__zmmword_ptr[output], zmm0);
        c.add(gate, 64);
        c.add(up, 64);
        c.add(output, 64);
        c.sub(count, 16);
        c.jg(start);
        return assembler.Return();
    }

    /// <summary><c>void f(WeighArgs*)</c>.</summary>
    public static byte[] Weigh(bool windows)
    {
        LoopAssembler assembler = new();
        Assembler c = assembler._c;
        AssemblerRegister64 args = windows ? rcx : rdi, scores = r8;
        AssemblerRegisterZMM cap = zmm29, twice = zmm30, factor = zmm31, distance = zmm4, zero = zmm5;
        assembler.LoadExponential();
        c.vbroadcastss(cap, __dword_ptr[args + WeighArgs.CapAt]);
        c.vaddps(twice, cap, cap);
        assembler.Broadcast(factor, 2);
        c.vdivps(factor, factor, cap);
        c.mov(scores, __qword_ptr[args + WeighArgs.ScoresAt]);
        c.mov(rax, 0x0706050403020100);
        c.vmovq(xmm0, rax);
        c.mov(rax, 0x0F0E0D0C0B0A0908);
        c.vpinsrq(xmm0, xmm0, rax, 1);
        c.vpmovzxbd(distance, xmm0);
        c.vpbroadcastd(zmm0, __dword_ptr[args + WeighArgs.DistanceAt]);
        c.vpsubd(distance, zmm0, distance);
        c.vpxord(zero, zero, zero);
        for (int half = 0; half < 2; half++)
        {
            AssemblerRegisterZMM weights = Z(half), other = zmm2, temporary = zmm3;
            if (half == 1)
            {
                c.mov(eax, 16);
                c.vpbroadcastd(other, eax);
                c.vpsubd(distance, distance, other);
            }

            // The cap: cap - 2·cap/(e^(2x/cap) + 1).
            c.vmulps(weights, factor, __zmmword_ptr[scores + 64 * half]);
            assembler.Exponential(weights, other, temporary);
            c.vaddps(weights, weights, One);
            c.vdivps(weights, twice, weights);
            c.vsubps(weights, cap, weights);
            assembler.Exponential(weights, other, temporary);
            c.vpcmpd(k1, distance, zero, 5); // not behind the query
            c.vpcmpd(k1.k1, distance, __dword_bcst[args + WeighArgs.WindowAt], 1);
            c.vmovaps(weights.k1.z, weights);
            c.vmovups(__zmmword_ptr[scores + 64 * half], weights);
        }

        c.vaddps(zmm0, zmm0, zmm1);
        c.mov(rax, __qword_ptr[args + WeighArgs.TotalsAt]);
        c.vmovups(__zmmword_ptr[rax], zmm0);
        return assembler.Return();
    }

    /// <summary><c>void f(QuantiseArgs*)</c>.</summary>
    public static byte[] Quantise(bool sixteens, bool windows)
    {
        LoopAssembler assembler = new();
        Assembler c = assembler._c;
        AssemblerRegister64 args = windows ? rcx : rdi, source = r8, target = r9, scales = r10, sums = r11, blocks = rax, rows = rdx;
        AssemblerRegisterZMM magnitudes = zmm16, magic = zmm17, low = zmm0, high = zmm1;
        c.mov(eax, 0x7FFFFFFF);
        c.vpbroadcastd(magnitudes, eax);
        assembler.Broadcast(magic, VectorMath.RoundingShift);
        assembler.Broadcast(zmm4, 127);
        c.vpxord(zmm5, zmm5, zmm5);
        c.mov(source, __qword_ptr[args + QuantiseArgs.SourceAt]);
        c.mov(target, __qword_ptr[args + QuantiseArgs.TargetAt]);
        c.mov(scales, __qword_ptr[args + QuantiseArgs.ScalesAt]);
        c.mov(sums, __qword_ptr[args + QuantiseArgs.SumsAt]);
        c.mov(rows, __qword_ptr[args + QuantiseArgs.RowsAt]);
        c.mov(blocks, __qword_ptr[args + QuantiseArgs.BlocksAt]);
        c.shl(rows, 2);
        Label start = c.CreateLabel();
        c.Label(ref start);
        c.vmovups(low, __zmmword_ptr[source]);
        c.vmovups(high, __zmmword_ptr[source + 64]);

        assembler.LargestMagnitude(magnitudes);
        c.vdivss(xmm3, xmm2, xmm4);
        c.vmovss(__dword_ptr[scales], xmm3);
        c.vdivss(xmm3, xmm4, xmm2);
        c.vcmpss(k1, xmm2, xmm5, 0x1E); // greater, false for NaN
        c.vmovaps(zmm3.k1.z, zmm3); // of 512 bits: for 128 the assembler takes an encoding without masks
        c.vbroadcastss(zmm3, xmm3);

        // Adding 1.5·2^23 rounds to nearest even and leaves the integer in the low bits.
        foreach (AssemblerRegisterZMM half in (AssemblerRegisterZMM[])[low, high])
        {
            c.vmulps(half, half, zmm3);
            c.vaddps(half, half, magic);
            c.vpsubd(half, half, magic);
        }

        assembler.Sums();
        c.vmovq(__qword_ptr[sums], xmm2);
        assembler.StoreBytes(sixteens, target, rows);
        c.add(source, 128);
        c.add(scales, rows);
        c.add(sums, 8);
        c.dec(blocks);
        c.jnz(start);
        return assembler.Return();
    }

    /// <summary>The largest magnitude of zmm0 and zmm1, to xmm2. As integers, so that NaN is the largest of all: the block's scale becomes NaN, and so does every product with it.</summary>
    private void LargestMagnitude(AssemblerRegisterZMM magnitudes)
    {
        _c.vpandd(zmm2, zmm0, magnitudes);
        _c.vpandd(zmm3, zmm1, magnitudes);
        _c.vpmaxud(zmm2, zmm2, zmm3);
        _c.vextracti64x4(ymm3, zmm2, 1);
        _c.vpmaxud(ymm2, ymm2, ymm3);
        _c.vextracti128(xmm3, ymm2, 1);
        _c.vpmaxud(xmm2, xmm2, xmm3);
        _c.vpshufd(xmm3, xmm2, 0x4E);
        _c.vpmaxud(xmm2, xmm2, xmm3);
        _c.vpshufd(xmm3, xmm2, 0xB1);
        _c.vpmaxud(xmm2, xmm2, xmm3);
    }

    /// <summary>The sums of the integers of zmm0 and of zmm1, to the lower half of xmm2.</summary>
    private void Sums()
    {
        _c.vextracti64x4(ymm2, zmm0, 1);
        _c.vpaddd(ymm2, ymm2, ymm0);
        _c.vextracti64x4(ymm3, zmm1, 1);
        _c.vpaddd(ymm3, ymm3, ymm1);
        _c.vphaddd(ymm2, ymm2, ymm3);
        _c.vextracti128(xmm3, ymm2, 1);
        _c.vpaddd(xmm2, xmm2, xmm3);
        _c.vphaddd(xmm2, xmm2, xmm2);
    }

    /// <summary>The low bytes of zmm0 and zmm1, past those of the other rows.</summary>
    private void StoreBytes(bool sixteens, AssemblerRegister64 target, AssemblerRegister64 rows)
    {
        _c.vpmovdb(xmm0, zmm0);
        _c.vpmovdb(xmm1, zmm1);
        if (sixteens)
        {
            _c.vmovdqu(__xmmword_ptr[target], xmm0);
            _c.vmovdqu(__xmmword_ptr[target + rows * 4], xmm1);
            _c.lea(target, __[target + rows * 8]);
        }
        else
        {
            for (int i = 0; i < 8; i++)
            {
                _c.vpextrd(__dword_ptr[target], i < 4 ? xmm0 : xmm1, (byte)(i % 4));
                _c.add(target, rows);
            }
        }
    }

    /// <summary>e^x in place. NaN stays NaN: of two operands the processor's minimum and maximum give the second where one is NaN.</summary>
    private void Exponential(AssemblerRegisterZMM x, AssemblerRegisterZMM shifted, AssemblerRegisterZMM p)
    {
        _c.vmaxps(x, Z(16), x);
        _c.vminps(x, Z(17), x);
        _c.vmovaps(shifted, Z(18));
        _c.vfmadd231ps(shifted, x, Z(19));
        _c.vsubps(p, shifted, Z(18));
        _c.vfmadd231ps(x, p, Z(20));
        _c.vfmadd231ps(x, p, Z(21));
        _c.vmovaps(p, Z(22));
        foreach (int constant in (ReadOnlySpan<int>)[23, 24, 25, 26, 27, 28, 28])
        {
            _c.vfmadd213ps(p, x, Z(constant));
        }

        _c.vpslld(shifted, shifted, 23);
        _c.vpaddd(x, p, shifted);
    }

    private void LoadExponential()
    {
        for (int i = 0; i < s_exponential.Length; i++)
        {
            Broadcast(Z(16 + i), s_exponential[i]);
        }
    }

    private void Broadcast(AssemblerRegisterZMM target, float value)
    {
        _c.mov(eax, BitConverter.SingleToUInt32Bits(value));
        _c.vpbroadcastd(target, eax);
    }

    private byte[] Return()
    {
        _c.vzeroupper();
        _c.ret();
        return GemmAssembler.Code(_c);
    }

    private static AssemblerRegisterZMM Z(int index) => new(Register.ZMM0 + index);
}
