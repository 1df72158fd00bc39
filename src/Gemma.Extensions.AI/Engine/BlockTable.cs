namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// The blocks of key/value memory that one sequence holds, by position in the sequence. Created by its owner and written by <see cref="KvCache"/> alone.
/// </summary>
/// <param name="blocks">Blocks that the longest form of the sequence takes.</param>
/// <param name="root">Node of the prefix tree under which the sequence's prefixes begin: <see cref="PrefixTree.Root"/>.</param>
/// <param name="kinds">Which tokens are of the prompt, as long as the table or longer.</param>
internal sealed class BlockTable(int blocks, int root, TokenKinds kinds)
{
    /// <summary>Blocks of the local layers by position; -1 where not held.</summary>
    public int[] Local { get; } = CreateEmpty(blocks);

    /// <summary>Blocks of the global layers by position; -1 where not held.</summary>
    public int[] Global { get; } = CreateEmpty(blocks);

    /// <summary>Which tokens of the sequence are of its prompt.</summary>
    public TokenKinds Kinds { get; } = kinds;

    /// <summary>Tokens whose keys and values are in memory, from the first on.</summary>
    public int Computed { get; set; }

    /// <summary>Blocks held in <see cref="Global"/>, from the first on.</summary>
    public int Held { get; set; }

    /// <summary>First block that <see cref="Local"/> may still hold; those before it have left the window.</summary>
    public int FirstLocal { get; set; }

    /// <summary>Full blocks that are in the prefix tree, from the first on.</summary>
    public int Published { get; set; }

    /// <summary>Node of the prefix tree under which the sequence's prefixes begin.</summary>
    public int Root { get; } = root;

    /// <summary>Node of the last published block; <see cref="Root"/> before the first.</summary>
    public int Node { get; set; } = root;

    /// <summary>A table for a sequence of at most <paramref name="tokens"/> tokens.</summary>
    /// <param name="tokens">Tokens, guessed ones included.</param>
    /// <param name="blockTokens">Tokens of one block.</param>
    /// <param name="adapter">Number of the adapter that computes the keys and values; 0: the base model.</param>
    /// <param name="kinds">Which tokens are of the prompt, where that makes a difference.</param>
    public static BlockTable For(int tokens, int blockTokens, int adapter = 0, TokenKinds? kinds = null) =>
        new((tokens + blockTokens - 1) / blockTokens, PrefixTree.Root(adapter), kinds ?? TokenKinds.Alike);

    private static int[] CreateEmpty(int blocks)
    {
        int[] table = new int[blocks];
        Array.Fill(table, -1);
        return table;
    }
}
