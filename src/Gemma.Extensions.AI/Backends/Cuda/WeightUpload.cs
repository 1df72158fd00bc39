using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// Brings weights from the mapped file to the device: a piece is packed into one of two buffers of host memory while the device copies the other.
/// </summary>
internal sealed unsafe class WeightUpload(CudaContext context, long pieceBytes) : IDisposable
{
    public const long DefaultPieceBytes = 16 << 20;

    private readonly nint[] _events = new nint[2];
    private readonly byte*[] _buffers = new byte*[2];
    private long _capacity;
    private int _next;

    /// <summary>Takes memory for the rows of tensors of one format and sends them. The tensors are not needed afterwards.</summary>
    public Planes Send(CudaFormat format, ReadOnlySpan<TensorView> tensors, int columns)
    {
        RowPlanes row = format.PlanesOf(columns);
        long rows = 0;
        foreach (TensorView tensor in tensors)
        {
            rows += tensor.Rows;
        }

        long high = Align(rows * row.Low), scales = high + Align(rows * row.High), outer = scales + Align(rows * row.Scales);
        ulong address = context.Allocate(Math.Max(256, outer + Align(rows * row.Outer)), $"the weights of '{tensors[0].Name}'");
        Planes planes = new() { Low = address, High = address + (ulong)high, Scales = address + (ulong)scales, Outer = address + (ulong)outer };
        long first = 0;
        foreach (TensorView tensor in tensors)
        {
            int most = (int)Math.Max(1, pieceBytes / row.Total);
            for (long start = 0; start < tensor.Rows; start += most)
            {
                int count = (int)Math.Min(most, tensor.Rows - start);
                SendPiece(format, row, tensor, columns, start, count, planes, first + start);
            }

            first += tensor.Rows;
        }

        return planes;
    }

    public void Dispose()
    {
        if (context.Failure is not null)
        {
            return; // everything goes with the context
        }

        context.Wait();
        for (int i = 0; i < 2; i++)
        {
            context.FreePinned(_buffers[i]);
            if (_events[i] != 0)
            {
                context.DestroyEvent(_events[i]);
            }
        }
    }

    private void SendPiece(CudaFormat format, RowPlanes row, TensorView tensor, int columns, long start, int count, Planes planes, long firstRow)
    {
        byte* buffer = Buffer(count * row.Total);
        byte* low = buffer, high = low + count * row.Low, scales = high + count * row.High, outer = scales + count * row.Scales;
        byte* source = tensor.Data + start * tensor.RowBytes;
        Parallel.For(0, count, i => WeightPacking.Pack(
            format, source + i * tensor.RowBytes, tensor.Format, columns, low + i * row.Low, high + i * row.High, scales + i * row.Scales, outer + i * row.Outer));
        Copy(planes.Low, low, row.Low);
        Copy(planes.High, high, row.High);
        Copy(planes.Scales, scales, row.Scales);
        Copy(planes.Outer, outer, row.Outer);
        context.Record(_events[_next]);
        _next ^= 1;

        void Copy(ulong plane, byte* from, long rowBytes)
        {
            if (rowBytes > 0)
            {
                context.Upload(plane + (ulong)(firstRow * rowBytes), from, count * rowBytes);
            }
        }
    }

    /// <summary>The next buffer, once the device has read what it held.</summary>
    private byte* Buffer(long bytes)
    {
        if (_capacity < bytes)
        {
            context.Wait();
            _capacity = 0;
            for (int i = 0; i < 2; i++)
            {
                context.FreePinned(_buffers[i]);
                _buffers[i] = null;
            }

            for (int i = 0; i < 2; i++)
            {
                _buffers[i] = (byte*)context.AllocatePinned(bytes);
                _events[i] = _events[i] == 0 ? context.CreateEvent() : _events[i];
            }

            _capacity = bytes;
        }
        else
        {
            context.WaitFor(_events[_next]);
        }

        return _buffers[_next];
    }

    private static long Align(long bytes) => (bytes + 255) & ~255L;
}
