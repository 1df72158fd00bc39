using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// The steps that the kernels of the IQ1, IQ2 and IQ3 formats share, for one activation row. Rows are transposed into lanes, four indices in each, and one
/// <c>vpermi2b</c> looks up 64 indices among 128 entries. What comes out are the levels of several numbers in a byte; a ternary operation puts their signs among them, and
/// <c>vpermb</c> turns six bits of that into the weight byte of one number. So a dword holds the same number of four entries, and activations are brought into that order first.
/// </summary>
internal sealed partial class GemvAssembler
{
    // Scratch: activations in the order of the numbers, the scale of the block, scales of its groups, and what a format keeps.
    private const int OrderedAt = 0, BlockScaleAt = 512, GroupScalesAt = 576, KeptAt = GroupScalesAt + 16 * Line;

    // zmm16-25: packed weights; from zmm31 down: lookup tables.
    private static readonly AssemblerRegister64 Tables = r15;
    private static readonly AssemblerRegisterZMM[] Levels = [zmm1, zmm2, zmm3, zmm4];
    private static readonly AssemblerRegisterZMM EvenBytes = zmm5, LowBits = zmm6, ThreeBits = zmm6, MiddleBits = zmm7, SignFields = zmm7;
    private static readonly AssemblerRegisterZMM Looked = zmm10, Moved = zmm11, Table = zmm12;

    private int _entries, _group, _held;

    /// <summary>A loop over blocks of 256 columns.</summary>
    /// <param name="entries">Entries of the codebook.</param>
    /// <param name="group">Columns that share a scale.</param>
    /// <param name="blockBytes">Bytes of a block.</param>
    /// <param name="held">Tables of each plane that stay in registers; the others are read each time.</param>
    /// <param name="header">Reads scales and whatever else parts share.</param>
    /// <param name="part">Multiplies 32 columns, the given one of eight.</param>
    private void Codebook(int entries, int group, int blockBytes, int held, Action header, Action<int> part)
    {
        (_entries, _group, _held) = (entries, group, held);
        for (int i = 0; i < Levels.Length; i++)
        {
            _c.vmovdqa32(Levels[i], Constant(GemvTables.LevelsAt + Line * i));
        }

        for (int plane = 0; plane < 2; plane++)
        {
            for (int table = 0; table < held; table++)
            {
                _c.vmovdqa32(Held(plane, table), Constant(PlaneAt(plane, table)));
            }
        }

        Loop(0, () =>
        {
            Order();
            header();
            int lines = (blockBytes * 16 + Line - 1) / Line;
            for (int i = 0; i < 8; i++)
            {
                part(i);
                Requests((i + 1) * lines / 8 - i * lines / 8);
            }

            Advance(blockBytes, 256, group);
        });
    }

    /// <summary>Puts the activations of a block into the order of the numbers.</summary>
    private void Order()
    {
        if (_group == 32)
        {
            _c.vmovdqa32(zmm10, Constant(GemvTables.OrderAt));
            for (int i = 0; i < 4; i++)
            {
                _c.vpermb(Z(11 + i), zmm10, __zmmword_ptr[Activations + Line * i]);
                _c.vmovdqa32(Kept(OrderedAt, i), Z(11 + i));
            }

            return;
        }

        _c.vpxord(zmm10, zmm10, zmm10);
        for (int i = 0; i < 8; i++)
        {
            AssemblerRegisterZMM ordered = Z(11 + i % 4);
            _c.vmovdqa32(ordered, Constant(GemvTables.OrderAt + Line * (i % 2)));
            _c.vpermi2b(ordered, zmm10, __zmmword_ptr[Activations + Line * (i / 2)]);
            _c.vmovdqa32(Kept(OrderedAt, i), ordered);
        }
    }

    /// <summary>The scale of each row's block, float16 at its beginning.</summary>
    private void BlockScale()
    {
        HalfScales(zmm9);
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
        AssemblerRegisterZMM[] results = [target, zmm13, zmm14, zmm15];
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
            _c.vpblendmb(target.k5, target, zmm13);
        }

        if (tables == 16)
        {
            _c.vpblendmb(zmm14.k5, zmm14, zmm15);
            _c.vpblendmb(target.k6, target, zmm14);
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
            _c.vpternlogd(looked, LowBits, signs, 0xE2);
            _c.vpternlogd(Moved, MiddleBits, signs, 0xE2);
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
            _c.vpternlogd(looked, ThreeBits, moved, 0xE2);
            Multiply(part, 2 * pair, looked, 0);
            _c.vpsrld(Moved, looked, 2);
            Multiply(part, 2 * pair + 1, Moved, 1);
        }
    }

    private void LoadThreeBitConstants()
    {
        LoadMask(EvenBytes, GemvTables.EvenBytesAt);
        LoadMask(ThreeBits, GemvTables.ThreeBitsAt);
        _c.vmovdqa32(SignFields, Constant(GemvTables.SignFieldsAt));
    }

    /// <summary>Multiplies 32 columns of entries of four numbers: the even entries, then the odd ones. A dword a row of signs is kept.</summary>
    /// <param name="part">Which of eight.</param>
    /// <param name="a">The register of the first four indices of each row.</param>
    /// <param name="b">That of the last four.</param>
    /// <param name="upperBits">Puts the upper bits of even (0) or odd (1) indices into k7.</param>
    private void TwoFours(int part, int a, int b, Action<int> upperBits)
    {
        AssemblerRegisterZMM even = zmm21, odd = zmm22, signs = zmm23;
        _c.vpmultishiftqb(signs, SignFields, Kept(KeptAt, part));
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
        _c.vpslld(even, b, 8);
        _c.vpternlogd(even, EvenBytes, a, 0xB8);
        _c.vpsrld(odd, a, 8);
        _c.vpternlogd(odd, EvenBytes, b, 0xE2);
    }

    /// <summary>Bytes of signs by one of the format's bit matrices.</summary>
    private void Signs(AssemblerRegisterZMM target, AssemblerRegisterZMM stored, int matrix) =>
        _c.vgf2p8affineqb(target, stored, __qword_bcst[Tables + (GemvTables.MatricesAt + 8 * matrix)], 0);

    private void BeginPart(int part)
    {
        for (int i = 0; i < 32 / _group; i++)
        {
            _c.vpbroadcastd(Accumulator(i), __dword_ptr[ZeroPointTerms + 4 * (part * 32 / _group + i)]);
        }
    }

    /// <summary>Looks up the weights of one number of each entry, and multiplies them.</summary>
    private void Multiply(int part, int number, AssemblerRegisterZMM looked, int levels)
    {
        AssemblerRegisterZMM weights = CodebookTemporary();
        _c.vpermb(weights, looked, Levels[levels]);
        int groups = 32 / _group;
        for (int i = 0; i < groups; i++)
        {
            _c.vpdpbusd(Accumulator(i), weights, __dword_bcst[Scratch + (OrderedAt + 4 * ((8 * part + number) * groups + i))]);
        }
    }

    private void EndPart(int part)
    {
        for (int i = 0; i < 32 / _group; i++)
        {
            AssemblerRegisterZMM scale = CodebookTemporary();
            _c.vmovaps(scale, Kept(GroupScalesAt, part * 32 / _group + i));
            _c.vmulps(scale, scale, __dword_bcst[ActivationScales + 4 * part]);
            _c.vcvtdq2ps(Accumulator(i), Accumulator(i));
            _c.vfmadd231ps(Sum(0), Accumulator(i), scale);
        }
    }

    private void LoadMask(AssemblerRegisterZMM target, int at) => _c.vpbroadcastd(target, __dword_ptr[Tables + at]);

    /// <summary>Rotates through four registers.</summary>
    private AssemblerRegisterZMM CodebookTemporary() => Z(12 + _turn++ % 4);

    private AssemblerRegisterZMM Held(int plane, int table) => Z(31 - plane * _held - table);

    private int PlaneAt(int plane, int table) => GemvTables.PlanesAt + plane * _entries + 128 * table;

    private static AssemblerMemoryOperand Constant(int at) => __zmmword_ptr[Tables + at];
}
