using System.Numerics;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>
/// A set of tokens that is kept: few tokens, or what it has otherwise than one of the vocabulary's slices. That is a few hundred bytes where a bit for each token would be 32 KB.
/// Immutable.
/// </summary>
internal sealed class TokenMask
{
    private readonly int[] _places; // of words that differ from the slice's, in order
    private readonly ulong[] _words;
    private readonly bool _isWhole; // The slice is the mask's own.

    private TokenMask(ulong[]? slice, int[] places, ulong[] words, int length, bool isWhole = false) => (Slice, _places, _words, Length, _isWhole) = (slice, places, words, length, isWhole);

    /// <summary>The slice that contains most of the tokens; null for no tokens. Shared.</summary>
    public ulong[]? Slice { get; }

    /// <summary>Words of a mask with a bit for each token.</summary>
    public int Length { get; }

    /// <summary>Bytes that are not shared.</summary>
    public int Size => (12 * _places.Length) + (_isWhole ? 8 * Length : 0);

    /// <param name="mask">A bit for each token.</param>
    /// <param name="slice">The slice that the mask may contain most of; never modified.</param>
    public static TokenMask Of(ReadOnlySpan<ulong> mask, ulong[]? slice)
    {
        int count = CountDifferent(mask, slice, [], []);
        if (count > mask.Length / 2)
        {
            return new TokenMask(mask.ToArray(), [], [], mask.Length, isWhole: true);
        }

        int[] places = new int[count];
        ulong[] words = new ulong[count];
        CountDifferent(mask, slice, places, words);
        return new TokenMask(slice, places, words, mask.Length);
    }

    public bool Contains(int token)
    {
        int place = token >> 6;
        if ((uint)place >= (uint)Length)
        {
            return false;
        }

        int found = Array.BinarySearch(_places, place);
        ulong word = found >= 0 ? _words[found] : Slice is null ? 0 : Slice[place];
        return (word & (1UL << token)) != 0;
    }

    /// <summary>Writes a bit for each token, as far as there is room, and clears the rest.</summary>
    public void CopyTo(Span<ulong> mask)
    {
        if (Slice is null)
        {
            mask.Clear();
        }
        else
        {
            int common = Math.Min(Length, mask.Length);
            Slice.AsSpan(0, common).CopyTo(mask);
            mask[common..].Clear();
        }

        for (int i = 0; i < _places.Length && _places[i] < mask.Length; i++)
        {
            mask[_places[i]] = _words[i];
        }
    }

    /// <summary>True if there is exactly one token.</summary>
    /// <param name="token">The first of the tokens; -1 for none.</param>
    public bool IsSingle(out int token)
    {
        token = -1;
        for (int i = 0, next = 0; i < (Slice is null ? _places.Length : Length); i++)
        {
            int place = Slice is null ? _places[i] : i;
            bool differs = next < _places.Length && _places[next] == place;
            ulong word = differs ? _words[next++] : Slice![place];
            if (word == 0)
            {
                continue;
            }

            if (token >= 0 || !BitOperations.IsPow2(word))
            {
                token = token >= 0 ? token : (place << 6) + BitOperations.TrailingZeroCount(word);
                return false;
            }

            token = (place << 6) + BitOperations.TrailingZeroCount(word);
        }

        return token >= 0;
    }

    private static int CountDifferent(ReadOnlySpan<ulong> mask, ReadOnlySpan<ulong> slice, Span<int> places, Span<ulong> words)
    {
        int count = 0;
        for (int i = 0; i < mask.Length; i++)
        {
            int equal = slice.IsEmpty ? mask[i..].IndexOfAnyExcept(0UL) : mask[i..].CommonPrefixLength(slice[i..]);
            i = equal < 0 ? mask.Length : i + equal;
            if (i >= mask.Length)
            {
                break;
            }

            if (count < places.Length)
            {
                (places[count], words[count]) = (i, mask[i]);
            }

            count++;
        }

        return count;
    }
}
