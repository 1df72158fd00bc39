using Gemma.Extensions.AI.Backends.Cpu.MatMul;
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
            Requests(6);
            int[] first = [16, 17, 18, 19, 20, 21, 22, 23, 24], second = _manyRows ? first : [8, 9, 10, 11, 12, 13, 14, 15, 25];
            Keep(LoopScratch, Read32(128, first));
            Keep(LoopScratch + 512, Read32(160, second));
            Parts(512, 64, 128, 16, () =>
            {
                Keep(Low, Read32(0, first));
                Keep(Low + 512, Read32(32, second));
                foreach (int group in Enumerable.Range(0, 8))
                {
                    Group16(group, 3, (j, weights) => SixBits(group, 4 * (group & 1) + j, weights));
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
            Requests(6);
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
                    Group16(group, 3, (j, weights) => SixBits(Z(low[begin + j]), Z(high[begin + j]), pair, weights));
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

    /// <summary>
    /// The products of a group of 16 columns. Of many rows eight at a time, with the group's weights in registers, so that sums stay where they are: 7 % less time for 16 rows of Q6_K in the
    /// cache on Zen 4 than with sums in memory.
    /// </summary>
    private void Group16(int group, int requests, Func<int, AssemblerRegisterZMM, AssemblerRegisterZMM> weights)
    {
        if (!_manyRows)
        {
            Group(group, 4, minimum: false, requests, weights);
            return;
        }

        AssemblerRegisterZMM[] w = [weights(0, zmm24), weights(1, zmm25), weights(2, zmm26), weights(3, zmm28)];
        for (int first = 0; first < _rows; first += GemvArgs.MaxRegisterRows)
        {
            int end = Math.Min(_rows, first + GemvArgs.MaxRegisterRows);
            for (int row = first; row < end; row++)
            {
                _c.vpbroadcastd(Accumulator(row), __dword_ptr[ZeroPointTerms + 4 * (group * _rows + row)]);
            }

            Products16(4 * group - Middle(4), first, end, w, shuffle: group % 2 == 1 && !_tuning.OneProductACycle);
            _c.vmovaps(Scale, KeptOfPart(Line * group, 0));
            for (int row = first; row < end; row++)
            {
                _c.vmulps(zmm29, Scale, __dword_bcst[ActivationScales + 4 * (group / 2 * _rows + row)]);
                _c.vcvtdq2ps(Accumulator(row), Accumulator(row));
                _c.vfmadd231ps(Sum(row), Accumulator(row), zmm29);
            }
        }

        Requests(requests);
    }

    /// <summary>As <see cref="BroadcastProducts"/> or <see cref="ShuffledProducts"/>, of some rows. Changes zmm27 and zmm29.</summary>
    private void Products16(int offset, int first, int end, AssemblerRegisterZMM[] w, bool shuffle)
    {
        for (int row = first; row < end && shuffle; row++)
        {
            _c.vbroadcasti32x4(zmm27, __xmmword_ptr[Activations + Activation(offset, row)]);
            for (int j = 0; j < 4; j++)
            {
                _c.vpshufd(zmm29, zmm27, (byte)(0x55 * j));
                _c.vpdpbusd(Accumulator(row), w[j], zmm29);
            }
        }

        for (int j = 0; j < 4 && !shuffle; j++)
        {
            for (int row = first; row < end; row++)
            {
                _c.vpdpbusd(Accumulator(row), w[j], __dword_bcst[Activations + Activation(offset + j, row)]);
            }
        }
    }

    /// <summary>Keeps the scale of each of the 16 groups, multiplied by the super-block's.</summary>
    private void ScalesOfQ6_K()
    {
        AssemblerRegisterZMM d = LastHalf(208, [16, 17, 18, 19, 20]);
        int[] scales = Read16(192, [21, 22, 23, 24, 25]);
        for (int g = 0; g < 16; g++)
        {
            AssemblerRegisterZMM scale = _manyRows ? Z(26 + g % 4) : Z(8 + g % 8);
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
