using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void BF16()
    {
        Broadcast(Mask, 0xFFFF0000);
        Loop(0, () =>
        {
            int[] packed = Read32(0, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            for (int j = 0; j < 16; j++)
            {
                AssemblerRegisterZMM weights = Temporary();
                if (j % 2 == 0)
                {
                    _c.vpslld(weights, Z(packed[j / 2]), 16);
                    Requests(1);
                }
                else
                {
                    And(weights, Mask, packed[j / 2]);
                }

                for (int row = 0; row < _rows; row++)
                {
                    _c.vfmadd231ps(Sum(row), weights, __dword_bcst[Activations + 4 * (j * _rows + row)]);
                }
            }

            Advance(32, 0);
            _c.add(Activations, 64 * _rows);
        });
    }

    /// <summary>Dwords of the file are pairs already: as many products as dwords, nothing to unpack.</summary>
    private void BFloat16Pairs()
    {
        Loop(0, () =>
        {
            int[] packed = Read32(0, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
            for (int j = 0; j < 8; j++)
            {
                Requests(1);
                for (int row = 0; row < _rows; row++)
                {
                    _c.vdpbf16ps(Sum(row), Z(packed[j]), __dword_bcst[Activations + 4 * (j * _rows + row)]);
                }
            }

            Advance(32, 0);
            _c.add(Activations, 32 * _rows);
        });
    }
}
