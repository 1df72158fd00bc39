using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>The list of kernels that are written in C#; a weight format needs a line here.</summary>
internal static unsafe class KernelSets
{
    public static KernelSet Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Formats =
        [
            F32Tiles.Create<TIsa>(),
            F16Tiles.Create<TIsa>(),
            BF16Tiles.Create<TIsa>(),
            Q8_0Tiles.Create<TIsa>(),
            Q4_0Tiles.Create<TIsa>(),
            Q4_1Tiles.Create<TIsa>(),
            Q5_0Tiles.Create<TIsa>(),
            Q5_1Tiles.Create<TIsa>(),
            Q2_KTiles.Create<TIsa>(),
            Q3_KTiles.Create<TIsa>(),
            Q4_KTiles.Create<TIsa>(),
            Q5_KTiles.Create<TIsa>(),
            Q6_KTiles.Create<TIsa>(),
            IQ4_NLTiles.Create<TIsa>(),
            IQ4_XSTiles.Create<TIsa>(),
            IQ3_STiles.Create<TIsa>(),
            IQ3_XXSTiles.Create<TIsa>(),
            IQ2_STiles.Create<TIsa>(),
            IQ2_XSTiles.Create<TIsa>(),
            IQ2_XXSTiles.Create<TIsa>(),
            IQ1_MTiles.Create<TIsa>(),
            IQ1_STiles.Create<TIsa>(),
            TQ2_0Tiles.Create<TIsa>(),
            TQ1_0Tiles.Create<TIsa>(),
            MXFP4Tiles.Create<TIsa>(),
        ],
        BFloat16Pairs = BF16Tiles.CreatePairs<TIsa>(),
        Float16Kv = new(&KvDot<TIsa, Float16KvPair>.Scores, &KvDot<TIsa, Float16KvPair>.Values),
        BFloat16Kv = new(&KvDot<TIsa, BFloat16KvPair>.Scores, &KvDot<TIsa, BFloat16KvPair>.Values),
        FloatsOne = &VectorTile.FloatsOne,
        FloatsFour = &VectorTile.FloatsFour,
    };
}
