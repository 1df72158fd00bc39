using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void Q5_K()
    {
        Broadcast(LowNibbles, Nibbles);
        Loop(176 - 128, () =>
        {
            Broadcast(Mask, 0x3F);
            SixBitScales(1);
            Keep(LoopScratch, Read32(16, [16, 17, 18, 19, 20, 21, 22, 23, 24]));
            Requests(8);
            Broadcast(Mask, 0x1F1F1F1F);
            Parts(256, 32, 64, 32, () =>
            {
                // The fifth bits of the two groups are the lowest two of each byte.
                int[] packed = Read32(48, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
                Group(0, 8, minimum: true, 4, (j, weights) =>
                {
                    _c.vpslld(weights, Kept(LoopScratch, j), 4);
                    _c.vpternlogd(weights, LowNibbles, Z(packed[j]), 0xB8);
                    _c.vpandd(weights, weights, Mask);
                    return weights;
                });
                Group(1, 8, minimum: true, 4, (j, weights) =>
                {
                    _c.vpslld(weights, Kept(LoopScratch, j), 3);
                    _c.vpsrld(Z(packed[j]), Z(packed[j]), 4);
                    _c.vpternlogd(weights, LowNibbles, Z(packed[j]), 0xB8);
                    _c.vpandd(weights, weights, Mask);
                    return weights;
                });
                for (int j = 0; j < 8; j++)
                {
                    AssemblerRegisterZMM fifth = Temporary();
                    _c.vprord(fifth, Kept(LoopScratch, j), 2);
                    _c.vmovdqa32(Kept(LoopScratch, j), fifth);
                }
            });
        });
    }
}
