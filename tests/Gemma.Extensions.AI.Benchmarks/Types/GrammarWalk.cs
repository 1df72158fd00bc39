using System.Numerics;
using System.Text;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>Draws texts that a constraint allows, as no model would write them: any token that the mask allows, at random.</summary>
internal sealed class GrammarWalk(GemmaTokenizer tokenizer)
{
    private const int MaxTokens = 700;

    private static readonly string[] s_closing = ["\"", "}", "]", "\"}", "\"]", "0", "1", "Z", ":", ",", "a"];

    private readonly int[] _closing = [.. s_closing.Select(text => tokenizer.Encode(text, false)).Where(static ids => ids.Length == 1).Select(static ids => ids[0])];

    /// <summary>One text; null where it has not come to its end after 700 tokens. After 5 to 80 tokens what closes a part is preferred.</summary>
    /// <exception cref="InvalidOperationException">The constraint allows nothing, or bytes that are no text.</exception>
    public string? Draw(ITokenConstraint constraint, Random random)
    {
        int end = tokenizer.EndOfTurnId, budget = random.Next(3) switch { 0 => 5, 1 => 25, _ => 80 };
        ulong[] mask = new ulong[(tokenizer.VocabularySize + 63) >> 6];
        List<byte> bytes = [];
        for (int step = 0; step < MaxTokens; step++)
        {
            if (!constraint.TryFillMask(mask))
            {
                throw new InvalidOperationException("The constraint allows any text.");
            }

            int count = mask.Sum(BitOperations.PopCount);
            if (count == 0)
            {
                throw new InvalidOperationException("The constraint allows nothing.");
            }

            int token = Allows(mask, end) && (count == 1 || step > budget || random.Next(6) == 0) ? end
                : (step > budget ? random.Next(8) != 0 : random.Next(5) == 0) && Closing(mask, random) is >= 0 and int closing ? closing
                : Nth(mask, random.Next(count));
            if (token == end)
            {
                return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString([.. bytes]);
            }

            constraint.Accept(token);
            bytes.AddRange(tokenizer.GetBytes(token));
        }

        return null;
    }

    private static bool Allows(ulong[] mask, int token) => (mask[token >> 6] & (1UL << token)) != 0;

    private int Closing(ulong[] mask, Random random)
    {
        int found = -1;
        foreach (int token in _closing)
        {
            found = found < 0 && Allows(mask, token) ? token : found;
            if (found >= 0 && random.Next(4) != 0)
            {
                break;
            }
        }

        return found;
    }

    private static int Nth(ulong[] mask, int n)
    {
        for (int i = 0; i < mask.Length; i++)
        {
            int here = BitOperations.PopCount(mask[i]);
            if (n < here)
            {
                ulong bits = mask[i];
                while (n-- > 0)
                {
                    bits &= bits - 1;
                }

                return (i << 6) + BitOperations.TrailingZeroCount(bits);
            }

            n -= here;
        }

        return -1;
    }
}
