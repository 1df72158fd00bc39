namespace Gemma.Extensions.AI.Engine;

/// <summary>Reports on the thread that works, in order; <see cref="Progress{T}"/> would queue.</summary>
internal sealed class SynchronousProgress<T>(Action<T> report) : IProgress<T>
{
    public void Report(T value) => report(value);
}
