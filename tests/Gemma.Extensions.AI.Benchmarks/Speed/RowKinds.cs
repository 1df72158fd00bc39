using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>A prompt, an answer and a turn, of which the answer is computed as generated or as part of a prompt.</summary>
internal static class RowKinds
{
    private const int BlockTokens = 32;

    /// <summary>Logits of the last tokens.</summary>
    /// <param name="config">The model.</param>
    /// <param name="weights">Its weights.</param>
    /// <param name="backend">What computes.</param>
    /// <param name="tokens">The tokens of all three.</param>
    /// <param name="prompt">Tokens of the prompt.</param>
    /// <param name="generated">Tokens after it that are computed one by one, as generated; the rest is one prompt.</param>
    /// <param name="turn">Tokens at the end whose logits are returned.</param>
    public static float[][] Logits(GemmaConfig config, GemmaWeights weights, Backend backend, int[] tokens, int prompt, int generated, int turn)
    {
        int blocks = (tokens.Length + BlockTokens - 1) / BlockTokens;
        int[] local = [.. Enumerable.Range(0, blocks)], global = [.. Enumerable.Range(blocks, blocks)];
        using KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(config, BlockTokens, GemmaKvCacheType.F16), 2 * blocks);
        using GemmaForward forward = new(config, weights, backend, pool, tokens.Length, turn);
        ForwardBatch batch = new(tokens.Length, 1);
        for (int start = 0, rows; start < tokens.Length; start += rows)
        {
            bool isGenerated = start >= prompt && start < prompt + generated;
            rows = start == 0 ? prompt : isGenerated ? 1 : tokens.Length - start;
            batch.Clear();
            batch.Add(tokens.AsSpan(start, rows), start, local, global, isPrompt: !isGenerated);
            forward.Run(batch);
        }

        Matrix logits = forward.Logits([.. Enumerable.Range(batch.Rows - turn, turn)], turn);
        return [.. Enumerable.Range(0, turn).Select(i => logits.Read(i, 1).ToArray())];
    }
}
