namespace Gemma.Extensions.AI.Evaluation;

/// <summary>The games between two players, summed up.</summary>
/// <param name="First">One player.</param>
/// <param name="Second">The other one.</param>
/// <param name="FirstWins">Games that the first won; a draw counts half for each.</param>
/// <param name="SecondWins">Games that the second won.</param>
public readonly record struct PairResult(string First, string Second, double FirstWins, double SecondWins);

/// <summary>A player's strength.</summary>
/// <param name="Player">The player.</param>
/// <param name="Rating">Elo-like rating: 400 points more mean ten to one; the mean of all is 1000.</param>
/// <param name="Low">Lower end of the 95 % confidence interval, of the rating beside the mean.</param>
/// <param name="High">Its upper end.</param>
/// <param name="Games">Games that it played.</param>
public sealed record PlayerRating(string Player, double Rating, double Low, double High, double Games);

/// <summary>
/// Ratings from games of two, by the model of Bradley and Terry: the chance that i beats j is s_i / (s_i + s_j). The strengths are those that make the results likeliest; intervals are Wald's,
/// from the inverse of the observed information.
/// </summary>
public static class BradleyTerry
{
    private const int MaxSteps = 200;
    private const double Tolerance = 1e-12, Mean = 1000, Normal95 = 1.959963984540054;

    private static readonly double s_scale = 400 / Math.Log(10);

    /// <summary>Ratings, the best first.</summary>
    /// <exception cref="ArgumentException">There is no result, one is negative, or a player meets itself.</exception>
    /// <exception cref="InvalidOperationException">The results set no finite ratings: some players never lost to any of the others, or never met them.</exception>
    public static IReadOnlyList<PlayerRating> Rate(IEnumerable<PairResult> results)
    {
        ArgumentNullException.ThrowIfNull(results);
        PairResult[] all = [.. results];
        string[] players = [.. all.SelectMany(result => (string[])[result.First, result.Second]).Distinct(StringComparer.Ordinal)];
        double[,] wins = Wins(all, players);
        CheckFinite(wins, players);
        (double[] strengths, double[,] covariance) = Fit(wins);
        return [.. players.Select((player, i) =>
        {
            double rating = Mean + (s_scale * strengths[i]), half = Normal95 * s_scale * Math.Sqrt(covariance[i, i]);
            return new PlayerRating(player, rating, rating - half, rating + half, Enumerable.Range(0, players.Length).Sum(j => wins[i, j] + wins[j, i]));
        }).OrderByDescending(rating => rating.Rating)];
    }

    /// <summary>Logarithms of the strengths, which sum to 0, and their covariances: Newton's method on the log-likelihood, which is concave.</summary>
    internal static (double[] Strengths, double[,] Covariance) Fit(double[,] wins)
    {
        int n = wins.GetLength(0);
        double[] strengths = new double[n];
        for (int step = 0; step < MaxSteps; step++)
        {
            (double[] gradient, double[,] information) = Derivatives(wins, strengths);
            double[,] inverse = InverseOnMeanZero(information);
            double largest = 0;
            for (int i = 0; i < n; i++)
            {
                double change = 0;
                for (int j = 0; j < n; j++)
                {
                    change += inverse[i, j] * gradient[j];
                }

                // A step of at most 2 keeps far starts from overshooting.
                change = Math.Clamp(change, -2, 2);
                strengths[i] += change;
                largest = Math.Max(largest, Math.Abs(change));
            }

            double mean = strengths.Average();
            for (int i = 0; i < n; i++)
            {
                strengths[i] -= mean;
            }

            if (largest < Tolerance)
            {
                break;
            }
        }

        return (strengths, InverseOnMeanZero(Derivatives(wins, strengths).Information));
    }

    private static (double[] Gradient, double[,] Information) Derivatives(double[,] wins, double[] strengths)
    {
        int n = strengths.Length;
        double[] gradient = new double[n];
        double[,] information = new double[n, n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double games = wins[i, j] + wins[j, i];
                if (i != j && games > 0)
                {
                    double chance = 1 / (1 + Math.Exp(strengths[j] - strengths[i])), weight = games * chance * (1 - chance);
                    gradient[i] += wins[i, j] - (games * chance);
                    information[i, i] += weight;
                    information[i, j] -= weight;
                }
            }
        }

        return (gradient, information);
    }

    /// <summary>The pseudo-inverse of a matrix whose rows sum to 0: (A + 11ᵀ/n)⁻¹ - 11ᵀ/n.</summary>
    private static double[,] InverseOnMeanZero(double[,] matrix)
    {
        int n = matrix.GetLength(0);
        double[,] work = new double[n, 2 * n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                work[i, j] = matrix[i, j] + (1.0 / n);
            }

            work[i, n + i] = 1;
        }

        for (int column = 0; column < n; column++)
        {
            int pivot = Enumerable.Range(column, n - column).MaxBy(row => Math.Abs(work[row, column]));
            for (int j = 0; j < 2 * n; j++)
            {
                (work[column, j], work[pivot, j]) = (work[pivot, j], work[column, j]);
            }

            double scale = work[column, column];
            for (int j = 0; j < 2 * n; j++)
            {
                work[column, j] /= scale;
            }

            for (int row = 0; row < n; row++)
            {
                double factor = row == column ? 0 : work[row, column];
                for (int j = 0; factor != 0 && j < 2 * n; j++)
                {
                    work[row, j] -= factor * work[column, j];
                }
            }
        }

        double[,] inverse = new double[n, n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                inverse[i, j] = work[i, n + j] - (1.0 / n);
            }
        }

        return inverse;
    }

    private static double[,] Wins(PairResult[] results, string[] players)
    {
        if (results.Length == 0)
        {
            throw new ArgumentException("There is no result to rate.", nameof(results));
        }

        double[,] wins = new double[players.Length, players.Length];
        foreach (PairResult result in results)
        {
            int first = Array.IndexOf(players, result.First), second = Array.IndexOf(players, result.Second);
            if (first == second || !(result.FirstWins >= 0) || !(result.SecondWins >= 0))
            {
                throw new ArgumentException($"A result is none: '{result.First}' against '{result.Second}', {result.FirstWins} to {result.SecondWins}.", nameof(results));
            }

            wins[first, second] += result.FirstWins;
            wins[second, first] += result.SecondWins;
        }

        return wins;
    }

    /// <summary>Strengths are finite where, however players are parted in two groups, each group won against the other (Ford's condition): from any player a chain of wins leads to any other.</summary>
    private static void CheckFinite(double[,] wins, string[] players)
    {
        foreach (bool forward in (bool[])[true, false])
        {
            bool[] reached = new bool[players.Length];
            Stack<int> open = new([0]);
            reached[0] = true;
            while (open.TryPop(out int i))
            {
                for (int j = 0; j < players.Length; j++)
                {
                    if (!reached[j] && (forward ? wins[i, j] : wins[j, i]) > 0)
                    {
                        reached[j] = true;
                        open.Push(j);
                    }
                }
            }

            if (reached.Contains(false))
            {
                string inside = string.Join(", ", players.Where((_, i) => reached[i])), outside = string.Join(", ", players.Where((_, i) => !reached[i]));
                throw new InvalidOperationException($"These results set no finite ratings: {(forward ? inside : outside)} never won against {(forward ? outside : inside)}. Play more games, or count a draw between players that met.");
            }
        }
    }
}
