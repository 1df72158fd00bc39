using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Backends.Cuda;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Takes one instruction at a time out of the kernels: do <see cref="KernelChecks"/> see it?</summary>
internal static class Mutations
{
    /// <summary>Steps after which a mutant counts as endless; the checks need a hundredth.</summary>
    private const long StepLimit = 1_000_000;

    /// <summary>A report of a run over some instructions of every kernel, chosen at random but always the same.</summary>
    /// <param name="perKernel">How many instructions of each kernel.</param>
    public static string Run(int perKernel)
    {
        string[] lines = KernelText.Ptx.Split('\n');
        StringBuilder report = new();
        int all = 0, found = 0;
        foreach ((string kernel, int begin, int end) in Entries(lines))
        {
            int[] candidates = [.. Enumerable.Range(begin, end - begin).Where(i => PtxModule.IsInstruction(lines[i]) && lines[i].Trim() != "ret;")];
            Random random = new(begin);
            int[] chosen = [.. candidates.OrderBy(_ => random.Next()).Take(perKernel).Order()];
            bool[] seen = new bool[chosen.Length];
            Parallel.For(0, chosen.Length, new ParallelOptions { MaxDegreeOfParallelism = 2 }, i => seen[i] = IsSeen(lines, kernel, begin, end, chosen[i]));
            all += chosen.Length;
            found += seen.Count(one => one);
            report.AppendLine(CultureInfo.InvariantCulture, $"| {kernel} | {candidates.Length} | {chosen.Length} | {seen.Count(one => one)} |");
            for (int i = 0; i < chosen.Length; i++)
            {
                if (!seen[i])
                {
                    report.AppendLine(CultureInfo.InvariantCulture, $"  not seen, line {chosen[i] + 1}: {lines[chosen[i]].Trim()}");
                }
            }

            Console.WriteLine($"{kernel}: {seen.Count(one => one)} of {chosen.Length}");
        }

        return report.AppendLine(CultureInfo.InvariantCulture, $"| all | | {all} | {found} |").ToString();
    }

    /// <summary>Names and lines of the kernels.</summary>
    private static IEnumerable<(string Name, int Begin, int End)> Entries(string[] lines)
    {
        for (int i = 0; i < lines.Length; i++)
        {
            if (lines[i].StartsWith(".visible .entry", StringComparison.Ordinal))
            {
                int end = Array.IndexOf(lines, "}", i);
                yield return (lines[i][(lines[i].IndexOf(".entry", StringComparison.Ordinal) + 7)..].TrimEnd('(', ')'), i, end + 1);
            }
        }
    }

    private static bool IsSeen(string[] lines, string kernel, int begin, int end, int line)
    {
        IEnumerable<string> header = lines.TakeWhile(text => !text.StartsWith(".visible", StringComparison.Ordinal));
        string text = string.Join('\n', [.. header, .. lines[begin..line], .. lines[(line + 1)..end]]);
        PtxKernel mutant = PtxModule.Parse(text).Kernels[kernel];
        foreach (Action<Gemma.Extensions.AI.Backends.Backend> check in KernelChecks.Of(kernel))
        {
            using CudaBackend backend = new InterpretedGpu { Mutant = mutant, StepLimit = StepLimit, Parallelism = 1 }.CreateBackend();
            try
            {
                check(backend);
            }
            catch (Exception exception) when (exception is GemmaDeviceException or Xunit.Sdk.XunitException)
            {
                return true;
            }
        }

        return false;
    }
}
