using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q4_K()
    {
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x3F);
        Loop(144 - 128, () =>
        {
            // The high nibbles stay where they are, sixteen times as large: their scales are that much smaller, which rounds nothing.
            SixBitScales(1 / 16f);
            Parts(256, 32, 64, 32, () =>
            {
                int[] packed = Read32(16, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
                Group(0, 8, minimum: true, 4, (j, weights) => And(weights, LowNibbles, packed[j]));
                Group(1, 8, minimum: true, 4, (j, weights) => AndNot(weights, LowNibbles, packed[j]));
            });
        });
    }

    /// <summary>Scales and minima of the eight groups of Q4_K and Q5_K; those of the odd groups times a factor.</summary>
    private void SixBitScales(float oddFactor)
    {
        int[] header = Read16(0, [16, 17, 18, 19, 20]);
        Requests(4);
        AssemblerRegisterZMM scales = Z(header[1]), minima = Z(header[2]), d = zmm8, odd = zmm9, dmin = zmm10, laterScales = zmm11, laterMinima = zmm12;
        SixBits(header, d, dmin, laterScales, laterMinima, zmm13);
        if (oddFactor != 1)
        {
            Broadcast(odd, BitConverter.SingleToUInt32Bits(oddFactor));
            _c.vmulps(odd, odd, d);
        }

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
}
