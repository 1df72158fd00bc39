using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Shares of right answers, beside what they should reach.</summary>
internal static class Figures
{
    /// <summary>Least share of a figure that it reaches in phrasings that were held out.</summary>
    public const double PhrasingTarget = 0.8;

    /// <summary>Targets of the figures.</summary>
    public static IReadOnlyDictionary<string, double> Targets { get; } = new Dictionary<string, double>
    {
        ["passage questions exact"] = 0.90,
        ["absent answers refused"] = 0.85,
        ["tool chosen"] = 0.95,
        ["arguments exact"] = 0.90,
        ["answer contains the result"] = 0.95,
        ["JSON fields exact"] = 0.85,
        ["small talk ends by itself"] = 0.99,
        ["tool chosen, every name in its own style"] = 0.92,
        ["follow-up calls with the changed argument"] = 0.90,
        ["two calls, answered from both"] = 0.85,
        ["numbered passages: answer and citation exact"] = 0.85,
        ["documents: answer and source right"] = 0.75,
        ["documents: absent answers refused"] = 0.90,
        ["typed extraction exact"] = 0.85,
        ["typed extraction ends by itself"] = 1,
        ["tools of MCP servers: call exact"] = 0.85,
        ["system instruction followed"] = 0.95,
        ["handoff, and agent as a tool"] = 0.85,
    };

    /// <summary>A row for each figure; what went wrong is written to <paramref name="failures"/>.</summary>
    public static string Table(IReadOnlyList<Outcome> outcomes, TextWriter? failures = null)
    {
        foreach (Outcome outcome in outcomes.Where(o => !o.Right))
        {
            failures?.WriteLine($"--- {outcome.Figure}{(outcome.Phrasing == Split.HeldOut ? " (phrasing held out)" : "")}\n{outcome.Asked}\n>>> {outcome.Answer}");
        }

        StringBuilder text = new("| figure | right | of | share | target | phrasings held out | of the figure |\n|---|---|---|---|---|---|---|\n");
        foreach (IGrouping<string, Outcome> figure in outcomes.GroupBy(o => o.Figure))
        {
            Outcome[] seen = [.. figure.Where(o => o.Phrasing == Split.Train)], heldOut = [.. figure.Where(o => o.Phrasing == Split.HeldOut)];
            string target = Targets.TryGetValue(figure.Key, out double floor) ? floor.ToString("P0", CultureInfo.InvariantCulture) : "";
            double share = Share(seen), other = Share(heldOut);
            text.AppendLine(CultureInfo.InvariantCulture, $"| {figure.Key} | {seen.Count(o => o.Right)} | {seen.Length} | {share:P1} | {target} | {other:P1} | {(share > 0 ? other / share : 0):P0} |");
        }

        return text.ToString();

        static double Share(Outcome[] outcomes) => outcomes.Length == 0 ? 0 : (double)outcomes.Count(o => o.Right) / outcomes.Length;
    }
}
