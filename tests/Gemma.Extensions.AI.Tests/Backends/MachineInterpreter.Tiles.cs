using Iced.Intel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Instructions on tiles (AMX). What a processor answers with a fault fails here, and so does a kernel that returns without releasing its tiles.</summary>
internal sealed unsafe partial class MachineInterpreter
{
    private const int Tiles = 8, TileRows = 16, TileRowBytes = 64;

    private readonly byte[] _tiles = new byte[Tiles * TileRows * TileRowBytes];
    private readonly int[] _rows = new int[Tiles];
    private readonly int[] _rowBytes = new int[Tiles];
    private bool _configured;

    /// <summary>True if the instruction is one on tiles, which was carried out.</summary>
    private bool TileInstruction(in Instruction i)
    {
        switch (i.Mnemonic)
        {
            case Mnemonic.Ldtilecfg:
                Configure(new ReadOnlySpan<byte>(Memory(i, 64, write: false, aligned: false), 64));
                return true;
            case Mnemonic.Tilerelease:
                Release();
                return true;
            case Mnemonic.Tilezero:
                Clear(Tile(i.Op0Register));
                return true;
            case Mnemonic.Tileloadd:
                int loaded = Tile(i.Op0Register);
                Clear(loaded);
                for (int row = 0; row < _rows[loaded]; row++)
                {
                    new ReadOnlySpan<byte>(Memory(RowAddress(i, row), _rowBytes[loaded], write: false), _rowBytes[loaded]).CopyTo(Row(loaded, row));
                }

                return true;
            case Mnemonic.Tilestored:
                int stored = Tile(i.Op1Register);
                for (int row = 0; row < _rows[stored]; row++)
                {
                    Row(stored, row)[.._rowBytes[stored]].CopyTo(new Span<byte>(Memory(RowAddress(i, row), _rowBytes[stored], write: true), _rowBytes[stored]));
                }

                return true;
            case Mnemonic.Tdpbf16ps:
                Products(i, (sum, a, b) => Bits(BFloatTile.Add(Single(sum), a, b)));
                return true;
            case Mnemonic.Tdpbssd:
                Products(i, (sum, a, b) => ByteProducts(sum, a, b, x => (sbyte)x, y => (sbyte)y));
                return true;
            case Mnemonic.Tdpbsud:
                Products(i, (sum, a, b) => ByteProducts(sum, a, b, x => (sbyte)x, y => y));
                return true;
            case Mnemonic.Tdpbusd:
                Products(i, (sum, a, b) => ByteProducts(sum, a, b, x => x, y => (sbyte)y));
                return true;
            case Mnemonic.Tdpbuud:
                Products(i, (sum, a, b) => ByteProducts(sum, a, b, x => x, y => y));
                return true;
            default:
                return false;
        }
    }

    /// <summary>Palette, first row, 14 bytes that are zero, 16 widths of two bytes, 16 heights. Palette 1 has eight tiles of 16 rows of 64 bytes.</summary>
    private void Configure(ReadOnlySpan<byte> configuration)
    {
        Release();
        Assert.Equal(1, configuration[0]);
        Assert.Equal(0, configuration[1]); // where an interrupted load goes on
        Assert.True(configuration[2..16].IndexOfAnyExcept((byte)0) < 0 && configuration[32..48].IndexOfAnyExcept((byte)0) < 0 && configuration[56..64].IndexOfAnyExcept((byte)0) < 0, "A reserved byte of a tile configuration is set.");
        for (int tile = 0; tile < Tiles; tile++)
        {
            _rowBytes[tile] = BitConverter.ToUInt16(configuration[(16 + 2 * tile)..]);
            _rows[tile] = configuration[48 + tile];
            Assert.InRange(_rowBytes[tile], 0, TileRowBytes);
            Assert.InRange(_rows[tile], 0, TileRows);
            Assert.Equal(_rowBytes[tile] == 0, _rows[tile] == 0);
        }

        _configured = true;
    }

    private void Release()
    {
        _configured = false;
        Array.Clear(_tiles);
        Array.Clear(_rows);
        Array.Clear(_rowBytes);
    }

    private void Products(in Instruction i, TileElement element)
    {
        int c = Tile(i.Op0Register), a = Tile(i.Op1Register), b = Tile(i.Op2Register), pairs = _rowBytes[a] / 4;
        Assert.True(a != b && a != c && b != c, $"{i}: one tile twice.");
        Assert.True(_rowBytes[a] % 4 == 0 && _rowBytes[c] % 4 == 0 && _rows[a] == _rows[c] && _rowBytes[b] == _rowBytes[c] && _rows[b] == pairs, $"{i}: shapes that do not fit.");
        Span<uint> row = stackalloc uint[TileRows], column = stackalloc uint[TileRows];
        for (int m = 0; m < _rows[c]; m++)
        {
            for (int n = 0; n < _rowBytes[c] / 4; n++)
            {
                for (int k = 0; k < pairs; k++)
                {
                    row[k] = BitConverter.ToUInt32(Row(a, m)[(4 * k)..]);
                    column[k] = BitConverter.ToUInt32(Row(b, k)[(4 * n)..]);
                }

                uint sum = BitConverter.ToUInt32(Row(c, m)[(4 * n)..]);
                BitConverter.TryWriteBytes(Row(c, m)[(4 * n)..], element(sum, row[..pairs], column[..pairs]));
            }
        }
    }

    /// <summary>Four products for each dword, added without saturation.</summary>
    private static uint ByteProducts(uint sum, ReadOnlySpan<uint> a, ReadOnlySpan<uint> b, Func<byte, int> left, Func<byte, int> right)
    {
        for (int k = 0; k < a.Length; k++)
        {
            for (int n = 0; n < 32; n += 8)
            {
                sum += (uint)(left((byte)(a[k] >> n)) * right((byte)(b[k] >> n)));
            }
        }

        return sum;
    }

    private int Tile(Register register)
    {
        int tile = register - Register.TMM0;
        Assert.True(_configured && _rows[tile] > 0, $"tmm{tile} is used without a configuration.");
        return tile;
    }

    /// <summary>The index register holds the bytes from one row to the next.</summary>
    private ulong RowAddress(in Instruction i, int row) =>
        General(i.MemoryBase) + i.MemoryDisplacement64 + (i.MemoryIndex == Register.None ? 0 : (ulong)row * General(i.MemoryIndex) * (ulong)i.MemoryIndexScale);

    private void Clear(int tile) => _tiles.AsSpan(tile * TileRows * TileRowBytes, TileRows * TileRowBytes).Clear();

    private Span<byte> Row(int tile, int row) => _tiles.AsSpan((tile * TileRows + row) * TileRowBytes, TileRowBytes);

    private delegate uint TileElement(uint sum, ReadOnlySpan<uint> row, ReadOnlySpan<uint> column);
}
