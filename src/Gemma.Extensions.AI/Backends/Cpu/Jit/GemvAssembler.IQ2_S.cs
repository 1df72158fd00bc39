using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ2_S()
    {
        int[] indices = [], signs = [];
        Codebook(1024, group: 16, blockBytes: 82, held: 2, () =>
        {
            BlockScale();
            int[] ends = Read16(66, [16, 17, 18, 19, 20]);
            Keep(KeptAt, ends[..2]);
            for (int g = 0; g < 16; g++)
            {
                GroupScale(g, ends[2 + g / 8], g % 8 * 4);
            }
        }, part =>
        {
            if (part % 4 == 0)
            {
                indices = Read16(2 + 4 * part, [16, 17, 18, 19, 20]);
                signs = Read16(34 + 4 * part, [21, 22, 23, 24, 25]);
            }

            AssemblerRegisterZMM index = Z(indices[part % 4]), sign = Z(signs[part % 4]), upper = zmm21; // which reading leaves over
            _c.vmovdqa32(upper, Kept(KeptAt, part / 4));
            UpperBit(k7, upper, 2 * (part % 4));
            UpperBit(k5, upper, 2 * (part % 4) + 1);
            Select(index);
            Signs(upper, sign, 1);
            Eights(part, index, sign, upper);
        });
    }
}
