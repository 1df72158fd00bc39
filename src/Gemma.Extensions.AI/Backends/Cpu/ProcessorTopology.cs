namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Processor topology as reported by the operating system.</summary>
internal static class ProcessorTopology
{
    /// <summary>
    /// Physical cores that this process may use. The hyper-threads of a core share its multipliers and caches, so a second one does not help. Affinity and
    /// container limits are respected (<see cref="Environment.ProcessorCount"/>). If the system does not report siblings, every processor counts.
    /// </summary>
    public static int PhysicalCores()
    {
        int available = Environment.ProcessorCount;
        try
        {
            HashSet<string> cores = new();
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
