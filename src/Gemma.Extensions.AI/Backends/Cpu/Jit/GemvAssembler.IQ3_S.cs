using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ3_S()
    {
        int[] indices = [];
        Codebook(512, group: 32, blockBytes: 110, held: 4, () =>
        {
            BlockScale();
            int[] scales = Read16(94, [16, 17, 18, 19, 20]);
            for (int g = 0; g < 8; g++)
            {
                GroupScale(g, scales[3], 4 * g);
            }

            Keep(KeptAt + 8 * Line, Read16(66, [16, 17, 18, 19, 20])[..2]);
            Keep(KeptAt, Read16(74, [16, 17, 18, 19, 20]));
            Keep(KeptAt + 4 * Line, Read16(90, [16, 17, 18, 19, 20]));
        }, part =>
        {
            if (part % 2 == 0)
            {
                indices = Read16(2 + 8 * part, [16, 17, 18, 19, 20]);
            }

            TwoFours(part, indices[part % 2 * 2], indices[part % 2 * 2 + 1], odd =>
            {
                // Reading leaves zmm16 over.
                _c.vmovdqa32(zmm16, Kept(KeptAt + 8 * Line, part / 4));
                UpperBit(k7, zmm16, 2 * (part % 4) + odd);
            });
        });
    }
}
