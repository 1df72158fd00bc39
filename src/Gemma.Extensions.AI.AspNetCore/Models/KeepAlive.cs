using System.Globalization;

namespace Gemma.Extensions.AI.AspNetCore.Models;

/// <summary>The idle time before a model is unloaded, as written in Ollama's API and on command lines: 5m, 1h30m, 90 (seconds), -1 (never).</summary>
internal static class KeepAlive
{
    /// <summary>Longest time that a timer can wait.</summary>
    private static readonly TimeSpan s_longest = TimeSpan.FromDays(24);

    private static readonly (string Unit, double Seconds)[] s_units = [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600)];

    /// <summary>Reads a time. Negative ones are <see cref="Timeout.InfiniteTimeSpan"/>.</summary>
    public static bool TryParse(string text, out TimeSpan time)
    {
        time = default;
        ReadOnlySpan<char> rest = text.AsSpan().Trim();
        bool isNegative = rest.StartsWith("-");
        rest = isNegative || rest.StartsWith("+") ? rest[1..] : rest;
        double seconds = 0;
        bool any = false;
        while (rest.Length > 0)
        {
            int digits = rest.IndexOfAnyExcept("0123456789.");
            digits = digits < 0 ? rest.Length : digits;
            if (!double.TryParse(rest[..digits], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number))
            {
                return false;
            }

            rest = rest[digits..];
            if (rest.Length == 0 && !any)
            {
                seconds = number; // a number alone is seconds
                any = true;
                break;
            }

            if (!TryTakeUnit(ref rest, out double unit))
            {
                return false;
            }

            seconds += number * unit;
            any = true;
        }

        time = isNegative ? Timeout.InfiniteTimeSpan : FromSeconds(seconds);
        return any;
    }

    /// <summary>A number of seconds; negative ones are <see cref="Timeout.InfiniteTimeSpan"/>, and so is what no timer can wait for.</summary>
    public static TimeSpan FromSeconds(double seconds) =>
        seconds >= 0 && seconds <= s_longest.TotalSeconds ? TimeSpan.FromSeconds(seconds) : Timeout.InfiniteTimeSpan;

    private static bool TryTakeUnit(ref ReadOnlySpan<char> rest, out double seconds)
    {
        int letters = rest.IndexOfAny("0123456789.");
        ReadOnlySpan<char> unit = letters < 0 ? rest : rest[..letters];
        foreach ((string name, double value) in s_units)
        {
            if (unit.SequenceEqual(name))
            {
                rest = rest[unit.Length..];
                seconds = value;
                return true;
            }
        }

        seconds = 0;
        return false;
    }
}
