using System.Collections.Concurrent;
using System.Diagnostics;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Processor time of a process by what its threads are for (Linux).</summary>
/// <param name="Engine">Seconds of the engine's thread.</param>
/// <param name="Compiler">Seconds of the threads that compile code while it runs; one that has ended, for it had nothing to do, counts as it was seen last.</param>
/// <param name="Others">Seconds of all others, those that have ended included.</param>
internal readonly record struct ThreadTimes(double Engine, double Compiler, double Others)
{
    private static readonly ConcurrentDictionary<(int Process, string Thread), double> s_compilers = new();

    /// <summary>Seconds of all threads.</summary>
    public double All => Engine + Compiler + Others;

    public static ThreadTimes OfThisProcess()
    {
        using Process own = Process.GetCurrentProcess();
        return Of(own.Id, own.TotalProcessorTime.TotalSeconds);
    }

    /// <summary>Seconds that all cores of the machine together have not been idle, for anybody.</summary>
    public static double OfTheMachine() => File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries).Skip(1).Take(8).Select(double.Parse).Where((_, i) => i is not (3 or 4)).Sum() / 100;

    /// <param name="process">Its id.</param>
    /// <param name="all">Seconds of all its threads together.</param>
    public static ThreadTimes Of(int process, double all)
    {
        double engine = 0;
        foreach (string thread in Directory.GetDirectories($"/proc/{process}/task"))
        {
            try
            {
                string name = File.ReadAllText(Path.Combine(thread, "comm"));
                double seconds = double.Parse(File.ReadAllText(Path.Combine(thread, "schedstat")).Split(' ')[0]) / 1e9;
                engine += name.StartsWith("Gemma engine", StringComparison.Ordinal) ? seconds : 0;
                if (name.StartsWith(".NET Tiered", StringComparison.Ordinal))
                {
                    s_compilers[(process, thread)] = seconds;
                }
            }
            catch (IOException)
            {
                // Another thread has ended meanwhile.
            }
        }

        double compiler = s_compilers.Where(thread => thread.Key.Process == process).Sum(thread => thread.Value);
        return new ThreadTimes(engine, compiler, all - engine - compiler);
    }

    public static ThreadTimes operator +(ThreadTimes a, ThreadTimes b) => new(a.Engine + b.Engine, a.Compiler + b.Compiler, a.Others + b.Others);

    public static ThreadTimes operator -(ThreadTimes a, ThreadTimes b) => new(a.Engine - b.Engine, a.Compiler - b.Compiler, a.Others - b.Others);

    public static ThreadTimes operator /(ThreadTimes times, double count) => new(times.Engine / count, times.Compiler / count, times.Others / count);
}
