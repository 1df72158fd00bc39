using System.Runtime.InteropServices;
using Iced.Intel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// Runs the machine code of an assembled kernel, <c>void f(args*)</c>, on any processor: the bytes are decoded and carried out one by one, on
/// registers of its own and real memory. Only what the kernels use is known; anything else fails. It also sees what a run on a processor does not
/// show: reads and writes outside the memory that a kernel was given, vectors that are not aligned where they must be, and registers that the
/// calling convention keeps.
/// </summary>
internal sealed unsafe partial class MachineInterpreter
{
    private const int Lanes = 16, StackBytes = 4096;
    private const ulong ReturnAddress = 0xDEAD_0000;
    private static readonly Register[] Kept = [Register.RBX, Register.RBP, Register.R12, Register.R13, Register.R14, Register.R15];
    private static readonly Register[] KeptOnWindows = [.. Kept, Register.RSI, Register.RDI];

    private readonly Instruction[] _program;
    private readonly int[] _indexOf;
    private readonly bool _windows;
    private readonly ulong[] _registers = new ulong[16];
    private readonly uint[] _vectors = new uint[32 * Lanes];
    private readonly ulong[] _masks = new ulong[8];
    private readonly byte[] _stack = GC.AllocateArray<byte>(StackBytes, pinned: true);
    private readonly List<Span> _memory = [];
    private bool _zero, _carry;

    public MachineInterpreter(byte[] code, bool windows)
    {
        _windows = windows;
        Decoder decoder = Decoder.Create(64, code);
        List<Instruction> program = new();
        _indexOf = new int[code.Length];
        Array.Fill(_indexOf, -1);
        while (decoder.IP < (ulong)code.Length)
        {
            _indexOf[(int)decoder.IP] = program.Count;
            program.Add(decoder.Decode());
        }

        _program = [.. program];
    }

    /// <summary>Receives the cache lines that the code prefetches, their addresses divided by 64.</summary>
    public HashSet<ulong>? Prefetched { get; set; }

    /// <summary>Instructions that the code holds.</summary>
    public IEnumerable<Mnemonic> Mnemonics => _program.Select(instruction => instruction.Mnemonic);

    public void Run(void* args, params ReadOnlySpan<Span> memory)
    {
        _memory.Clear();
        _memory.AddRange(memory);
        fixed (byte* stack = _stack)
        {
            _memory.Add(new Span(stack, StackBytes, writable: true));

            // What a kernel does not set itself is no number.
            for (int i = 0; i < _registers.Length; i++)
            {
                _registers[i] = 0xBAD0_BAD0_0000_0000 + (ulong)i;
            }

            _vectors.AsSpan().Fill(0xFFFF_FFFF);
            _masks.AsSpan().Fill(0xBAD0_BAD0_BAD0_BAD0);
            ulong top = ((ulong)stack + StackBytes) & ~63ul;
            General(Register.RSP) = top;
            Push(ReturnAddress);
            General(_windows ? Register.RCX : Register.RDI) = (ulong)args;
            ulong[] registers = [.. _registers];
            Loop();
            Assert.False(_configured, "The kernel kept its tiles.");
            Assert.Equal(top, General(Register.RSP));
            foreach (Register kept in _windows ? KeptOnWindows : Kept)
            {
                Assert.Equal(registers[kept - Register.RAX], General(kept));
            }

            for (int i = 6; _windows && i < 16; i++)
            {
                Assert.All(_vectors.AsSpan(Lanes * i, 4).ToArray(), lane => Assert.Equal(0xFFFF_FFFF, lane));
            }
        }
    }

    private void Loop()
    {
        int at = 0;
        while (true)
        {
            ref readonly Instruction i = ref _program[at++];
            switch (i.Mnemonic)
            {
                case Mnemonic.Ret:
                    Assert.Equal(ReturnAddress, Pop());
                    return;
                case Mnemonic.Jmp:
                case Mnemonic.Jne when !_zero:
                case Mnemonic.Je when _zero:
                case Mnemonic.Jb when _carry:
                    at = _indexOf[(int)i.NearBranchTarget];
                    break;
                case Mnemonic.Jne or Mnemonic.Je or Mnemonic.Jb:
                    break;

                // Asks for memory that need not be there.
                case Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1:
                    Prefetched?.Add(Address(i) / 64);
                    break;
                case Mnemonic.Nop:
                    break;
                default:
                    if (TileInstruction(i))
                    {
                        break;
                    }

                    if (i.Code.Encoding() is EncodingKind.EVEX or EncodingKind.VEX)
                    {
                        Vector(i);
                    }
                    else
                    {
                        Scalar(i);
                    }

                    break;
            }
        }
    }

    private void Vector(in Instruction i)
    {
        if (i.ZeroingMasking || i.RoundingControl != RoundingControl.None || (i.HasOpMask && i.Mnemonic is not (Mnemonic.Vpermi2b or Mnemonic.Vpblendmb)))
        {
            throw Unknown(i);
        }

        switch (i.Mnemonic)
        {
            case Mnemonic.Vpermi2b or Mnemonic.Vpermb or Mnemonic.Vpmultishiftqb or Mnemonic.Vgf2p8affineqb or Mnemonic.Vpblendmb or Mnemonic.Vpshufb:
                Bytes(i);
                break;
            case Mnemonic.Vpmovb2m or Mnemonic.Vptestmb or Mnemonic.Vpshufbitqmb or Mnemonic.Kandq or Mnemonic.Kandnq or Mnemonic.Korq or Mnemonic.Knotq:
                Mask(i);
                break;
            case Mnemonic.Vpmovm2b:
                ulong set = _masks[i.Op1Register - Register.K0];
                Each(i, lane => (uint)Enumerable.Range(0, 4).Sum(n => (long)((set >> (4 * lane + n) & 1) * 0xFF) << (8 * n)));
                break;
            case Mnemonic.Vpermps:
                uint[] places = Vector(i, 1), floats = Vector(i, 2);
                Each(i, lane => floats[places[lane] & 15]);
                break;
            case Mnemonic.Vpbroadcastq:
                ulong wide = Scalar(i, 1);
                Each(i, lane => (uint)(wide >> (32 * (lane % 2))));
                break;
            case Mnemonic.Vpsubd:
                Each(i, (a, b) => a - b);
                break;
            case Mnemonic.Vpord:
                Each(i, (a, b) => a | b);
                break;
            case Mnemonic.Vzeroupper:
                for (int register = 0; register < 16; register++)
                {
                    _vectors.AsSpan(Lanes * register + 4, Lanes - 4).Clear();
                }

                break;
            case Mnemonic.Vmovups or Mnemonic.Vmovdqu32:
                Move(i, aligned: false);
                break;
            case Mnemonic.Vmovaps or Mnemonic.Vmovdqa32:
                Move(i, aligned: true);
                break;
            case Mnemonic.Vbroadcastss or Mnemonic.Vpbroadcastd:
                uint scalar = i.Op1Kind == OpKind.Register && i.Op1Register.IsGPR() ? (uint)Scalar(i, 1) : Operand(i, 1, stackalloc uint[Lanes])[0];
                Each(i, _ => scalar);
                break;
            case Mnemonic.Vpbroadcastw:
                uint word = *(ushort*)Memory(i, sizeof(ushort), write: false, aligned: false);
                Each(i, _ => word * 0x10001);
                break;
            case Mnemonic.Vpinsrw:
                uint inserted = *(ushort*)Memory(i, sizeof(ushort), write: false, aligned: false);
                uint[] words = Vector(i, 1);
                int place = 16 * (i.Immediate8 & 1), changed = i.Immediate8 / 2;
                Each(i, lane => lane == changed ? (words[lane] & ~(0xFFFFu << place)) | inserted << place : words[lane]);
                break;
            case Mnemonic.Vbroadcasti32x4:
                uint[] quarter = Vector(i, 1);
                Each(i, lane => quarter[lane % 4]);
                break;
            case Mnemonic.Vpxord:
                Each(i, (a, b) => a ^ b);
                break;
            case Mnemonic.Vpandd:
                Each(i, (a, b) => a & b);
                break;
            case Mnemonic.Vpandnd:
                Each(i, (a, b) => ~a & b);
                break;
            case Mnemonic.Vpslld:
                Shift(i, (a, count) => a << count);
                break;
            case Mnemonic.Vpsrld:
                Shift(i, (a, count) => a >> count);
                break;
            case Mnemonic.Vpsrad:
                Shift(i, (a, count) => (uint)((int)a >> count));
                break;
            case Mnemonic.Vprord:
                Shift(i, uint.RotateRight);
                break;
            case Mnemonic.Vpternlogd:
                byte table = i.Immediate8;
                Each(i, (a, b, c) => Ternary(table, a, b, c));
                break;
            case Mnemonic.Vmulps:
                Each(i, (a, b) => Bits(Single(a) * Single(b)));
                break;
            case Mnemonic.Vfmadd231ps:
                Each(i, (sum, a, b) => Bits(MathF.FusedMultiplyAdd(Single(a), Single(b), Single(sum))));
                break;
            case Mnemonic.Vfmadd213ps:
                Each(i, (a, b, sum) => Bits(MathF.FusedMultiplyAdd(Single(a), Single(b), Single(sum))));
                break;
            case Mnemonic.Vfnmadd231ps:
                Each(i, (sum, a, b) => Bits(MathF.FusedMultiplyAdd(-Single(a), Single(b), Single(sum))));
                break;
            case Mnemonic.Vcvtdq2ps:
                uint[] integers = Vector(i, 1);
                Each(i, lane => Bits((int)integers[lane]));
                break;
            case Mnemonic.Vcvtph2ps:
                uint[] halves = Vector(i, 1);
                Each(i, lane => Bits((float)BitConverter.UInt16BitsToHalf((ushort)(halves[lane / 2] >> (16 * (lane % 2))))));
                break;
            case Mnemonic.Vpmovdw:
                uint[] dwords = Vector(i, 1);
                Each(i, lane => (dwords[2 * lane] & 0xFFFF) | dwords[2 * lane + 1] << 16);
                break;
            case Mnemonic.Vpdpbusd:
                Each(i, (sum, a, b) =>
                {
                    for (int n = 0; n < 32; n += 8)
                    {
                        sum += (uint)((byte)(a >> n) * (sbyte)(b >> n));
                    }

                    return sum;
                });
                break;
            case Mnemonic.Vpdpwssd:
                Each(i, (sum, a, b) => sum + (uint)((short)a * (short)b) + (uint)((short)(a >> 16) * (short)(b >> 16)));
                break;
            case Mnemonic.Vdpbf16ps:
                Each(i, (sum, a, b) => Bits(BFloatDot.Add(Single(sum), a, b)));
                break;
            default:
                Shuffle(i);
                break;
        }
    }

    private static uint Ternary(byte table, uint a, uint b, uint c)
    {
        uint result = 0;
        for (int bits = 0; bits < 8; bits++)
        {
            if ((table >> bits & 1) != 0)
            {
                result |= ((bits & 4) != 0 ? a : ~a) & ((bits & 2) != 0 ? b : ~b) & ((bits & 1) != 0 ? c : ~c);
            }
        }

        return result;
    }

    private void Shift(in Instruction i, Func<uint, int, uint> operation)
    {
        Assert.InRange(i.Immediate8, 0, 31);
        uint[] a = Vector(i, 1);
        int count = i.Immediate8;
        Each(i, lane => operation(a[lane], count));
    }

    private void Each(in Instruction i, Func<uint, uint, uint> operation)
    {
        ReadOnlySpan<uint> a = Operand(i, 1, stackalloc uint[Lanes]), b = Operand(i, 2, stackalloc uint[Lanes]);
        Span<uint> target = Target(i);
        for (int lane = 0; lane < target.Length; lane++)
        {
            target[lane] = operation(a[lane], b[lane]);
        }
    }

    private void Each(in Instruction i, Func<uint, uint, uint, uint> operation)
    {
        ReadOnlySpan<uint> a = Operand(i, 1, stackalloc uint[Lanes]), b = Operand(i, 2, stackalloc uint[Lanes]);
        Span<uint> target = Target(i);
        for (int lane = 0; lane < target.Length; lane++)
        {
            target[lane] = operation(target[lane], a[lane], b[lane]);
        }
    }

    /// <summary>Sets the lanes of the first operand.</summary>
    private void Each(in Instruction i, Func<int, uint> lanes)
    {
        Span<uint> target = Target(i);
        for (int lane = 0; lane < target.Length; lane++)
        {
            target[lane] = lanes(lane);
        }
    }

    private void Move(in Instruction i, bool aligned)
    {
        ReadOnlySpan<uint> values = Operand(i, 1, stackalloc uint[Lanes], aligned);
        if (i.Op0Kind == OpKind.Register)
        {
            values.CopyTo(Target(i));
            return;
        }

        values.CopyTo(new Span<uint>(Memory(i, 4 * values.Length, write: true, aligned), values.Length));
    }

    /// <summary>The lanes of the first operand, a register. Those above it become zero.</summary>
    private Span<uint> Target(in Instruction i)
    {
        int lanes = i.Op0Register.GetSize() / 4;
        Span<uint> all = VectorRegister(i.Op0Register);
        all[lanes..].Clear();
        return all[..lanes];
    }

    /// <summary>The lanes of an operand where they are, those of a broadcast in <paramref name="buffer"/>.</summary>
    private ReadOnlySpan<uint> Operand(in Instruction i, int operand, Span<uint> buffer, bool aligned = false)
    {
        if (i.GetOpKind(operand) == OpKind.Register)
        {
            Register register = i.GetOpRegister(operand);
            return VectorRegister(register)[..(register.GetSize() / 4)];
        }

        if (i.IsBroadcast)
        {
            if (i.MemorySize == MemorySize.Broadcast512_UInt64)
            {
                MemoryMarshal.Cast<uint, ulong>(buffer).Fill(*(ulong*)Memory(i, sizeof(ulong), write: false, aligned));
                return buffer;
            }

            buffer.Fill(*(uint*)Memory(i, sizeof(uint), write: false, aligned));
            return buffer;
        }

        int bytes = i.MemorySize.GetSize();
        return new Span<uint>(Memory(i, bytes, write: false, aligned), bytes / 4);
    }

    /// <summary>A copy of an operand, for what moves lanes about.</summary>
    private uint[] Vector(in Instruction i, int operand)
    {
        ReadOnlySpan<uint> values = Operand(i, operand, stackalloc uint[Lanes]);
        return values.ToArray();
    }

    private ref ulong General(Register register) => ref _registers[register.GetFullRegister() - Register.RAX];

    private Span<uint> VectorRegister(Register register) => _vectors.AsSpan(Lanes * (register.GetFullRegister() - Register.ZMM0), Lanes);

    private ulong Address(in Instruction i)
    {
        ulong address = i.MemoryDisplacement64;
        address += i.MemoryBase == Register.None ? 0 : General(i.MemoryBase);
        return address + (i.MemoryIndex == Register.None ? 0 : General(i.MemoryIndex) * (ulong)i.MemoryIndexScale);
    }

    private void* Memory(in Instruction i, int bytes, bool write, bool aligned)
    {
        ulong address = Address(i);
        Assert.True(!aligned || address % (ulong)bytes == 0, $"{i}: {address:x} is not aligned.");
        return Memory(address, bytes, write);
    }

    private void* Memory(ulong address, int bytes, bool write)
    {
        foreach (Span span in _memory)
        {
            if (address >= span.Start && address + (ulong)bytes <= span.Start + (ulong)span.Length && (span.Writable || !write))
            {
                return (void*)address;
            }
        }

        throw new InvalidOperationException($"The kernel {(write ? "wrote" : "read")} {bytes} bytes at {address:x}, outside of what it was given.");
    }

    private static float Single(uint bits) => BitConverter.UInt32BitsToSingle(bits);

    private static uint Bits(float value) => BitConverter.SingleToUInt32Bits(value);

    private static NotSupportedException Unknown(in Instruction i) => new($"The interpreter does not know '{i}'.");

    /// <summary>Memory that a kernel may use.</summary>
    internal readonly record struct Span(ulong Start, long Length, bool Writable)
    {
        public Span(void* start, long length, bool writable = false)
            : this((ulong)start, length, writable)
        {
        }
    }
}
