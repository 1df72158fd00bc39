using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// The steps that the kernels of the IQ1, IQ2 and IQ3 formats share. Rows are transposed into lanes, four indices in each, and one
/// <c>vpermi2b</c> looks up 64 indices among 128 entries. What comes out are the levels of several numbers in a byte; a ternary operation puts their signs among them, and
/// <c>vpermb</c> turns six bits of that into the weight byte of one number. So a dword holds the same number of four entries, and activations are brought into that order first.
/// </summary>
internal sealed partial class GemvAssembler
{
    private static readonly AssemblerRegister64 Tables = r15;

    private int _entries, _group, _held;

    // Scratch: activations in the order of the numbers, the scale of the block, scales of its groups, and what a format keeps.
    private int BlockScaleAt => 8 * 32 * 32 / _group * _rows;

    private int GroupScalesAt => BlockScaleAt + Line;

    private int KeptAt => GroupScalesAt + 16 * Line;

    // zmm16-25: packed weights. One row leaves room for levels in zmm1-4 and lookup tables from zmm31 down; those of several rows are read from memory.
    private AssemblerRegisterZMM Looked => _rows == 1 ? zmm10 : zmm26;

    private AssemblerRegisterZMM Moved => _rows == 1 ? zmm11 : zmm27;

    private AssemblerRegisterZMM Table => LookUpRegister(0);

    /// <summary>A loop over blocks of 256 columns.</summary>
    /// <param name="entries">Entries of the codebook.</param>
    /// <param name="group">Columns that share a scale.</param>
    /// <param name="blockBytes">Bytes of a block.</param>
    /// <param name="held">Tables of each plane that stay in registers with one activation row; the others are read each time.</param>
    /// <param name="header">Reads scales and whatever else parts share.</param>
    /// <param name="part">Multiplies 32 columns, the given one of eight.</param>
    private void Codebook(int entries, int group, int blockBytes, int held, Action header, Action<int> part)
    {
        (_entries, _group, _held) = (entries, group, _rows == 1 ? held : 0);
        for (int i = 0; i < 4 && _rows == 1; i++)
        {
            _c.vmovdqa32(Z(1 + i), Constant(GemvTables.LevelsAt + Line * i));
        }

        for (int plane = 0; plane < 2; plane++)
        {
            for (int table = 0; table < _held; table++)
            {
                _c.vmovdqa32(Held(plane, table), Constant(PlaneAt(plane, table)));
            }
        }

        Loop(0, () =>
        {
            Order();
            header();
            int lines = (blockBytes * 16 + _streams * Line - 1) / (_streams * Line) * _streams;
            for (int i = 0; i < 8; i++)
            {
                part(i);
                Requests((i + 1) * lines / 8 - i * lines / 8);
            }

            Advance(blockBytes, 256, group);
        });
    }

    /// <summary>Puts the activations of a block into the order of the numbers: [row][column/32][8 or 16 dwords].</summary>
    private void Order()
    {
        AssemblerRegisterZMM order = zmm10, columns = zmm11, ordered = zmm12, zero = zmm13;
        int groups = 32 / _group;
        _c.vpxord(zero, zero, zero);
        for (int i = 0; i < 4 * _rows; i++)
        {
            int row = i / 4, quarter = i % 4;
            Read64(columns, zmm14, row, quarter);
            for (int half = 0; half < groups; half++)
            {
                // From activations and zeros.
                _c.vmovdqa32(ordered, Constant(GemvTables.OrderAt + Line * half));
                _c.vpermi2b(ordered, zero, columns);
                _c.vmovdqa32(Kept(0, (row * 4 + quarter) * groups + half), ordered);
            }
        }
    }

    /// <summary>64 activations of a row.</summary>
    private void Read64(AssemblerRegisterZMM target, AssemblerRegisterZMM free, int row, int quarter)
    {
        if (_rows == 1)
        {
            _c.vmovdqu32(target, __zmmword_ptr[Activations + Line * quarter]);
            return;
        }

        foreach (AssemblerRegisterZMM half in (AssemblerRegisterZMM[])[target, free])
        {
            int first = 16 * ((4 * quarter + (half == free ? 2 : 0)) * _rows + row);
            AssemblerRegisterYMM y = new(Register.YMM0 + Number(half));
            _c.vmovdqu32(new AssemblerRegisterXMM(Register.XMM0 + Number(half)), __xmmword_ptr[Activations + first]);
            _c.vinserti32x4(y, y, __xmmword_ptr[Activations + (first + 16 * _rows)], 1);
        }

        _c.vinserti64x4(target, target, new AssemblerRegisterYMM(Register.YMM0 + Number(free)), 1);
    }

    /// <summary>The scale of each row's block, float16 at its beginning.</summary>
    private void BlockScale()
    {
        HalfScales(zmm9, xmm8, xmm9);
        _c.vmovaps(Kept(BlockScaleAt, 0), zmm9);
    }

    /// <summary>The scale of a group: three or four bits of a register, times the block's.</summary>
    private void GroupScale(int group, int register, int shift)
    {
        AssemblerRegisterZMM value = Z(10 + group % 4);
        if (shift > 0)
        {
            _c.vpsrld(value, Z(register), (byte)shift);
        }

        _c.vpermps(value, shift > 0 ? value : Z(register), Constant(GemvTables.ScalesAt));
        _c.vmulps(value, value, Kept(BlockScaleAt, 0));
        _c.vmovaps(Kept(GroupScalesAt, group), value);
    }

    /// <summary>A mask: an upper bit of the index of each entry, by a table of places.</summary>
    private void UpperBit(AssemblerRegisterK mask, AssemblerRegisterZMM bits, int table) => _c.vpshufbitqmb(mask, bits, Constant(GemvTables.PlacesAt + Line * table));

    /// <summary>Masks k1 to k4: the indices that each of two or four tables of 128 entries has, by their bit 7 and by bit 8, which is in k7. Changes k6.</summary>
    private void Select(AssemblerRegisterZMM index)
    {
        if (_entries == 256)
        {
            _c.vpmovb2m(k2, index);
            _c.knotq(k1, k2);
            return;
        }

        _c.vpmovb2m(k6, index);
        _c.kandnq(k2, k7, k6);
        _c.kandnq(k3, k6, k7);
        _c.kandq(k4, k6, k7);
        _c.korq(k1, k6, k7);
        _c.knotq(k1, k1);
    }

    /// <summary>
    /// Looks up 64 indices in a plane. <c>vpermi2b</c> replaces an index by what it finds where its mask is set, so two or four of them need nothing to put their results
    /// together. Of more, bits 9 and 10 of the index choose, in k5 and k6.
    /// </summary>
    private void LookUp(AssemblerRegisterZMM target, AssemblerRegisterZMM index, int plane)
    {
        int tables = _entries / 128, chain = Math.Min(4, tables);
        AssemblerRegisterZMM[] results = [target, LookUpRegister(1), LookUpRegister(2), LookUpRegister(3)];
        for (int i = tables / chain - 1; i >= 0; i--)
        {
            if (results[i] != index)
            {
                _c.vmovdqa32(results[i], index);
            }
        }

        for (int table = 0; table < tables; table++)
        {
            AssemblerRegisterZMM lower = Table;
            if (table < _held)
            {
                lower = Held(plane, table);
            }
            else
            {
                _c.vmovdqa32(Table, Constant(PlaneAt(plane, table)));
            }

            AssemblerRegisterZMM result = results[table / chain];
            _c.vpermi2b((table % chain) switch { 0 => result.k1, 1 => result.k2, 2 => result.k3, _ => result.k4 }, lower, Constant(PlaneAt(plane, table) + Line));
        }

        if (tables >= 8)
        {
            _c.vpblendmb(target.k5, target, results[1]);
        }

        if (tables == 16)
        {
            _c.vpblendmb(results[2].k5, results[2], results[3]);
            _c.vpblendmb(target.k6, target, results[2]);
        }
    }

    /// <summary>Multiplies 32 columns of entries of eight numbers. Changes the index.</summary>
    /// <param name="part">Which of eight.</param>
    /// <param name="index">Lower eight bits of the indices of four entries a row, after <see cref="Select"/>.</param>
    /// <param name="signs">A byte of signs for each.</param>
    /// <param name="laterSigns">The same two bits lower.</param>
    private void Eights(int part, AssemblerRegisterZMM index, AssemblerRegisterZMM signs, AssemblerRegisterZMM laterSigns)
    {
        LookUp(Looked, index, 0);
        LookUp(index, index, 1);
        BeginPart(part);
        Four(Looked, signs, 0);
        Four(index, laterSigns, 2);
        EndPart(part);

        void Four(AssemblerRegisterZMM looked, AssemblerRegisterZMM signs, int first)
        {
            _c.vpsrld(Moved, looked, 2);
            Choose(looked, signs, GemvTables.LowAt);
            Choose(Moved, signs, GemvTables.MiddleAt);
            Multiply(part, first + 4, looked, 0);
            Multiply(part, first + 5, looked, 1);
            Multiply(part, first, Moved, 2);
            Multiply(part, first + 1, Moved, 3);
        }
    }

    /// <summary>Multiplies half of the numbers of 32 columns of entries of four: the first four of eight columns each, or the last. Changes the index.</summary>
    /// <param name="part">Which of eight.</param>
    /// <param name="odd">Whether these are the odd entries.</param>
    /// <param name="index">Lower eight bits of the indices of four entries a row, after <see cref="Select"/>.</param>
    /// <param name="signs">A byte of signs for eight columns each.</param>
    private void Fours(int part, bool odd, AssemblerRegisterZMM index, AssemblerRegisterZMM signs)
    {
        LookUp(Looked, index, 0);
        LookUp(index, index, 1);
        Two(Looked, 0);
        Two(index, 1);

        void Two(AssemblerRegisterZMM looked, int plane)
        {
            int pair = plane + (odd ? 2 : 0);
            AssemblerRegisterZMM moved = CodebookTemporary();
            Signs(moved, signs, pair);
            Choose(looked, moved, GemvTables.ThreeBitsAt);
            Multiply(part, 2 * pair, looked, 0);
            _c.vpsrld(Moved, looked, 2);
            Multiply(part, 2 * pair + 1, Moved, 1);
        }
    }

    /// <summary>Multiplies 32 columns of entries of four numbers: the even entries, then the odd ones. A dword a row of signs is kept.</summary>
    /// <param name="part">Which of eight.</param>
    /// <param name="a">The register of the first four indices of each row.</param>
    /// <param name="b">That of the last four.</param>
    /// <param name="upperBits">Puts the upper bits of even (0) or odd (1) indices into k7.</param>
    private void TwoFours(int part, int a, int b, Action<int> upperBits)
    {
        AssemblerRegisterZMM even = zmm21, odd = zmm22, signs = zmm23;
        _c.vmovdqa32(signs, Constant(GemvTables.SignFieldsAt));
        _c.vpmultishiftqb(signs, signs, Kept(KeptAt, part));
        EvenAndOddBytes(even, odd, Z(a), Z(b));
        BeginPart(part);
        upperBits(0);
        Select(even);
        Fours(part, odd: false, even, signs);
        upperBits(1);
        Select(odd);
        Fours(part, odd: true, odd, signs);
        EndPart(part);
    }

    /// <summary>From two dwords a row: bytes 0, 4, 2 and 6, and bytes 1, 5, 3 and 7.</summary>
    private void EvenAndOddBytes(AssemblerRegisterZMM even, AssemblerRegisterZMM odd, AssemblerRegisterZMM a, AssemblerRegisterZMM b)
    {
        _c.vpsrld(odd, a, 8);
        Choose(odd, b, GemvTables.EvenBytesAt);
        _c.vpslld(even, b, 8);
        Choose(even, a, GemvTables.OddBytesAt);
    }

    /// <summary>Leaves the bits of a mask, and takes the others from another register.</summary>
    private void Choose(AssemblerRegisterZMM target, AssemblerRegisterZMM other, int mask) => _c.vpternlogd(target, other, __dword_bcst[Tables + mask], 0xE4);

    /// <summary>Bytes of signs by one of the format's bit matrices.</summary>
    private void Signs(AssemblerRegisterZMM target, AssemblerRegisterZMM stored, int matrix) =>
        _c.vgf2p8affineqb(target, stored, __qword_bcst[Tables + (GemvTables.MatricesAt + 8 * matrix)], 0);

    private void BeginPart(int part)
    {
        int groups = 32 / _group;
        for (int i = 0; i < groups * _rows; i++)
        {
            _c.vpbroadcastd(Accumulator(i), __dword_ptr[ZeroPointTerms + 4 * (part * groups * _rows + i)]);
        }
    }

    /// <summary>Looks up the weights of one number of each entry, and multiplies them. Accumulators are in the order of the terms: [group][row].</summary>
    private void Multiply(int part, int number, AssemblerRegisterZMM looked, int levels)
    {
        AssemblerRegisterZMM weights = CodebookTemporary();
        if (_rows == 1)
        {
            _c.vpermb(weights, looked, Z(1 + levels));
        }
        else
        {
            _c.vpermb(weights, looked, Constant(GemvTables.LevelsAt + Line * levels));
        }

        int groups = 32 / _group;
        for (int i = 0; i < groups * _rows; i++)
        {
            _c.vpdpbusd(Accumulator(i), weights, __dword_bcst[Scratch + 4 * (((i % _rows * 8 + part) * 8 + number) * groups + i / _rows)]);
        }
    }

    private void EndPart(int part)
    {
        int groups = 32 / _group;
        for (int i = 0; i < groups * _rows; i++)
        {
            AssemblerRegisterZMM scale = CodebookTemporary();
            _c.vmovaps(scale, Kept(GroupScalesAt, part * groups + i / _rows));
            _c.vmulps(scale, scale, __dword_bcst[ActivationScales + 4 * (part * _rows + i % _rows)]);
            _c.vcvtdq2ps(Accumulator(i), Accumulator(i));
            _c.vfmadd231ps(Sum(i % _rows), Accumulator(i), scale);
        }
    }

    /// <summary>Rotates through four registers.</summary>
    private AssemblerRegisterZMM CodebookTemporary() => LookUpRegister(_turn++ % 4);

    private AssemblerRegisterZMM LookUpRegister(int index) => Z((_rows == 1 ? 12 : 28) + index);

    private static int Number(AssemblerRegisterZMM register) => (Register)register - Register.ZMM0;

    private AssemblerRegisterZMM Held(int plane, int table) => Z(31 - plane * _held - table);

    private int PlaneAt(int plane, int table) => GemvTables.PlanesAt + plane * _entries + 128 * table;

    private static AssemblerMemoryOperand Constant(int at) => __zmmword_ptr[Tables + at];
}
