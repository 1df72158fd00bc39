namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Options of the CPU backend.</summary>
internal sealed record CpuBackendOptions
{
    /// <summary>Name of the environment variable that forces a kernel tier.</summary>
    public const string KernelVariable = "GEMMA_KERNEL";

    /// <summary>Threads that work on an operation, the calling one included. Null: the physical cores that this process may use.</summary>
    public int? Threads { get; init; }

    /// <summary>Name of a kernel tier (<see cref="KernelTier.All"/>). Null: the environment variable GEMMA_KERNEL, or else the fastest tier of this machine.</summary>
    public string? Kernel { get; init; }

    /// <summary>Why the CPU computes where a GPU was hoped for, for the log.</summary>
    public string? Reason { get; init; }
}
