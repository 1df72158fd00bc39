using System.Diagnostics;

namespace Gemma.Extensions.AI.Cli;

/// <summary>A line on the error stream that shows how far a long command is; nothing where no person watches.</summary>
internal sealed class ProgressLine(CliInvocation host, string unit = "") : IDisposable
{
    private const int BarWidth = 24;
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(150);
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly Lock _lock = new();
    private TimeSpan _last = -s_interval;
    private double? _start;
    private int _width;

    /// <summary>Shows a state; calls in quick succession are skipped.</summary>
    public void Show(string what, double done, double total)
    {
        if (!host.IsInteractive)
        {
            return;
        }

        lock (_lock)
        {
            TimeSpan now = _watch.Elapsed;
            if (now - _last < s_interval && done < total)
            {
                return;
            }

            _last = now;

            // Speed counts from the first report: what was there before (a resumed download) took no time.
            _start ??= done;
            double speed = (done - _start.Value) / Math.Max(now.TotalSeconds, 1e-3), fraction = total > 0 ? Math.Clamp(done / total, 0, 1) : 0;
            int filled = (int)(fraction * BarWidth);
            string left = speed > 0 && done < total ? $", {TimeSpan.FromSeconds(Math.Min((total - done) / speed, 359_999)):h\\:mm\\:ss} left" : "";
            string rate = unit.Length == 0 ? "" : $"  {Scaled(done)}{unit} of {Scaled(total)}{unit}, {Scaled(speed)}{unit}/s";
            string line = Fit($"[{new string('#', filled)}{new string('.', BarWidth - filled)}] {Math.Floor(100 * fraction),3:F0}%{rate}{left}  {what}");
            host.Error.Write("\r" + line.PadRight(_width));
            host.Error.Flush();
            _width = line.Length;
        }
    }

    /// <summary>Leaves the line as it is and goes on below it.</summary>
    public void Keep()
    {
        if (_width > 0)
        {
            host.Error.WriteLine();
            host.Error.Flush();
            _width = 0;
        }
    }

    public void Dispose()
    {
        if (_width > 0)
        {
            host.Error.Write("\r" + new string(' ', _width) + "\r");
            host.Error.Flush();
        }
    }

    /// <summary>A number with the prefix of its size: 1.65 G, 27.3 M, 12 k.</summary>
    public static string Scaled(double value) => value switch
    {
        >= 1e9 => $"{value / 1e9:F2} G",
        >= 1e6 => $"{value / 1e6:F1} M",
        _ => $"{value / 1e3:F0} k",
    };

    /// <summary>A line that wraps cannot be written over.</summary>
    private static string Fit(string line)
    {
        int columns = 0;
        try
        {
            columns = Console.WindowWidth;
        }
        catch (IOException)
        {
            // Not a console after all.
        }

        return columns > 8 && line.Length >= columns ? line[..(columns - 2)] + "…" : line;
    }
}
