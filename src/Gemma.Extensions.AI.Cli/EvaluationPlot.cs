using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Files;
using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;

namespace Gemma.Extensions.AI.Cli;

/// <summary>Models side by side as SVG: a bar for each, with its standard error, in a group for each task and metric. OxyPlot draws it without a native library, which others render by.</summary>
internal static class EvaluationPlot
{
    private const int Width = 900, Margin = 110, HeightOfBar = 16, WidthOfLetter = 8;

    /// <exception cref="ArgumentException">The name's ending is not .svg.</exception>
    public static void Save(IReadOnlyList<EvaluationReport> reports, string path)
    {
        if (!Path.GetExtension(path).Equals(".svg", StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException($"'{path}' ends with '{Path.GetExtension(path)}', expected .svg.");
        }

        IReadOnlyDictionary<EvaluatedModelFacts, string> names = EvaluatedModelFacts.Names(reports);
        (string Model, string Figure, EvaluationMetricValue Value)[] values = [.. reports.SelectMany(report => report.Metrics.Select(value => (names[report.Model], $"{report.Task}: {value.Metric}", value)))];
        string[] models = [.. values.Select(value => value.Model).Distinct(StringComparer.Ordinal)], figures = [.. values.Select(value => value.Figure).Distinct(StringComparer.Ordinal)];
        CategoryAxis left = new() { Position = AxisPosition.Left, StartPosition = 1, EndPosition = 0, GapWidth = 0.5 };
        left.Labels.AddRange(figures);

        // Texts are measured in Arial. Where there is none, what draws the file takes a wider font.
        PlotModel plot = new() { Background = OxyColors.White, PlotMargins = new OxyThickness(20 + (WidthOfLetter * figures.Select(figure => figure.Length).DefaultIfEmpty().Max()), double.NaN, double.NaN, double.NaN) };
        plot.Axes.Add(left);
        plot.Axes.Add(new LinearAxis { Position = AxisPosition.Bottom, Minimum = Math.Min(0, values.Where(value => double.IsFinite(value.Value.Value)).Select(value => value.Value.Value).DefaultIfEmpty().Min()), MajorGridlineStyle = LineStyle.Dot });
        plot.Legends.Add(new Legend { LegendPlacement = LegendPlacement.Outside, LegendPosition = LegendPosition.TopCenter, LegendOrientation = LegendOrientation.Vertical, LegendLineSpacing = 4, LegendPadding = 4 * WidthOfLetter });
        foreach (string model in models)
        {
            ErrorBarSeries bars = new() { Title = model.PadRight(model.Length * 5 / 4, '\u00a0') }; // the legend cuts what is wider than measured
            bars.Items.AddRange(values.Where(value => value.Model == model && double.IsFinite(value.Value.Value))
                .Select(value => new ErrorBarItem(value.Value.Value, value.Value.StandardError, Array.IndexOf(figures, value.Figure))));
            plot.Series.Add(bars);
        }

        using MemoryStream svg = new();
        SvgExporter.Export(plot, svg, Width, Margin + ((HeightOfBar + 4) * models.Length) + (HeightOfBar * figures.Length * (models.Length + 1)), isDocument: true);
        WholeFile.Write(path, file => file.Write(svg.ToArray()));
    }
}
