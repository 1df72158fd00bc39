namespace Gemma.Extensions.AI.Model;

/// <summary>The weight matrices of a layer as the forward pass multiplies them.</summary>
internal enum LayerMap
{
    Qkv,
    AttentionOutput,
    GateUp,
    Down,
}

internal static class LayerMaps
{
    private const int MapsPerLayer = 4;

    /// <summary>Places for every map of a model.</summary>
    public static int Count(int layers) => layers * MapsPerLayer;

    public static int Index(int layer, LayerMap map) => layer * MapsPerLayer + (int)map;
}
