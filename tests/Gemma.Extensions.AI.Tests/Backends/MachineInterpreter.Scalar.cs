using Iced.Intel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Instructions on general registers.</summary>
internal sealed unsafe partial class MachineInterpreter
{
    private void Scalar(in Instruction i)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Mov:
                Put(i, Scalar(i, 1));
                break;
            case Mnemonic.Lea:
                Put(i, Address(i));
                break;
            case Mnemonic.Push:
                Push(Scalar(i, 0));
                break;
            case Mnemonic.Pop:
                Put(i, Pop());
                break;
            case Mnemonic.Add:
                Put(i, Flags(Scalar(i, 0) + Scalar(i, 1), carry: Scalar(i, 0) + Scalar(i, 1) < Scalar(i, 0)));
                break;
            case Mnemonic.Sub:
                Put(i, Flags(Scalar(i, 0) - Scalar(i, 1), carry: Scalar(i, 0) < Scalar(i, 1)));
                break;
            case Mnemonic.Cmp:
                Flags(Scalar(i, 0) - Scalar(i, 1), carry: Scalar(i, 0) < Scalar(i, 1));
                break;
            case Mnemonic.Dec:
                Put(i, Flags(Scalar(i, 0) - 1, _carry));
                break;
            case Mnemonic.Xor:
                Put(i, Flags(Scalar(i, 0) ^ Scalar(i, 1), carry: false));
                break;
            case Mnemonic.Imul when i.OpCount == 3:
                Put(i, Scalar(i, 1) * Scalar(i, 2));
                break;
            default:
                throw Unknown(i);
        }
    }

    private ulong Scalar(in Instruction i, int operand)
    {
        switch (i.GetOpKind(operand))
        {
            case OpKind.Register:
                ulong value = General(i.GetOpRegister(operand));
                return i.GetOpRegister(operand).GetSize() == 8 ? value : (uint)value;
            case OpKind.Memory:
                Assert.Equal(8, i.MemorySize.GetSize());
                return *(ulong*)Memory(i, sizeof(ulong), write: false, aligned: false);
            default:
                return i.GetImmediate(operand);
        }
    }

    /// <summary>Sets a register. 32 bits clear the others.</summary>
    private void Put(in Instruction i, ulong value) => General(i.Op0Register) = i.Op0Register.GetSize() == 8 ? value : (uint)value;

    private ulong Flags(ulong result, bool carry)
    {
        _zero = result == 0;
        _carry = carry;
        return result;
    }

    private void Push(ulong value)
    {
        ref ulong top = ref General(Register.RSP);
        top -= sizeof(ulong);
        *(ulong*)Memory(top, sizeof(ulong), write: true) = value;
    }

    private ulong Pop()
    {
        ref ulong top = ref General(Register.RSP);
        ulong value = *(ulong*)Memory(top, sizeof(ulong), write: false);
        top += sizeof(ulong);
        return value;
    }
}
