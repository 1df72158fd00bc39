using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>Everything about a product that depends only on the weight matrix and the tier. Decided once, when weights are loaded.</summary>
internal sealed class MatMulPlan
{
    public MatMulPlan(MatMulKernels kernels, ReadOnlySpan<WeightPart> parts, int columns)
    {
        List<ZeroPointTerms> terms = [];
        List<ActivationLayout> layouts = [];
        Parts = new PartPlan[parts.Length];
        for (int i = 0; i < parts.Length; i++)
        {
            PartPlan part = Plan(kernels, parts[i], columns, terms);
            Parts[i] = part;
            if (part.Path != MatMulPath.RowFallback && !layouts.Contains(part.Layout))
            {
                layouts.Add(part.Layout);
            }
        }

        Kernels = kernels;
        ZeroPointTerms = [.. terms];
        Layouts = [.. layouts];
    }

    /// <summary>The kernels that the plan was made for.</summary>
    public MatMulKernels Kernels { get; }

    public PartPlan[] Parts { get; }

    /// <summary>The layouts of activations that GEMM needs for the parts, each once.</summary>
    public ActivationLayout[] Layouts { get; }

    /// <summary>The kinds of zero-point terms that int8 parts need, each once.</summary>
    public ZeroPointTerms[] ZeroPointTerms { get; }

    private static PartPlan Plan(MatMulKernels kernels, in WeightPart part, int columns, List<ZeroPointTerms> terms)
    {
        // Tiles need whole vectors of columns and 32 rows; a format without a tile format still works, slowly.
        if (kernels.WeightFormat(part.Format.Type) is not { } format || part.Rows < TileFormat.Rows || columns % format.BlockElements != 0)
        {
            return new PartPlan(part, MatMulPath.RowFallback);
        }

        ActivationLayout layout = kernels.GemmLayout(format);
        int kind = -1;
        if (layout.IsInt8())
        {
            ZeroPointTerms needed = new(format.Group, format.Offset, format.HasMinimum);
            kind = terms.IndexOf(needed);
            if (kind < 0)
            {
                kind = terms.Count;
                terms.Add(needed);
            }
        }

        MatMulPath path = columns % format.GemvColumns == 0 ? MatMulPath.Gemv : MatMulPath.Gemm;
        return new PartPlan(part, path, format, layout, kind);
    }
}

/// <summary>The paths open to a part of a stacked weight matrix.</summary>
internal enum MatMulPath
{
    /// <summary>Always by tiles.</summary>
    Gemm,

    /// <summary>By GEMV for a few activation rows if the tier has a kernel for the format, otherwise by tiles.</summary>
    Gemv,

    /// <summary>Row by row with the reference decoder.</summary>
    RowFallback,
}

/// <summary>
/// The sums over groups of columns that an int8 product needs besides the bytes. For a zero point: -Offset times the sum of the activation bytes, the
/// initial value of the integer sum. For a format with minima: the sum of the activations, as float32.
/// </summary>
/// <param name="Group">Columns of a group.</param>
/// <param name="Offset">Zero point of the weight bytes.</param>
/// <param name="HasMinimum">Whether the format has minima.</param>
internal readonly record struct ZeroPointTerms(int Group, int Offset, bool HasMinimum);

/// <summary>One part of a stacked matrix: its path, tile format and layout.</summary>
internal readonly struct PartPlan(in WeightPart part, MatMulPath path, TileFormat? format = null, ActivationLayout layout = default, int terms = -1)
{
    public readonly WeightPart Part = part;
    public readonly MatMulPath Path = path;

    private readonly TileFormat? _format = format;

    /// <summary>Layout of the activations for GEMM.</summary>
    public readonly ActivationLayout Layout = layout;

    /// <summary>Index of the part's zero-point terms; -1: none.</summary>
    public readonly int TermsIndex = terms;

    /// <summary>If the rows are not a multiple of 32, the last tile overlaps the one before it.</summary>
    public readonly int Tiles = Math.Max(1, (part.Rows + TileFormat.Rows - 1) / TileFormat.Rows);

    /// <summary>Not available on <see cref="MatMulPath.RowFallback"/>.</summary>
    public TileFormat Format => _format!;

    public int Tasks(int tilesPerTask) => (Tiles + tilesPerTask - 1) / tilesPerTask;
}
