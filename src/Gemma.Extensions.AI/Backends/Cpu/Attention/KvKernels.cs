namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>The two steps of <see cref="KvDot{TIsa, TPair}"/> for one type of keys and values.</summary>
internal readonly unsafe struct KvKernels(delegate*<byte*, int, float*, float*, byte*, void> scores, delegate*<byte*, int, int, float*, float*, byte*, void> values)
{
    public readonly delegate*<byte*, int, float*, float*, byte*, void> Scores = scores;
    public readonly delegate*<byte*, int, int, float*, float*, byte*, void> Values = values;
}
