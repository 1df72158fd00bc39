using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    private void IQ4_XS()
    {
        LoadCodes<IQ4_NLCodes>();
        Loop(136 - 128, () =>
        {
            SignedSixBitScales();
            Parts(256, 32, 64, 32, () =>
            {
                int[] packed = Read32(8, [16, 17, 18, 19, 20, 21, 22, 23, 24]);
                for (int g = 0; g < 2; g++)
                {
                    int first = 4 * g;
                    Group(g, 8, minimum: false, 4, (j, weights) => Code(weights, packed[first + j % 4], high: j >= 4));
                }
            });
        });
    }

    /// <summary>Scales of the eight groups: a nibble each, and two bits more from a word after the block's.</summary>
    private void SignedSixBitScales()
    {
        int[] header = Read16(0, [16, 17, 18, 19, 20]);
        Requests(4);
        AssemblerRegisterZMM head = Z(header[0]), low = Z(header[1]), d = zmm8, value = zmm9, upper = zmm10;
        AssemblerRegisterZMM nibble = zmm11, bias = zmm12;
        _c.vpsrld(nibble, LowNibbles, 24); // 15
        _c.vpsrld(bias, nibble, 3);
        _c.vpslld(bias, bias, 5); // 32
        ToSingle(d, head);
        for (int g = 0; g < 8; g++)
        {
            _c.vpsrld(value, low, (byte)(4 * g));
            _c.vpandd(value, value, nibble);
            _c.vpslld(upper, head, (byte)(14 - 2 * g));
            _c.vpsrld(upper, upper, 30);
            _c.vpslld(upper, upper, 4);
            _c.vpord(value, value, upper);
            _c.vpsubd(value, value, bias);
            _c.vcvtdq2ps(value, value);
            _c.vmulps(value, value, d);
            _c.vmovaps(Kept(256 * (g / 2) + Line * (g % 2), 0), value);
        }
    }
}
