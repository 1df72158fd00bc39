using Gemma.Extensions.AI.Evaluation;
using ScottPlot;

namespace Gemma.Extensions.AI.Cli;

/// <summary>Models side by side: a bar for each, with its standard error, in a group for each task and metric.</summary>
internal static class EvaluationPlot
{
    private const int Height = 480, WidthOfBar = 48, Margin = 200;

    /// <exception cref="ArgumentException">The name's ending is neither .svg nor .png.</exception>
    public static void Save(IReadOnlyList<EvaluationReport> reports, string path)
    {
        bool isVector = Path.GetExtension(path).Equals(".svg", StringComparison.OrdinalIgnoreCase);
        if (!isVector && !Path.GetExtension(path).Equals(".png", StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException($"'{path}' ends with '{Path.GetExtension(path)}', expected .svg or .png.");
        }

        IReadOnlyDictionary<EvaluatedModelFacts, string> names = EvaluatedModelFacts.Names(reports);
        (string Model, string Figure, EvaluationMetricValue Value)[] values = [.. reports.SelectMany(report => report.Metrics.Select(value => (names[report.Model], $"{report.Task}\n{value.Metric}", value)))];
        string[] models = [.. values.Select(value => value.Model).Distinct(StringComparer.Ordinal)], figures = [.. values.Select(value => value.Figure).Distinct(StringComparer.Ordinal)];
        Plot plot = new();
        double group = models.Length + 1;
        for (int m = 0; m < models.Length; m++)
        {
            Color color = plot.Add.Palette.GetColor(m);
            List<Bar> bars = [.. values.Where(value => value.Model == models[m]).Select(value => new Bar
            {
                Position = (Array.IndexOf(figures, value.Figure) * group) + m, Value = value.Value.Value, Error = value.Value.StandardError, FillColor = color,
            })];
            plot.Add.Bars(bars).LegendText = models[m];
        }

        plot.Axes.Bottom.SetTicks([.. figures.Select((_, i) => (i * group) + ((models.Length - 1) / 2.0))], figures);
        plot.Axes.Margins(bottom: 0);
        plot.ShowLegend(Alignment.UpperRight);
        int width = Margin + (int)(WidthOfBar * group * figures.Length);
        if (isVector)
        {
            plot.SaveSvg(path, width, Height);
        }
        else
        {
            plot.SavePng(path, width, Height);
        }
    }
}
