namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// A batch as kernels see it: for each row its position and the start of its sequence's block table; and the tiles of prompts, up to 64 rows of one sequence each.
/// </summary>
internal sealed class BatchTables(CudaContext context)
{
    /// <summary>Most rows of a tile.</summary>
    public const int TileRows = 64;

    private readonly HostLists _lists = new(context);
    private ForwardBatch? _batch;
    private int _rows;
    private ulong _address;

    /// <summary>The last position of the batch.</summary>
    public int LastPosition { get; private set; }

    /// <summary>That of its generated rows.</summary>
    public int LastGeneratedPosition { get; private set; }

    /// <summary>Address of the tiles: first row and number of rows of each.</summary>
    public ulong Tiles { get; private set; }

    public int TileCount { get; private set; }

    /// <summary>Addresses of [rows] positions, of [rows] offsets of tables for the local or the global layers, and of the tables.</summary>
    public (ulong Positions, ulong Offsets, ulong Tables) Of(ForwardBatch batch, bool isLocal) => batch == _batch && batch.Rows == _rows
        ? (_address, _address + 4ul * (uint)(isLocal ? _rows : 2 * _rows), _address + 12ul * (uint)_rows)
        : throw new InvalidOperationException("The batch was not announced: call Begin before the operations of a pass.");

    public void Send(ForwardBatch batch)
    {
        _batch = null;
        _rows = batch.Rows;
        _lists.Clear();
        TileCount = 0;
        int size = 3 * _rows;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            size += slice.LocalBlocks.Length + slice.GlobalBlocks.Length;
            TileCount += slice.IsPrompt ? (slice.RowCount + TileRows - 1) / TileRows : 0;
        }

        Span<int> all = _lists.Reserve(2 * TileCount + size), list = all[(2 * TileCount)..], tables = list[(3 * _rows)..];
        (LastPosition, LastGeneratedPosition) = (0, 0);
        int used = 0, tile = 0;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            slice.LocalBlocks.CopyTo(tables[used..]);
            slice.GlobalBlocks.CopyTo(tables[(used + slice.LocalBlocks.Length)..]);
            for (int i = 0; i < slice.RowCount; i++)
            {
                int row = slice.FirstRow + i;
                list[row] = slice.StartPosition + i;
                list[_rows + row] = used;
                list[2 * _rows + row] = used + slice.LocalBlocks.Length;
            }

            int last = slice.StartPosition + slice.RowCount - 1;
            LastPosition = Math.Max(LastPosition, last);
            LastGeneratedPosition = slice.IsPrompt ? LastGeneratedPosition : Math.Max(LastGeneratedPosition, last);
            for (int i = 0; i < slice.RowCount && slice.IsPrompt; i += TileRows)
            {
                all[tile++] = slice.FirstRow + i;
                all[tile++] = Math.Min(TileRows, slice.RowCount - i);
            }

            used += slice.LocalBlocks.Length + slice.GlobalBlocks.Length;
        }

        Tiles = size == 0 ? 0 : _lists.Send(2 * TileCount + size);
        _address = Tiles + (8ul * (uint)TileCount);
        _batch = batch;
    }
}
