namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Cosines and sines of the rotary angles on the device, [positions, headDim], for as many positions as were needed so far.</summary>
internal sealed unsafe class AngleTable(CudaContext context, float @base, float factor, int headDim)
{
    private const int LeastPositions = 256;

    private readonly RopeTable _table = new(@base, factor, headDim);
    private ulong _address;
    private int _positions;

    public float Base => _table.Base;

    public float Factor => _table.Factor;

    public int HeadDim => _table.HeadDim;

    /// <summary>Address of the table, which has at least this position.</summary>
    public ulong Ensure(int position)
    {
        if (position >= _positions)
        {
            int positions = Math.Max(LeastPositions, _positions);
            while (positions <= position)
            {
                positions *= 2;
            }

            long rowBytes = 4L * HeadDim;
            float* staging = (float*)context.AllocatePinned(positions * rowBytes);
            _table.Ensure(positions - 1);
            for (int i = 0; i < positions; i++)
            {
                new ReadOnlySpan<float>(_table.Row(i), HeadDim).CopyTo(new Span<float>(staging + (long)i * HeadDim, HeadDim));
            }

            ulong grown = context.Allocate(positions * rowBytes, "rotary angles");
            context.Upload(grown, staging, positions * rowBytes);
            context.FreePinned(staging);
            context.Free(_address);
            (_address, _positions) = (grown, positions);
        }

        return _address;
    }

    public void Dispose() => _table.Dispose();
}
