using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Assembles <see cref="TileFormat.Unpack"/> of the formats that models mostly come in, and of those that keys are stored in: <c>void f(rows, stride, columns, tile, scales)</c>.
/// The results are those of the C#, bit for bit, whatever the program around it was compiled for: in one that was compiled ahead of time for the oldest processors unpacking
/// took three times as long in C#, a tenth of a prompt's time.
/// </summary>
internal sealed class UnpackAssembler : RowAssembler
{
    private const int Step = TileWriter.ByteStep, Scale = TileFormat.Rows * sizeof(float);

    private static readonly AssemblerRegister64 Tile = rsi, Scales = rdi;

    // The Windows calling convention wants xmm6 to xmm15 back: none of zmm6-15 is used.
    private static readonly int[] s_first = [16, 17, 18, 19, 20], s_second = [21, 22, 23, 24, 25], s_third = [0, 1, 2, 3, 4], s_nine = [16, 17, 18, 19, 20, 21, 22, 23, 24];

    private readonly bool _windows;

    private UnpackAssembler(bool windows, bool interleaved)
        : base(interleaved) => _windows = windows;

    /// <summary>The machine code, in the Windows or the System V calling convention; null for a format that is unpacked in C#.</summary>
    public static byte[]? Assemble(TileFormat format, bool windows, bool interleaved = false)
    {
        if (interleaved && !InterleavedRows.Has(format.Type))
        {
            return null;
        }

        UnpackAssembler assembler = new(windows, interleaved);
        Action? blocks = format.Type switch
        {
            TensorType.F32 => () => assembler.Dwords(4),
            TensorType.F16 => assembler.F16,
            TensorType.BF16 => format.Layout == TileLayout.BFloat16x2 ? () => assembler.Dwords(8) : assembler.BF16,
            TensorType.Q8_0 => assembler.Q8_0,
            TensorType.Q4_0 => assembler.Q4_0,
            TensorType.Q4_K => assembler.Q4_K,
            TensorType.Q5_K => assembler.Q5_K,
            TensorType.Q6_K => assembler.Q6_K,
            _ => null,
        };
        return assembler.Function(blocks);
    }

    /// <summary>float32, and pairs of bfloat16, which are transposed as it is: four dwords of a row at a time, so many columns.</summary>
    private void Dwords(int columns) => Loop(columns, 16, 4, 0, () =>
    {
        int[] dwords = Read16(0, s_first);
        for (int i = 0; i < 4; i++)
        {
            Put(i, Z(dwords[i]));
        }
    });

    private void F16() => Loop(8, 16, 8, 0, () =>
    {
        int[] dwords = Read16(0, s_first);
        for (int i = 0; i < 4; i++)
        {
            ToSingle(zmm21, Z(dwords[i]));
            Put(2 * i, zmm21);
            Put(2 * i + 1, HighHalf(dwords[i]));
        }
    });

    private void BF16()
    {
        Broadcast(Mask, 0xFFFF0000);
        Loop(8, 16, 8, 0, () =>
        {
            int[] dwords = Read16(0, s_first);
            for (int i = 0; i < 4; i++)
            {
                _c.vpslld(zmm21, Z(dwords[i]), 16);
                Put(2 * i, zmm21);
                Put(2 * i + 1, And(zmm22, Mask, dwords[i]));
            }
        });
    }

    private void Q8_0()
    {
        Broadcast(Mask, 0x80808080);
        Loop(32, 34, 8, 1, () =>
        {
            HalfScales(zmm25, xmm4, xmm5);
            _c.vmovups(__zmmword_ptr[Scales], zmm25);
            int[] dwords = Read32(2, s_nine);
            for (int i = 0; i < 8; i++)
            {
                _c.vpxord(Z(dwords[i]), Z(dwords[i]), Mask);
                Put(i, Z(dwords[i]));
            }
        });
    }

    private void Q4_0()
    {
        Broadcast(LowNibbles, Nibbles);
        Loop(32, 18, 8, 1, () =>
        {
            HalfScales(zmm25, xmm4, xmm5);
            _c.vmovups(__zmmword_ptr[Scales], zmm25);
            int[] dwords = Read16(2, s_first);
            for (int i = 0; i < 4; i++)
            {
                Put(i, And(zmm21, LowNibbles, dwords[i]));
                Put(4 + i, HighNibbles(zmm21, dwords[i]));
            }
        });
    }

    private void Q4_K()
    {
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x3F);
        Loop(256, 144, 64, 16, () =>
        {
            SixBitScales();
            for (int part = 0; part < 4; part++)
            {
                int[] dwords = Read32(16 + 32 * part, s_nine);
                for (int i = 0; i < 8; i++)
                {
                    Put(16 * part + i, And(zmm25, LowNibbles, dwords[i]));
                    Put(16 * part + 8 + i, HighNibbles(zmm26, dwords[i]));
                }
            }
        });
    }

    private void Q5_K()
    {
        int[] fifths = [0, 1, 2, 3, 4, 5, 25, 26, 27];
        AssemblerRegisterZMM fifth = zmm28, value = zmm29;
        Broadcast(LowNibbles, Nibbles);
        Loop(256, 176, 64, 16, () =>
        {
            Broadcast(Mask, 0x3F);
            SixBitScales();
            Broadcast(Mask, 0x10101010);
            int[] bits = Read32(16, fifths);
            for (int part = 0; part < 4; part++)
            {
                int[] dwords = Read32(48 + 32 * part, s_nine);
                for (int i = 0; i < 8; i++)
                {
                    Or(16 * part + i, And(value, LowNibbles, dwords[i]), 4 - 2 * part, bits[i]);
                    Or(16 * part + 8 + i, HighNibbles(value, dwords[i]), 3 - 2 * part, bits[i]);
                }
            }
        });

        void Or(int step, AssemblerRegisterZMM nibbles, int left, int bits)
        {
            Shift(fifth, bits, left);
            _c.vpternlogd(nibbles, fifth, Mask, 0xF8);
            Put(step, nibbles);
        }
    }

    private void Q6_K()
    {
        AssemblerRegisterZMM top = zmm28, value = zmm29;
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x30303030);
        Loop(256, 210, 64, 16, () =>
        {
            AssemblerRegisterZMM d = LastHalf(208, s_first);
            int[] scales = Read16(192, s_second);
            for (int g = 0; g < 16; g++)
            {
                _c.vpslld(value, Z(scales[g / 4]), (byte)(24 - 8 * (g % 4)));
                _c.vpsrad(value, value, 24);
                _c.vcvtdq2ps(value, value);
                _c.vmulps(value, value, d);
                _c.vmovups(__zmmword_ptr[Scales + g * Scale], value);
            }

            for (int part = 0; part < 4; part++)
            {
                int low = 64 * (part >> 1) + 16 * (part & 1), step = 32 * (part >> 1) + 4 * (part & 1);
                int[] a = Read16(low, s_first), b = Read16(low + 32, s_second), h = Read16(128 + 16 * part, s_third);
                for (int i = 0; i < 4; i++)
                {
                    Or(step + i, And(value, LowNibbles, a[i]), 4, h[i]);
                    Or(step + 8 + i, And(value, LowNibbles, b[i]), 2, h[i]);
                    Or(step + 16 + i, HighNibbles(value, a[i]), 0, h[i]);
                    Or(step + 24 + i, HighNibbles(value, b[i]), -2, h[i]);
                }
            }
        });

        void Or(int step, AssemblerRegisterZMM nibbles, int left, int bits)
        {
            Shift(top, bits, left);
            _c.vpternlogd(nibbles, top, Mask, 0xF8);
            Put(step, nibbles);
        }
    }

    /// <summary>Scales and minima of the eight groups of Q4_K and Q5_K.</summary>
    private void SixBitScales()
    {
        int[] header = Read16(0, s_first);
        AssemblerRegisterZMM d = zmm0, dmin = zmm1, laterScales = zmm2, laterMinima = zmm3;
        SixBits(header, d, dmin, laterScales, laterMinima, zmm21);
        for (int g = 0; g < 8; g++)
        {
            Group(2 * g, g < 4 ? Z(header[1]) : laterScales, d, g % 4);
            Group(2 * g + 1, g < 4 ? Z(header[2]) : laterMinima, dmin, g % 4);
        }

        void Group(int index, AssemblerRegisterZMM six, AssemblerRegisterZMM factor, int of)
        {
            _c.vpsrld(zmm22, six, (byte)(8 * of));
            _c.vpandd(zmm22, zmm22, Mask);
            _c.vcvtdq2ps(zmm22, zmm22);
            _c.vmulps(zmm22, zmm22, factor);
            _c.vmovups(__zmmword_ptr[Scales + index * Scale], zmm22);
        }
    }

    private void Put(int step, AssemblerRegisterZMM value) => _c.vmovups(__zmmword_ptr[Tile + step * Step], value);

    private AssemblerRegisterZMM And(AssemblerRegisterZMM target, AssemblerRegisterZMM mask, int register)
    {
        _c.vpandd(target, mask, Z(register));
        return target;
    }

    private AssemblerRegisterZMM HighNibbles(AssemblerRegisterZMM target, int register)
    {
        _c.vpsrld(target, Z(register), 4);
        _c.vpandd(target, target, LowNibbles);
        return target;
    }

    private void Shift(AssemblerRegisterZMM target, int register, int left)
    {
        if (left >= 0)
        {
            _c.vpslld(target, Z(register), (byte)left);
        }
        else
        {
            _c.vpsrld(target, Z(register), (byte)-left);
        }
    }

    /// <summary>A loop over blocks of a power of two columns, which are some bytes of a row, steps of the tile and rows of scales.</summary>
    private void Loop(int columns, int bytes, int steps, int scales, Action body)
    {
        _c.shr(Blocks, (byte)System.Numerics.BitOperations.Log2((uint)columns));
        Label start = _c.CreateLabel();
        _c.Label(ref start);
        body();
        AdvanceRows(bytes);
        _c.add(Tile, steps * Step);
        if (scales > 0)
        {
            _c.add(Scales, scales * Scale);
        }

        _c.dec(Blocks);
        _c.jnz(start);
    }

    /// <summary>Moves the arguments to where rows are read from.</summary>
    protected override void Begin()
    {
        _c.push(r15);
        if (_windows)
        {
            _c.push(rsi);
            _c.push(rdi);
            _c.mov(eax, r8d); // Blocks
            _c.mov(Tile, r9);
            _c.mov(Scales, __qword_ptr[rsp + 24 + 40]); // three registers, the return address and the callee's 32 bytes
            _c.mov(Bases[0], rcx);
            _c.mov(Stride, rdx);
        }
        else
        {
            _c.mov(eax, edx); // Blocks
            _c.mov(r9, rdi);
            _c.mov(Scales, r8);
            _c.mov(Bases[0], r9);
            _c.mov(r9, rcx);
            _c.mov(Stride, rsi);
            _c.mov(Tile, r9);
        }

        RowAddresses();
    }

    protected override void End()
    {
        _c.vzeroupper();
        if (_windows)
        {
            _c.pop(rdi);
            _c.pop(rsi);
        }

        _c.pop(r15);
        _c.ret();
    }
}
