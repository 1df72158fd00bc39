using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q6_K()
    {
        const int Low = LoopScratch + 1024;
        Broadcast(LowNibbles, Nibbles);
        Broadcast(Mask, 0x3F3F3F3F);

        // The pointer stands in the middle of 128 columns, so that distances fit into a byte.
        _c.add(Activations, 64 * _rows);
        Loop(210 - 128, () =>
        {
            ScalesOfQ6_K();
            Requests(4);
            Keep(LoopScratch, Read32(128, [16, 17, 18, 19, 20, 21, 22, 23, 24]));
            Keep(LoopScratch + 512, Read32(160, [8, 9, 10, 11, 12, 13, 14, 15, 25]));
            Parts(512, 64, 128, 16, () =>
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

    /// <summary>Keeps the scale of each of the 16 groups, multiplied by the super-block's.</summary>
    private void ScalesOfQ6_K()
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
    }
}
