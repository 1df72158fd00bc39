using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Saves prompts from the prefix cache of a running engine to files, and restores them, between two of its steps.</summary>
/// <param name="cache">The engine's key/value memory, touched on its thread alone.</param>
/// <param name="capacity">How long a prompt there is room for.</param>
/// <param name="inbox">Where the engine's thread is asked.</param>
/// <param name="weights">Tell which model the keys and values belong to.</param>
/// <param name="window">Tokens that local layers see.</param>
/// <param name="hasPromptKernels">Whether it makes a difference how a token was computed.</param>
internal sealed class PromptCaches(KvCache cache, EngineCapacity capacity, EngineInbox inbox, GemmaWeights weights, int window, bool hasPromptKernels) : IDisposable
{
    private readonly byte[] _fingerprint = weights.Fingerprint;
    private readonly CountdownEvent _saves = new(1);

    /// <summary>Writes the keys and values of a prompt that the engine has computed.</summary>
    /// <exception cref="InvalidOperationException">The prefix cache is off, or there was no memory to keep the prompt.</exception>
    public async Task SaveAsync(string path, int[] tokens, CancellationToken cancellationToken)
    {
        BlockTable table = await inbox.RunBetweenSteps(() =>
        {
            BlockTable held = BlockTable.For(tokens.Length, cache.BlockTokens, kinds: Kinds(tokens.Length));
            cache.Extend(held, tokens, tokens.Length);
            _saves.AddCount();
            return held;
        }).ConfigureAwait(false);
        try
        {
            if (table.Computed < tokens.Length)
            {
                throw new InvalidOperationException(
                    $"Only {table.Computed:N0} of {tokens.Length:N0} tokens stayed in the prefix cache. Turn GemmaOptions.PrefixCache on, or raise GemmaOptions.KvCacheBytes.");
            }

            await Task.Run(() => PromptCacheFile.Write(path, _fingerprint, cache.Pool, window, table, tokens), cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            await inbox.CleanUpBetweenSteps(() => cache.Release(table, tokens)).ConfigureAwait(false);
            _saves.Signal();
        }
    }

    /// <summary>Reads a file into the prefix cache. Returns how many tokens are warm.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, or was saved with another model or type of key/value memory. Nothing was loaded.</exception>
    /// <exception cref="GemmaKvCacheException">The prompt does not fit the key/value memory that is not in use.</exception>
    public async Task<int> LoadAsync(string path, CancellationToken cancellationToken)
    {
        await using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20);
        int firstLocalBlock = 0;
        int[] tokens = await Task.Run(
            () => PromptCacheFile.Open(file, path, _fingerprint, capacity.Layout, window, capacity.ContextLength, out firstLocalBlock), cancellationToken).ConfigureAwait(false);
        TokenKinds kinds = Kinds(tokens.Length);
        PromptCacheFile.TakeKinds(tokens, kinds);
        capacity.ThrowIfTooSmallFor(tokens, int.MaxValue);
        return await inbox.RunBetweenSteps(() =>
        {
            BlockTable table = BlockTable.For(tokens.Length, cache.BlockTokens, kinds: kinds);
            try
            {
                return cache.TryRestore(table, tokens, file, firstLocalBlock) ? tokens.Length : throw capacity.DoesNotFit(tokens.Length);
            }
            finally
            {
                cache.Release(table, tokens);
            }
        }).ConfigureAwait(false);
    }

    /// <summary>Number of a prompt's leading tokens that are in the cache; they count as just used.</summary>
    public Task<int> CountAsync(int[] tokens) => inbox.RunBetweenSteps(() =>
    {
        BlockTable table = BlockTable.For(tokens.Length, cache.BlockTokens, kinds: Kinds(tokens.Length));
        cache.Extend(table, tokens, tokens.Length);
        int computed = table.Computed;
        cache.Release(table, tokens);
        return computed;
    });

    private TokenKinds Kinds(int tokens) => hasPromptKernels ? TokenKinds.Of(tokens, tokens) : TokenKinds.Alike;

    /// <summary>Waits for files that are being written: they are read from the blocks.</summary>
    public void Dispose()
    {
        _saves.Signal();
        _saves.Wait();
    }
}
