using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Angles of the rotary embedding, worked out by hand.</summary>
public sealed unsafe class RopeTableTests
{
    /// <summary>
    /// Heads of four elements have the frequencies 1 and 10000^(-1/2) = 0.01. At position 8 the angles are 8 and 0.08; where positions are divided by 4 they are those of
    /// position 2, 2 and 0.02; divided by 2.5, 3.2 and 0.032. Cosines and sines from a table.
    /// </summary>
    [Theory]
    [InlineData(1f, 8, -0.1455000338, 0.9968017063, 0.9893582466, 0.0799146940)]
    [InlineData(4f, 8, -0.4161468365, 0.9998000067, 0.9092974268, 0.0199986667)]
    [InlineData(1f, 2, -0.4161468365, 0.9998000067, 0.9092974268, 0.0199986667)]
    [InlineData(2.5f, 8, -0.9982947758, 0.9994880437, -0.0583741434, 0.0319945389)]
    [InlineData(0.5f, 1, -0.4161468365, 0.9998000067, 0.9092974268, 0.0199986667)]
    [InlineData(4f, 600, 0.6992508065, 0.0707372017, -0.7148764296, 0.9974949866)] // 150 and 1.5
    public void AnglesArePositionTimesFrequencyOverFactor(float factor, int position, double cosine, double slowCosine, double sine, double slowSine)
    {
        using RopeTable table = new(10000, factor, 4);
        table.Ensure(position);
        float* row = table.Row(position);
        double[] expected = [cosine, slowCosine, sine, slowSine];
        for (int i = 0; i < 4; i++)
        {
            Assert.InRange(row[i] - expected[i], -2e-6, 2e-6);
        }
    }
}
