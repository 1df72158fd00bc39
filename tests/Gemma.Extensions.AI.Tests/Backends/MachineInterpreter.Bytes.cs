using System.Numerics;
using System.Runtime.InteropServices;
using Iced.Intel;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Instructions on bytes and masks, and those that move lanes about.</summary>
internal sealed unsafe partial class MachineInterpreter
{
    /// <summary>Instructions that set a vector byte by byte, where their mask is set.</summary>
    private void Bytes(in Instruction i)
    {
        byte[] target = [.. MemoryMarshal.AsBytes(Target(i))], a = ByteVector(i, 1), b = ByteVector(i, 2);
        byte[] result = (byte[])target.Clone();
        for (int n = 0; n < target.Length; n++)
        {
            bool set = !i.HasOpMask || (_masks[i.OpMask - Register.K0] >> n & 1) != 0;
            if (set || i.Mnemonic == Mnemonic.Vpblendmb)
            {
                result[n] = i.Mnemonic switch
                {
                    Mnemonic.Vpermi2b => ((target[n] & 64) == 0 ? a : b)[target[n] & 63],
                    Mnemonic.Vpermb => b[a[n] & 63],
                    Mnemonic.Vpshufb => b[n] >= 128 ? (byte)0 : a[(n & ~15) + (b[n] & 15)],
                    Mnemonic.Vpmultishiftqb => (byte)BitOperations.RotateRight(BitConverter.ToUInt64(b, n & ~7), a[n]),
                    Mnemonic.Vgf2p8affineqb => Affine(a[n], b.AsSpan(n & ~7, 8), i.Immediate8),
                    _ => set ? b[n] : a[n],
                };
            }
        }

        result.CopyTo(MemoryMarshal.AsBytes(Target(i)));
    }

    /// <summary>Each bit is the parity of what a byte of the matrix selects, the highest that of the first.</summary>
    private static byte Affine(byte x, ReadOnlySpan<byte> matrix, byte addend)
    {
        int result = addend;
        for (int bit = 0; bit < 8; bit++)
        {
            result ^= (BitOperations.PopCount((uint)(matrix[7 - bit] & x)) & 1) << bit;
        }

        return (byte)result;
    }

    /// <summary>Instructions that set a mask.</summary>
    private void Mask(in Instruction i)
    {
        ulong result = 0;
        if (i.Op1Register.IsK())
        {
            ulong a = _masks[i.Op1Register - Register.K0], b = i.OpCount > 2 ? _masks[i.Op2Register - Register.K0] : 0;
            result = i.Mnemonic switch { Mnemonic.Kandq => a & b, Mnemonic.Kandnq => ~a & b, Mnemonic.Korq => a | b, _ => ~a };
        }
        else
        {
            byte[] a = ByteVector(i, 1), b = i.OpCount > 2 ? ByteVector(i, 2) : a;
            for (int n = 0; n < a.Length; n++)
            {
                bool set = i.Mnemonic switch
                {
                    Mnemonic.Vpmovb2m => a[n] >= 128,
                    Mnemonic.Vptestmb => (a[n] & b[n]) != 0,
                    _ => (BitConverter.ToUInt64(a, n & ~7) >> (b[n] & 63) & 1) != 0,
                };
                result |= set ? 1UL << n : 0;
            }
        }

        _masks[i.Op0Register - Register.K0] = result;
    }

    private void Shuffle(in Instruction i)
    {
        uint[] a = Vector(i, 1), b = i.OpCount > 2 && i.GetOpKind(2) != OpKind.Immediate8 ? Vector(i, 2) : a;
        byte immediate = i.OpCount > 2 && i.GetOpKind(i.OpCount - 1) == OpKind.Immediate8 ? i.Immediate8 : (byte)0;
        switch (i.Mnemonic)
        {
            case Mnemonic.Vpshufd:
                Each(i, lane => a[(lane & ~3) + (immediate >> (2 * (lane & 3)) & 3)]);
                break;
            case Mnemonic.Vshufi32x4:
                Each(i, lane => (lane < 8 ? a : b)[4 * (immediate >> (2 * (lane / 4)) & 3) + lane % 4]);
                break;
            case Mnemonic.Vinserti32x4:
                Each(i, lane => lane / 4 == (immediate & 3) ? b[lane % 4] : a[lane]);
                break;
            case Mnemonic.Vinserti64x4:
                Each(i, lane => lane / 8 == (immediate & 1) ? b[lane % 8] : a[lane]);
                break;
            case Mnemonic.Vpunpckldq or Mnemonic.Vpunpckhdq:
                int dword = i.Mnemonic == Mnemonic.Vpunpckldq ? 0 : 2;
                Each(i, lane => (lane % 2 == 0 ? a : b)[(lane & ~3) + dword + (lane & 3) / 2]);
                break;
            case Mnemonic.Vpunpcklqdq or Mnemonic.Vpunpckhqdq:
                int half = i.Mnemonic == Mnemonic.Vpunpcklqdq ? 0 : 2;
                Each(i, lane => ((lane & 2) == 0 ? a : b)[(lane & ~3) + half + (lane & 1)]);
                break;
            default:
                throw Unknown(i);
        }
    }

    private byte[] ByteVector(in Instruction i, int operand) => [.. MemoryMarshal.AsBytes(Operand(i, operand, stackalloc uint[Lanes]))];
}
