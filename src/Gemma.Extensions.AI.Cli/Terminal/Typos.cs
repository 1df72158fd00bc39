namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Finds what somebody who mistyped meant.</summary>
internal static class Typos
{
    /// <summary>"Did you mean 'chat'?" with a space before it; empty where nothing is near.</summary>
    public static string DidYouMean(string given, IEnumerable<string> known) => Nearest(given, known) is { } name ? $" Did you mean '{name}'?" : "";

    /// <summary>The nearest of some names; null where none is near enough: a third of the letters may be wrong, or it only begins so.</summary>
    public static string? Nearest(string given, IEnumerable<string> known)
    {
        (string Name, int Distance)[] near = [.. known.Select(name => (name, Distance(given.ToLowerInvariant(), name.ToLowerInvariant())))];
        (string Name, int Distance) best = near.Length == 0 ? default : near.MinBy(candidate => candidate.Distance);
        if (best.Name is not null && best.Distance <= Math.Max(1, Letters(best.Name) / 3))
        {
            return best.Name;
        }

        // Abbreviations count where they mean one thing.
        string[] beginning = Letters(given) < 2 ? [] : [.. near.Select(candidate => candidate.Name).Where(name => name.StartsWith(given, StringComparison.OrdinalIgnoreCase))];
        return beginning is [var only] ? only : null;
    }

    private static int Letters(string text) => text.Count(char.IsLetterOrDigit);

    /// <summary>Letters to insert, remove, replace or swap with their neighbour (Damerau's distance, each letter touched once).</summary>
    public static int Distance(string a, string b)
    {
        int[,] cost = new int[a.Length + 1, b.Length + 1];
        for (int i = 0; i <= a.Length; i++)
        {
            for (int j = 0; j <= b.Length; j++)
            {
                cost[i, j] = i == 0 ? j : j == 0 ? i
                    : Math.Min(Math.Min(cost[i - 1, j], cost[i, j - 1]) + 1, cost[i - 1, j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                {
                    cost[i, j] = Math.Min(cost[i, j], cost[i - 2, j - 2] + 1);
                }
            }
        }

        return cost[a.Length, b.Length];
    }
}
