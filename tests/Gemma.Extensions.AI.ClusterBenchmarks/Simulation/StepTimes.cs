using System.Text.Json;
using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// The time of a step of an engine, as measured by <see cref="StepBenchmark"/>: by its rows (products with the weights, which rows share), by the rows whose logits are wanted, and by how many earlier tokens
/// the rows attend to, on average over local and global layers.
/// </summary>
/// <param name="Model">Name of the model's file, and what it ran on.</param>
/// <param name="Window">Tokens that local layers attend to.</param>
/// <param name="Rows">Numbers of rows that were measured, ascending.</param>
/// <param name="Seconds">The time of a step of each, without logits and attention.</param>
/// <param name="LogitRow">Seconds for the logits of a row, and drawing a token of them.</param>
/// <param name="Attended">Seconds for a row that generates and a token that it attends to.</param>
/// <param name="AttendedTogether">The same where many rows of one sequence attend to about the same tokens: in prompts.</param>
internal sealed record StepTimes(string Model, int Window, int[] Rows, double[] Seconds, double LogitRow, double Attended, double AttendedTogether)
{
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true };

    /// <summary>Seconds that the engine takes for a request besides its steps.</summary>
    public double Request { get; init; }

    /// <summary>How many times as long a step takes while another core computes steps as well.</summary>
    public double Beside { get; init; } = 1;

    public static StepTimes Load(string path) => JsonSerializer.Deserialize<StepTimes>(File.ReadAllText(path))!;

    public void Save(string path) => File.WriteAllText(path, JsonSerializer.Serialize(this, s_json) + "\n");

    /// <summary>The mean of two measurements of the same rows.</summary>
    public static StepTimes Mean(StepTimes a, StepTimes b) => a with
    {
        Seconds = [.. a.Seconds.Zip(b.Seconds, (x, y) => (x + y) / 2)],
        LogitRow = (a.LogitRow + b.LogitRow) / 2,
        Attended = (a.Attended + b.Attended) / 2,
        AttendedTogether = (a.AttendedTogether + b.AttendedTogether) / 2,
        Request = (a.Request + b.Request) / 2,
        Beside = (a.Beside + b.Beside) / 2,
    };

    /// <summary>Seconds of a step on a core of its own.</summary>
    public double Of(ForwardBatch batch, int logitRows)
    {
        double attended = 0; // seconds
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            attended += AttendedBy(slice.StartPosition, slice.RowCount) * (slice.RowCount > 1 ? AttendedTogether : Attended);
        }

        return Of(batch.Rows, logitRows, attended);
    }

    public double Of(int rows, int logitRows, double attention) => OfRows(rows) + (LogitRow * logitRows) + attention;

    /// <summary>Tokens that consecutive rows of a sequence attend to, on average over local and global layers.</summary>
    public double AttendedBy(int start, int count)
    {
        double sum = 0;
        for (int position = start + 1; position <= start + count; position++)
        {
            sum += (position + Math.Min(position, Window)) / 2.0;
        }

        return sum;
    }

    private double OfRows(int rows)
    {
        int above = Array.FindIndex(Rows, measured => measured >= rows);
        if (above >= 0 && Rows[above] == rows)
        {
            return Seconds[above];
        }

        above = above switch { < 0 => Rows.Length - 1, 0 => 1, _ => above };
        double share = (rows - Rows[above - 1]) / (double)(Rows[above] - Rows[above - 1]);
        return Seconds[above - 1] + (share * (Seconds[above] - Seconds[above - 1]));
    }
}
