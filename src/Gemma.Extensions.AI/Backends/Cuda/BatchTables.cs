namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>What kernels need to know of a batch: for each row its position, and where the block table of its sequence begins.</summary>
internal sealed class BatchTables(CudaContext context)
{
    private readonly HostLists _lists = new(context);
    private ForwardBatch? _batch;
    private int _rows;
    private ulong _address;

    /// <summary>Addresses of [rows] positions, of [rows] offsets of tables for the local or the global layers, and of the tables.</summary>
    public (ulong Positions, ulong Offsets, ulong Tables) Of(ForwardBatch batch, bool isLocal) => batch == _batch && batch.Rows == _rows
        ? (_address, _address + 4ul * (uint)(isLocal ? _rows : 2 * _rows), _address + 12ul * (uint)_rows)
        : throw new InvalidOperationException("The batch was not announced: call Begin before the operations of a pass.");

    /// <summary>The last position of the batch.</summary>
    public int LastPosition { get; private set; }

    public void Send(ForwardBatch batch)
    {
        _batch = null;
        _rows = batch.Rows;
        _lists.Clear();
        int size = 3 * _rows;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            size += slice.LocalBlocks.Length + slice.GlobalBlocks.Length;
        }

        Span<int> list = _lists.Reserve(size), tables = list[(3 * _rows)..];
        LastPosition = 0;
        int used = 0;
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

            LastPosition = Math.Max(LastPosition, slice.StartPosition + slice.RowCount - 1);
            used += slice.LocalBlocks.Length + slice.GlobalBlocks.Length;
        }

        _address = size == 0 ? 0 : _lists.Send(size);
        _batch = batch;
    }
}
