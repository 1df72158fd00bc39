using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q4_0()
    {
        Broadcast(LowNibbles, Nibbles);
        Loop(0, () =>
        {
            HalfScales(Scale, xmm8, xmm9);
            int[] packed = Read16(2, [16, 17, 18, 19, 20]);
            Group(0, 8, minimum: false, 5, (j, weights) =>
            {
                if (j >= 4)
                {
                    _c.vpsrld(Z(packed[j - 4]), Z(packed[j - 4]), 4);
                }

                return And(weights, LowNibbles, packed[j % 4]);
            }, scaleIsLoaded: true);
            Advance(18, 32);
        });
    }
}
