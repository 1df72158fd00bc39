using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ2_XS()
    {
        int[] words = [];
        Codebook(512, group: 16, blockBytes: 74, held: 4, () =>
        {
            BlockScale();
            int[] scales = Read16(58, [16, 17, 18, 19, 20]);
            for (int g = 0; g < 16; g++)
            {
                GroupScale(g, scales[2 + g / 8], g % 8 * 4);
            }
        }, part =>
        {
            if (part % 2 == 0)
            {
                words = Read16(2 + 8 * part, [16, 17, 18, 19, 20]);
            }

            // Four words a row: lower and upper bytes apart, the bytes of entries 0, 2, 1 and 3.
            AssemblerRegisterZMM a = Z(words[part % 2 * 2]), b = Z(words[part % 2 * 2 + 1]), index = zmm21, upper = zmm22, signs = zmm23;
            EvenAndOddBytes(index, upper, a, b);
            _c.vptestmb(k7, upper, Constant(GemvTables.OnesAt));
            Select(index);
            Signs(signs, upper, 0);
            Signs(upper, upper, 1);
            Eights(part, index, signs, upper);
        });
    }
}
