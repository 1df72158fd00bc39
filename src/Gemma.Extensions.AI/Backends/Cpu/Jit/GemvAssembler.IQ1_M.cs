using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ1_M()
    {
        int[] indices = [];
        Codebook(2048, group: 16, blockBytes: 56, held: 2, () =>
        {
            // Four words: the scales of four groups each, and above them a quarter of the block's.
            int[] ends = Read16(40, [16, 17, 18, 19, 20]);
            AssemblerRegisterZMM scale = zmm10, quarter = zmm11;
            for (int i = 0; i < 4; i++)
            {
                AssemblerRegisterZMM word = Z(ends[2 + i / 2]);
                if (i % 2 == 1)
                {
                    _c.vpsrld(quarter, word, 16);
                    word = quarter;
                }

                AssemblerRegisterZMM target = i == 0 ? scale : quarter;
                _c.vpandd(target, word, __dword_bcst[Tables + GemvTables.WordTopAt]);
                if (i < 3)
                {
                    _c.vpsrld(target, target, (byte)(12 - 4 * i));
                }

                if (i > 0)
                {
                    _c.vpord(scale, scale, quarter);
                }
            }

            ToSingle(scale, scale);
            _c.vmovaps(Kept(BlockScaleAt, 0), scale);
            for (int g = 0; g < 16; g++)
            {
                GroupScale(g, ends[2 + g / 8], g / 4 % 2 * 16 + g % 4 * 3);
            }

            Keep(KeptAt, Read16(32, [16, 17, 18, 19, 20]));
        }, part =>
        {
            if (part % 4 == 0)
            {
                indices = Read16(4 * part, [16, 17, 18, 19, 20]);
            }

            // A nibble for each entry: three upper bits of its index, and whether an eighth is taken off.
            AssemblerRegisterZMM index = Z(indices[part % 4]), nibbles = zmm21, shifts = zmm22;
            _c.vmovdqa32(nibbles, Kept(KeptAt, part / 2));
            UpperBit(k7, nibbles, 4 * (part % 2));
            Select(index);
            UpperBit(k5, nibbles, 4 * (part % 2) + 1);
            UpperBit(k6, nibbles, 4 * (part % 2) + 2);
            UpperBit(k7, nibbles, 4 * (part % 2) + 3);
            _c.vpmovm2b(shifts, k7);
            Eights(part, index, shifts, shifts);
        });
    }
}
