using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>
/// The vocabulary prepared for masks: a trie of all tokens, and slices of those that can be taken whole inside JSON strings. Built once per
/// tokenizer, immutable but for slices made on demand.
/// </summary>
internal sealed class VocabularyTrie
{
    private const int MaxTokenBytes = 250;

    private readonly byte[][] _tokens;
    private readonly int[][] _safeByLength = new int[Lexer.MaxSliceChars + 1][];
    private readonly ulong[]?[] _safeUpTo = new ulong[]?[Lexer.MaxSliceChars + 1];

    /// <param name="tokens">The bytes of each token; empty for control tokens, which no grammar allows.</param>
    public VocabularyTrie(IReadOnlyList<byte[]> tokens)
    {
        _tokens = [.. tokens];
        MaskWords = (tokens.Count + 63) >> 6;
        List<(byte[], int)> all = [], rest = [];
        List<int>[] safe = new List<int>[Lexer.MaxSliceChars + 1];
        for (int i = 0; i <= Lexer.MaxSliceChars; i++)
        {
            safe[i] = [];
        }

        for (int id = 0; id < _tokens.Length; id++)
        {
            byte[] text = _tokens[id];
            if (text.Length is 0 or > MaxTokenBytes)
            {
                continue;
            }

            all.Add((text, id));
            int chars = SafeLength(text);
            if (chars >= 0)
            {
                safe[chars].Add(id);
            }
            else
            {
                rest.Add((text, id));
            }
        }

        for (int i = 0; i <= Lexer.MaxSliceChars; i++)
        {
            _safeByLength[i] = [.. safe[i]];
        }

        All = ByteTrie.Build(all);
        Rest = ByteTrie.Build(rest);
        Safe = SafeUpTo(Lexer.MaxSliceChars);
        Strings = new StringSlice(this, rest, CharSpelling.JsonString);
        Names = new StringSlice(this, rest, CharSpelling.JsonName);
    }

    public int Count => _tokens.Length;

    public int MaskWords { get; }

    public ByteTrie All { get; }

    /// <summary>The tokens that are not string-safe.</summary>
    public ByteTrie Rest { get; }

    /// <summary>Whole characters without quote, backslash and control characters.</summary>
    public ulong[] Safe { get; }

    /// <summary>The tokens allowed in unrestricted strings.</summary>
    public StringSlice Strings { get; }

    /// <summary>The tokens allowed in unrestricted keys.</summary>
    public StringSlice Names { get; }

    public byte[] Bytes(int token) => (uint)token < (uint)_tokens.Length ? _tokens[token] : [];

    /// <summary>String-safe tokens of at most so many characters.</summary>
    public ulong[] SafeUpTo(int chars)
    {
        chars = Math.Min(chars, Lexer.MaxSliceChars);
        if (_safeUpTo[chars] is { } known)
        {
            return known;
        }

        ulong[] bits = new ulong[MaskWords];
        for (int i = 0; i <= chars; i++)
        {
            foreach (int id in _safeByLength[i])
            {
                bits[id >> 6] |= 1UL << id;
            }
        }

        return _safeUpTo[chars] = bits;
    }

    /// <summary>Characters of a string-safe token, -1 for any other.</summary>
    private static int SafeLength(byte[] text)
    {
        foreach (byte b in text)
        {
            if (b is < 0x20 or (byte)'"' or (byte)'\\')
            {
                return -1;
            }
        }

        if (!System.Text.Unicode.Utf8.IsValid(text))
        {
            return -1;
        }

        int chars = text.Count(b => (b & 0xC0) != 0x80);
        return chars <= Lexer.MaxSliceChars ? chars : -1;
    }

    /// <summary>Tokens inside an unrestricted string: those that stay in it, and those that close it, by what follows the quote.</summary>
    internal sealed class StringSlice
    {
        public StringSlice(VocabularyTrie vocabulary, List<(byte[] Text, int Token)> rest, CharSpelling spelling)
        {
            RegexArena arena = new();
            RegexLexer lexer = new(arena, arena.All, spelling);
            Inside = (ulong[])vocabulary.Safe.Clone();
            List<(byte[], int)> tails = [];
            Closing = new ulong[vocabulary.MaskWords];
            foreach ((byte[] text, int token) in rest)
            {
                int state = lexer.Start, i = 0;
                while (i < text.Length && state >= 0)
                {
                    state = lexer.Next(state, text[i++]);
                }

                if (state >= 0)
                {
                    Inside[token >> 6] |= 1UL << token;
                }
                else if (state <= Lexer.FinalBase)
                {
                    if (i == text.Length)
                    {
                        Closing[token >> 6] |= 1UL << token;
                    }
                    else
                    {
                        tails.Add((text[i..], token));
                    }
                }
            }

            Tails = ByteTrie.Build(tails);
        }

        /// <summary>Tokens after which the string goes on.</summary>
        public ulong[] Inside { get; }

        /// <summary>Tokens that end with the closing quote.</summary>
        public ulong[] Closing { get; }

        /// <summary>Tokens that go on after the closing quote, by that part.</summary>
        public ByteTrie Tails { get; }
    }
}
