using System.Numerics.Tensors;
using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>Parts that do not make up tiles (fewer than 32 rows, or floats whose columns are not whole vectors): row by row with the reference decoder.</summary>
internal static unsafe class RowFallback
{
    /// <summary>All rows, whatever their kind.</summary>
    public static void Run(in MatMulCall call, in PartPlan plan, int firstTile, int lastTile, int worker, int rows)
    {
        int columns = call.X.Columns, end = Math.Min(plan.Part.Rows, lastTile * TileFormat.Rows);
        float* weights = (float*)call.Scratch[worker].Reserve((long)columns * sizeof(float));
        for (int n = firstTile * TileFormat.Rows; n < end; n++)
        {
            plan.Part.Decode(n, weights, columns);
            for (int r = 0; r < rows; r++)
            {
                call.Output.RowData(r)[plan.Part.FirstRow + n] = TensorPrimitives.Dot(new ReadOnlySpan<float>(call.X.RowData(r), columns), new ReadOnlySpan<float>(weights, columns));
            }
        }
    }
}
