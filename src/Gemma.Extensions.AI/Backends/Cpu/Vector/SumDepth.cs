namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>
/// Pairs of byte products that are added in 16 bits before they are widened to 32. 0: even and odd columns apart, for bytes above 63. Negative: a dot product of the
/// instruction set widens by itself, of 32 bytes (-1) or 64 (-2).
/// </summary>
internal interface ISumDepth
{
    static abstract int Pairs { get; }
}

internal readonly struct FourPairs : ISumDepth
{
    public static int Pairs => 4;
}

internal readonly struct TwoPairs : ISumDepth
{
    public static int Pairs => 2;
}

internal readonly struct HalfPairs : ISumDepth
{
    public static int Pairs => 0;
}

internal readonly struct DotSum : ISumDepth
{
    public static int Pairs => -1;
}

internal readonly struct WideDotSum : ISumDepth
{
    public static int Pairs => -2;
}
