namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>What the operating system says about the processor.</summary>
internal static class ProcessorTopology
{
    /// <summary>
    /// Physical cores that this process may use: hyper-threads of a core share its multipliers and caches, so a second one does not help. Limits
    /// by affinity and containers count (<see cref="Environment.ProcessorCount"/>). Where the system does not say, every processor counts.
    /// </summary>
    public static int PhysicalCores()
    {
        int available = Environment.ProcessorCount;
        try
        {
            var cores = new HashSet<string>();
            foreach (string cpu in Directory.EnumerateDirectories("/sys/devices/system/cpu", "cpu*"))
            {
                string siblings = Path.Combine(cpu, "topology", "thread_siblings_list");
                if (File.Exists(siblings))
                {
                    cores.Add(File.ReadAllText(siblings).Trim());
                }
            }

            return cores.Count == 0 ? available : Math.Min(available, cores.Count);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return available;
        }
    }
}
