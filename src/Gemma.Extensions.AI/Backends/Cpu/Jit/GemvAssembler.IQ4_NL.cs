using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

internal sealed partial class GemvAssembler
{
    // The 16 weights that nibbles stand for, in each quarter.
    private static readonly AssemblerRegisterZMM Codes = zmm30;

    private void IQ4_NL()
    {
        LoadCodes<IQ4_NLCodes>();
        Loop(0, () =>
        {
            HalfScales(Scale, xmm8, xmm9);
            int[] packed = Read16(2, [16, 17, 18, 19, 20]);
            Group(0, 8, minimum: false, 5, (j, weights) => Code(weights, packed[j % 4], high: j >= 4), scaleIsLoaded: true);
            Advance(18, 32);
        });
    }

    private void LoadCodes<TTable>()
        where TTable : struct, ICodeTable
    {
        Broadcast(LowNibbles, Nibbles);
        Vector128<ulong> codes = TTable.Codes.AsUInt64();
        _c.mov(r15, codes[0]);
        _c.vpbroadcastq(Codes, r15);
        _c.mov(r15, codes[1]);
        _c.vpbroadcastq(zmm29, r15);
        _c.vpunpcklqdq(Codes, Codes, zmm29);
    }

    /// <summary>Looks up the low or the high nibbles of a register.</summary>
    private AssemblerRegisterZMM Code(AssemblerRegisterZMM target, int packed, bool high)
    {
        if (high)
        {
            _c.vpsrld(target, Z(packed), 4);
            packed = (Register)target - Register.ZMM0;
        }

        _c.vpshufb(target, Codes, And(target, LowNibbles, packed));
        return target;
    }
}
