using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>A backend that does what another does, and sums the squares of everything that weight matrices are multiplied with.</summary>
internal sealed class ImportanceCollector(Backend inner) : DelegatingBackend(inner)
{
    private readonly Dictionary<WeightMatrix, string[]> _names = [];

    /// <summary>The collected matrix.</summary>
    public ImportanceMatrix Matrix { get; } = new();

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts)
    {
        WeightMatrix weights = base.LoadWeights(parts);
        string[] names = new string[parts.Length];
        for (int i = 0; i < names.Length; i++)
        {
            names[i] = parts[i].Name;
        }

        _names.Add(weights, names);
        return weights;
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        foreach (string name in _names[weights])
        {
            for (int row = 0; row < rows; row++)
            {
                Matrix.Add(name, x.Read(row, 1));
            }
        }

        base.MatMul(x, weights, output, rows, promptRows);
    }
}
