namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>Chooses the number of prompt rows per step so that few multiprocessors idle in the last wave of tiles.</summary>
internal static class PromptSteps
{
    /// <summary>The most rows; with fewer than <see cref="Least"/> reading the weights takes longer than multiplying by them.</summary>
    public const int Most = 1024, Least = 512;

    private const int Tile = 128, BlocksOfAProcessor = 2;

    /// <summary>
    /// The number of rows that takes the least time a row. Blocks of tiles run in waves of as many as the GPU holds, and a wave of one block takes as long as a full one: of 27B the products that are
    /// 4,608 wide have 36 blocks for each 128 rows, so that on a GPU that holds 264 seven times 128 rows take one wave and eight times 128 take two.
    /// </summary>
    /// <param name="processors">Multiprocessors.</param>
    /// <param name="weights">Rows and columns of the matrices that rows are multiplied by.</param>
    public static int Best(int processors, IReadOnlyCollection<(int Rows, int Columns)> weights)
    {
        int best = Most;
        double least = double.PositiveInfinity;
        for (int rows = Most; rows >= Least; rows -= Tile)
        {
            long time = 0;
            foreach ((int outputs, int columns) in weights)
            {
                long blocks = rows / Tile * (((long)outputs + Tile - 1) / Tile), held = (long)BlocksOfAProcessor * processors;
                time += (blocks + held - 1) / held * columns;
            }

            if ((double)time / rows < least)
            {
                (best, least) = (rows, (double)time / rows);
            }
        }

        return best;
    }
}
