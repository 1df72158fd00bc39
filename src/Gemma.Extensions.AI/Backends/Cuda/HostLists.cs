namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// Lists of numbers on their way to the device: row numbers, tokens, block tables. They are put behind one another in host memory that the device copies from; before
/// a place is used again, everything that was asked for is waited for.
/// </summary>
internal sealed unsafe class HostLists(CudaContext context)
{
    private const int LeastCapacity = 1 << 14;

    private int* _host;
    private ulong _device;
    private int _capacity, _used;

    /// <summary>Forgets all lists, once the device has read them.</summary>
    public void Clear()
    {
        if (_used > 0)
        {
            context.Wait();
            _used = 0;
        }
    }

    /// <summary>Room for a list, to be filled and then sent.</summary>
    public Span<int> Reserve(int count)
    {
        if (_capacity - _used < count)
        {
            Clear();
            if (_capacity < count)
            {
                Grow(Math.Max(LeastCapacity, 2 * count));
            }
        }

        return new Span<int>(_host + _used, count);
    }

    /// <summary>Sends the list that was reserved last. Returns its address on the device.</summary>
    public ulong Send(int count)
    {
        ulong address = _device + 4ul * (uint)_used;
        context.Upload(address, _host + _used, 4L * count, ahead: true); // to a place that nothing uses
        _used += count;
        return address;
    }

    public ulong Send(ReadOnlySpan<int> list)
    {
        list.CopyTo(Reserve(list.Length));
        return Send(list.Length);
    }

    private void Grow(int capacity)
    {
        context.FreePinned(_host);
        context.Free(_device);
        _capacity = 0;
        _host = null;
        _device = 0;
        _host = (int*)context.AllocatePinned(4L * capacity);
        _device = context.Allocate(4L * capacity, "row numbers");
        _capacity = capacity;
    }
}
