namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ3_XXS()
    {
        int[] indices = [];
        Codebook(256, group: 32, blockBytes: 98, held: 2, () =>
        {
            BlockScale();
            for (int half = 0; half < 2; half++)
            {
                int[] words = Read16(66 + 16 * half, [16, 17, 18, 19, 20]);
                Keep(KeptAt + 4 * Line * half, words);
                for (int i = 0; i < 4; i++)
                {
                    GroupScale(4 * half + i, words[i], 28);
                }
            }
        }, part =>
        {
            if (part % 2 == 0)
            {
                indices = Read16(2 + 8 * part, [16, 17, 18, 19, 20]);
            }

            TwoFours(part, indices[part % 2 * 2], indices[part % 2 * 2 + 1], _ => { });
        });
    }
}
