using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Loss curves as SVG. ScottPlot would draw them too, but renders by a native library, which this package does without.
/// </summary>
internal static class LossCurve
{
    private static readonly string[] s_colours = ["#1f77b4", "#d62728", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b"];

    /// <summary>One line a series over a common x axis.</summary>
    public static string Draw(string title, string x, string y, IReadOnlyList<(string Name, IReadOnlyList<(double X, double Y)> Points)> series)
    {
        const int Left = 60, Top = 40, Width = 640, Height = 320;
        (double X, double Y)[] all = [.. series.SelectMany(s => s.Points)];
        if (all.Length == 0)
        {
            throw new ArgumentException("There is no point to draw.", nameof(series));
        }

        double right = Math.Max(all.Max(p => p.X), 1e-9), low = all.Min(p => p.Y), high = Math.Max(all.Max(p => p.Y), low + 1e-9);
        StringBuilder svg = new();
        svg.AppendLine("""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 440" font-family="sans-serif" font-size="12">""");
        svg.AppendLine("""<rect width="760" height="440" fill="white"/>""");
        Text(Left, 24, title, "font-size=\"15\"");
        for (int tick = 0; tick <= 5; tick++)
        {
            double px = Left + Width * tick / 5.0, py = Top + Height * tick / 5.0;
            svg.AppendLine(CultureInfo.InvariantCulture, $"""<path d="M{Left} {py:F1}H{Left + Width}M{px:F1} {Top}V{Top + Height}" stroke="#ddd"/>""");
            Text(px, Top + Height + 18, (right * tick / 5).ToString("G4", CultureInfo.InvariantCulture), "text-anchor=\"middle\"");
            Text(Left - 6, py + 4, (high - (high - low) * tick / 5).ToString("G4", CultureInfo.InvariantCulture), "text-anchor=\"end\"");
        }

        Text(Left + Width / 2, Top + Height + 38, x, "text-anchor=\"middle\"");
        Text(Left, Top - 6, y, "");
        for (int s = 0; s < series.Count; s++)
        {
            string colour = s_colours[s % s_colours.Length];
            string points = string.Join(' ', series[s].Points.Select(p => string.Create(CultureInfo.InvariantCulture,
                $"{Left + Width * p.X / right:F1},{Top + Height * (high - p.Y) / (high - low):F1}")));
            svg.AppendLine(CultureInfo.InvariantCulture, $"""<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>""");
            Text(Left + Width - 180, Top + 18 + 16 * s, series[s].Name, $"fill=\"{colour}\"");
        }

        return svg.AppendLine("</svg>").ToString();

        void Text(double px, double py, string text, string attributes) => svg.AppendLine(CultureInfo.InvariantCulture,
            $"""<text x="{px:F1}" y="{py:F1}" {attributes}>{System.Security.SecurityElement.Escape(text)}</text>""");
    }
}
