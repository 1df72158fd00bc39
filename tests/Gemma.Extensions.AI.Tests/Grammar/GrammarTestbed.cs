using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>A small vocabulary with the shapes that real ones have, and ways to read texts and draw random ones under a grammar.</summary>
internal static class GrammarTestbed
{
    /// <summary>The token that ends a text; it adds no bytes.</summary>
    public const int End = 0;

    /// <summary>Control tokens, all bytes, words, runs of spaces, and tokens that cross the borders of JSON's parts.</summary>
    public static readonly VocabularyTrie Vocabulary = new([
        [], [],
        .. Enumerable.Range(0, 256).Select(b => new[] { (byte)b }),
        .. """
           a b c ab abc name id value type x y true false null tru fal 1 2 12 123 00 -1 1. .5 0.5 e+ E5 é 日 日本 😀 中文 ß
           " "" ", ": "} "] "}} "]} {" {" [" [] {} {{ [{ [[ }] ]} }, ], }} ]] , : { } [ ] ,"  ":" ":[ ":{ ":"  ","  "},"  "],[" "},{"
           a" b", c": "a "ab name": "name" "id": "type":" \" \\ \n \u \u00 \ud83d \" \/ a\n x\\ foo" bar"}} -> tool call <tool_call> _call> <tool > >{ >{" </ <
           2024 -01- T00: :00 Z @ .com http :// www. ::1 192. 0- 000
           """.Split((char[])[' ', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries).Distinct().Select(Encoding.UTF8.GetBytes),
        .. new[] { "  ", "    ", "\n", "\n\n", "\n  ", " a", " name", ", \"", "\": ", "{\n", "\n}", "{ ", "\t\t", " }", "a b", "a\nb", "tool_call>\n", "\n<", ">\n", "> x", ">{\"", ">{\"x" }.Select(Encoding.UTF8.GetBytes),
    ]);

    /// <summary>True if a mask has a token.</summary>
    public static bool IsIn(ReadOnlySpan<ulong> mask, int token) => (mask[token >> 6] & (1UL << token)) != 0;

    /// <summary>The tokens that a mask has.</summary>
    public static IEnumerable<int> TokensIn(ulong[] mask) => Enumerable.Range(0, 64 * mask.Length).Where(token => IsIn(mask, token));

    public static CompiledGrammar Schema(string schema, JsonSchemaOptions? options = null)
    {
        using JsonDocument document = JsonDocument.Parse(schema, new JsonDocumentOptions { MaxDepth = 2000 });
        return new(Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(document.RootElement.Clone(), options)));
    }

    /// <summary>Whether the grammar accepts the text, read byte by byte, and as far as it goes in greedy pieces too (both must agree).</summary>
    public static bool Accepts(CompiledGrammar grammar, string text)
    {
        bool bytes = Read(grammar, text, longest: false), pieces = Read(grammar, text, longest: true);
        Assert.True(bytes == pieces, $"'{text}' is {(bytes ? "accepted" : "rejected")} byte by byte but not in longer tokens.");
        return bytes;
    }

    private static bool Read(CompiledGrammar grammar, string text, bool longest)
    {
        ITokenConstraint constraint = grammar.CreateConstraint([End]);
        ulong[] mask = new ulong[Vocabulary.MaskWords];
        ReadOnlySpan<byte> rest = Encoding.UTF8.GetBytes(text);
        while (rest.Length > 0)
        {
            int token = 2 + rest[0];
            for (int id = 258; longest && id < Vocabulary.Count; id++)
            {
                token = rest.StartsWith(Vocabulary.Bytes(id)) && Vocabulary.Bytes(id).Length > Vocabulary.Bytes(token).Length ? id : token;
            }

            Assert.True(constraint.TryFillMask(mask));
            bool allowed = IsIn(mask, token);
            Assert.True(allowed == constraint.IsAllowed(token), $"The mask {(allowed ? "allows" : "forbids")} '{Encoding.UTF8.GetString(Vocabulary.Bytes(token))}' before '{Encoding.UTF8.GetString(rest)}' of '{text}', its bytes do not.");
            if (!allowed)
            {
                return false;
            }

            constraint.Accept(token);
            rest = rest[Vocabulary.Bytes(token).Length..];
        }

        constraint.TryFillMask(mask);
        return (mask[0] & 1) != 0;
    }

    /// <summary>
    /// Draws a text under the constraint with random weights a token, checking at some steps that the mask says of every token what reading its bytes
    /// says. Null where it has not ended after so many tokens.
    /// </summary>
    public static string? RandomText(ITokenConstraint constraint, Random random, int maxTokens, double endBias = 0.5, bool checkMasks = true)
    {
        ulong[] mask = new ulong[Vocabulary.MaskWords];
        int[] forced = new int[8];
        List<byte> text = [];
        for (int step = 0; step < maxTokens; step++)
        {
            long budget = long.MaxValue;
            int count = constraint.GetForcedTokens(forced, ref budget);
            if (!constraint.TryFillMask(mask))
            {
                mask.AsSpan().Fill(ulong.MaxValue);
            }

            List<int> allowed = [.. TokensIn(mask)];
            Assert.NotEmpty(allowed);
            if (count > 0)
            {
                Assert.Equal(forced[0], Assert.Single(allowed));
            }

            if (checkMasks && random.Next(8) == 0)
            {
                for (int id = 0; id < Vocabulary.Count; id++)
                {
                    Assert.True(constraint.IsAllowed(id) == allowed.Contains(id), $"Mask and bytes disagree on token {id} '{Encoding.UTF8.GetString(Vocabulary.Bytes(id))}' after '{Encoding.UTF8.GetString([.. text])}'.");
                }
            }

            // Ends, closing brackets and quotes are favoured, or random texts would hardly ever end.
            int token = (mask[0] & 1) != 0 && random.NextDouble() < endBias ? End
                : random.Next(4) == 0 && allowed.Where(id => Vocabulary.Bytes(id) is [(byte)'"' or (byte)'}' or (byte)']', ..]).ToList() is { Count: > 0 } closing ? closing[random.Next(closing.Count)]
                : allowed[random.Next(allowed.Count)];
            constraint.Accept(token);
            if (token == End)
            {
                return Encoding.UTF8.GetString([.. text]);
            }

            text.AddRange(Vocabulary.Bytes(token));
        }

        return null;
    }
}
