using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ1_S()
    {
        int[] indices = [];
        Codebook(2048, group: 32, blockBytes: 50, held: 2, () =>
        {
            // A word for 32 columns: three upper bits of four indices, three of the scale, and whether an eighth is taken off.
            BlockScale();
            int[] words = Read16(34, [16, 17, 18, 19, 20]);
            Keep(KeptAt, words);
            for (int g = 0; g < 8; g++)
            {
                GroupScale(g, words[g / 2], g % 2 * 16 + 12);
            }
        }, part =>
        {
            if (part % 4 == 0)
            {
                indices = Read16(2 + 4 * part, [16, 17, 18, 19, 20]);
            }

            AssemblerRegisterZMM index = Z(indices[part % 4]), words = zmm21, shifts = zmm22;
            _c.vmovdqa32(words, Kept(KeptAt, part / 2));
            UpperBit(k7, words, 3 * (part % 2));
            Select(index);
            UpperBit(k5, words, 3 * (part % 2) + 1);
            UpperBit(k6, words, 3 * (part % 2) + 2);
            if (part % 2 == 0)
            {
                _c.vpslld(words, words, 16);
            }

            _c.vpsrad(shifts, words, 31);
            Eights(part, index, shifts, shifts);
        });
    }
}
