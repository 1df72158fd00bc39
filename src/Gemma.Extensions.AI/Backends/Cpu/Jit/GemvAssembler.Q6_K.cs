using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q6_K()
    {
        if (_rows == 1 && !_tuning.NoGaloisField)
        {
            OneRowOfQ6_K();
            return;
        }

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

    /// <summary>
    /// With one row of activations the packed weights of 128 columns stay in registers, and one instruction moves two bits to their place and clears the others (a bit matrix): 11 % less time
    /// in the cache on Zen 4. Either alone gained nothing there.
    /// </summary>
    private void OneRowOfQ6_K()
    {
        Broadcast(LowNibbles, Nibbles);
        for (int pair = 0; pair < 4; pair++)
        {
            // Bits 2·pair and 2·pair + 1 of each byte to bits 4 and 5.
            _c.mov(r15, 1UL << (24 + 2 * pair) | 1UL << (17 + 2 * pair));
            _c.vpbroadcastq(zmm25, r15);
            _c.vmovdqa32(Kept(LoopScratch, pair), zmm25);
        }

        _c.add(Activations, 64);
        Loop(210 - 128, () =>
        {
            ScalesOfQ6_K();
            Requests(4);
            for (int half = 0; half < 2; half++)
            {
                int[] first = Take(0, [1, 2, 3, 4, 5, 6, 7, 9], 25, out int spare);
                int[] second = Take(32, [10, 11, 12, 13, 14, 15, 16, 17], spare, out spare);
                int[] high = Take(128 - 32 * half, [18, 19, 20, 21, 22, 23, 24, 28], spare, out spare);
                _temporaries = [Z(spare), zmm26, zmm29];
                _c.mov(r15d, 512 * half);
                for (int group = 0; group < 8; group++)
                {
                    int[] low = (group & 2) == 0 ? first : second;
                    int begin = 4 * (group & 1), pair = group / 2;
                    Group(group, 4, minimum: false, 3, (j, weights) => SixBits(Z(low[begin + j]), Z(high[begin + j]), pair, weights));
                }

                Advance(64, 128, 16);
            }
        });

        int[] Take(int offset, int[] registers, int free, out int spare)
        {
            int[] all = [.. registers, free], dwords = Read32(offset, all);
            spare = all.Single(register => !dwords.Contains(register));
            return dwords;
        }

        AssemblerRegisterZMM SixBits(AssemblerRegisterZMM low, AssemblerRegisterZMM high, int pair, AssemblerRegisterZMM weights)
        {
            AssemblerRegisterZMM nibbles = low;
            if (pair >= 2)
            {
                nibbles = Temporary();
                _c.vpsrld(nibbles, low, 4);
            }

            _c.vgf2p8affineqb(weights, high, Kept(LoopScratch, pair), 0);
            _c.vpternlogd(weights, nibbles, LowNibbles, 0xF8);
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
