using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q8_0()
    {
        Broadcast(Mask, 0x80808080);
        Loop(0, () =>
        {
            HalfScales(Scale, xmm8, xmm9);
            int[] packed = Read32(2, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            Group(0, 8, minimum: false, 9, (j, _) =>
            {
                _c.vpxord(Z(packed[j]), Z(packed[j]), Mask);
                return Z(packed[j]);
            }, scaleIsLoaded: true);
            Advance(34, 32);
        });
    }
}
