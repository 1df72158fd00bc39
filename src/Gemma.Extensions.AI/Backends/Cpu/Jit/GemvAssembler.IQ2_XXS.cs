using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ2_XXS()
    {
        int[] words = [];
        Codebook(256, group: 32, blockBytes: 66, held: 2, BlockScale, part =>
        {
            if (part % 2 == 0)
            {
                words = Read16(2 + 8 * part, [16, 17, 18, 19, 20]);
            }

            int signsAndScale = words[part % 2 * 2 + 1];
            AssemblerRegisterZMM index = Z(words[part % 2 * 2]), signs = zmm21, later = zmm22;
            GroupScale(part, signsAndScale, 28);
            Select(index);
            _c.vmovdqa32(later, Constant(GemvTables.SignFieldsAt));
            _c.vpmultishiftqb(later, later, Z(signsAndScale));
            Signs(signs, later, 0);
            Signs(later, later, 1);
            Eights(part, index, signs, later);
        });
    }
}
