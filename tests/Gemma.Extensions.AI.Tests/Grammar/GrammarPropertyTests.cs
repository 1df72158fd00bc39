using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Random grammars and random weights, judged by a direct evaluator and by .NET's regular expressions.</summary>
public sealed class GrammarPropertyTests
{
    [Fact]
    public void TwoThousandRandomSchemasGiveOnlyValidDocuments()
    {
        int compiled = 0, documents = 0, refused = 0;
        for (int seed = 0; compiled < 2000; seed++)
        {
            Random random = new(seed);
            string schema = new RandomSchema(random).Next();
            Gemma.Extensions.AI.Grammar.Grammar grammar;
            try
            {
                grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = random.Next(2) == 0, AllowWhitespace = random.Next(4) > 0 });
            }
            catch (Exception e) when (e is NotSupportedException or ArgumentException)
            {
                refused++;
                continue;
            }

            compiled++;
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 150, checkMasks: seed % 10 == 0) is not { } text)
            {
                continue; // Cut off, as by MaxOutputTokens.
            }

            documents++;
            using JsonDocument document = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = 512, AllowDuplicateProperties = false });
            bool valid = SchemaOracle.IsValid(JsonElement.Parse(schema), document.RootElement);
            Assert.True(valid, $"Seed {seed}: the schema {schema} gave {text}, which does not validate.");
        }

        Assert.True(documents > 1000, $"Only {documents} of {compiled} texts ended.");
        Assert.True(refused < 1500, $"{refused} schemas were refused.");
    }

    [Fact]
    public void RandomExpressionsAgreeWithDotNetRegex()
    {
        Random random = new(3);
        int matches = 0, checks = 0;
        for (int i = 0; i < 900; i++)
        {
            string pattern = Pattern(random, 3);
            RxArena arena = new();
            Rx search, whole;
            try
            {
                (search, whole) = (EcmaRegex.Compile(arena, pattern), EcmaRegex.Compile(arena, pattern, wholeText: true));
            }
            catch (NotSupportedException)
            {
                continue; // Anchors in the middle.
            }

            System.Text.RegularExpressions.Regex search2 = new(pattern, RegexOptions.ECMAScript), whole2 = new($"^(?:{pattern})$(?!\n)", RegexOptions.ECMAScript);
            for (int k = 0; k < 20; k++)
            {
                string text = string.Concat(Enumerable.Range(0, random.Next(7)).Select(_ => "abc1-"[random.Next(5)]));
                bool expected = search2.IsMatch(text);
                Assert.True(expected == arena.Matches(search, text), $"/{pattern}/ on '{text}' should be {expected}.");
                Assert.True(whole2.IsMatch(text) == arena.Matches(whole, text), $"/{pattern}/ on all of '{text}' should be {!arena.Matches(whole, text)}.");
                matches += expected ? 1 : 0;
                checks++;
            }
        }

        Assert.InRange(matches, checks / 20, checks * 19 / 20);
    }

    [Fact]
    public void RandomTextsOfAnExpressionMatchIt()
    {
        Random random = new(5);
        foreach (string pattern in (string[])["[a-c]+\\d{2}(x|y)?", "(ab|a)*c", "[^a]{1,5}", "\\p{Lu}\\w*", "é+日?", "a{3,}|b"])
        {
            Gemma.Extensions.AI.Grammar.Grammar grammar = new(GrammarTestbed.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(pattern)));
            int ended = 0;
            for (int i = 0; i < 30; i++)
            {
                if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 40) is { } text && !text.Any(char.IsSurrogate)) // .NET counts halves of characters.
                {
                    ended++;
                    Assert.Matches(new System.Text.RegularExpressions.Regex($"^(?:{pattern})$(?!\n)"), text);
                }
            }

            Assert.True(ended > 5, pattern);
        }
    }

    [Fact]
    public void RecursiveGbnfGivesBalancedTexts()
    {
        const string Arithmetic = """
            # Sums of products, with comments and continuation lines.
            root ::= expr "\n"
            expr ::= term (("+" | "-")
                term)*
            term ::= factor ("*" factor)*
            factor ::= [1-9] [0-9]{0,3} | "(" expr ")"
            """;
        Gemma.Extensions.AI.Grammar.Grammar grammar = new(GrammarTestbed.Vocabulary, GbnfParser.Parse(Arithmetic));
        Assert.True(GrammarTestbed.Accepts(grammar, "12+(3*4-5)*9999\n"));
        Assert.False(GrammarTestbed.Accepts(grammar, "12+(3*4-5*9\n"));
        Assert.False(GrammarTestbed.Accepts(grammar, "12345\n"));
        Random random = new(11);
        int ended = 0;
        for (int i = 0; i < 200; i++)
        {
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 200) is { } text)
            {
                ended++;
                Assert.EndsWith("\n", text);
                Assert.Equal(text.Count(c => c == '('), text.Count(c => c == ')'));
            }
        }

        Assert.True(ended > 50);
    }

    private static string Pattern(Random random, int depth) => depth == 0 || random.Next(4) == 0
        ? (string[])["a", "b", "c", "[ab]", "[^a]", "\\d", ".", "1-", "\\w"] is var atoms ? atoms[random.Next(atoms.Length)] : ""
        : random.Next(7) switch
        {
            0 => Pattern(random, depth - 1) + "|" + Pattern(random, depth - 1),
            1 => "(" + Pattern(random, depth - 1) + ")*",
            2 => "(?:" + Pattern(random, depth - 1) + "){1,2}",
            3 => "(" + Pattern(random, depth - 1) + ")?" + Pattern(random, depth - 1),
            4 => "^" + Pattern(random, depth - 1),
            5 => Pattern(random, depth - 1) + "$",
            _ => Pattern(random, depth - 1) + Pattern(random, depth - 1),
        };

    /// <summary>Draws schemas of all keywords, most of them satisfiable.</summary>
    private sealed class RandomSchema(Random random)
    {
        private static readonly string[] s_names = ["a", "b", "c", "name", "id", "x\"y"];

        public string Next()
        {
            JsonObject root = Schema(3);
            root["$defs"] = new JsonObject { ["d"] = Schema(1), ["e"] = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["$ref"] = "#/$defs/e" } } };
            return root.ToJsonString();
        }

        private JsonObject Schema(int depth)
        {
            JsonObject s = [];
            switch (random.Next(depth > 0 ? 14 : 6))
            {
                case 0:
                    s["type"] = "string";
                    Maybe(() => s["minLength"] = random.Next(3));
                    Maybe(() => s["maxLength"] = 3 + random.Next(5));
                    Maybe(() => s["pattern"] = Pattern(random, 2));
                    break;
                case 1:
                    s["type"] = random.Next(2) == 0 ? "integer" : "number";
                    Maybe(() => s["minimum"] = random.Next(-20, 10));
                    Maybe(() => s["exclusiveMaximum"] = 10.5 + random.Next(200));
                    Maybe(() => s["multipleOf"] = (double[])[2, 3, 0.5, 0.25] is var m ? m[random.Next(4)] : 1);
                    break;
                case 2:
                    s["enum"] = new JsonArray("a", "ab", 1, 2.5, null, true, new JsonObject { ["a"] = 1 }, new JsonArray(1, "b"));
                    break;
                case 3:
                    s["type"] = new JsonArray("null", "boolean", "integer");
                    break;
                case 4:
                    s["const"] = (JsonNode?[])["k", 7, new JsonObject { ["x"] = new JsonArray(1) }] is var c ? c[random.Next(3)] : null;
                    break;
                case 5:
                    s["$ref"] = random.Next(2) == 0 ? "#/$defs/e" : "#/$defs/d";
                    if (depth < 2)
                    {
                        s = new JsonObject { ["type"] = "null" }; // d must not reach itself.
                    }

                    break;
                case 6 or 7 or 8:
                    Object(s, depth);
                    break;
                case 9 or 10:
                    s["type"] = "array";
                    Maybe(() => s["items"] = Schema(depth - 1));
                    Maybe(() => s["prefixItems"] = new JsonArray(Schema(depth - 1)));
                    Maybe(() => s["minItems"] = random.Next(3));
                    Maybe(() => s["maxItems"] = 2 + random.Next(3));
                    if (random.Next(4) == 0)
                    {
                        s["contains"] = new JsonObject { ["type"] = "integer" };
                        Maybe(() => s["maxContains"] = 2);
                    }

                    if (random.Next(6) == 0)
                    {
                        s = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["enum"] = new JsonArray(1, 12, "a", null) }, ["uniqueItems"] = true };
                    }

                    break;
                case 11:
                    s[random.Next(2) == 0 ? "anyOf" : "oneOf"] = new JsonArray(Schema(depth - 1), Schema(depth - 1), Schema(0));
                    break;
                case 12:
                    s["allOf"] = new JsonArray(Schema(depth - 1), new JsonObject { ["not"] = Schema(0) });
                    break;
                default:
                    Object(s, depth);
                    s["if"] = new JsonObject { ["required"] = new JsonArray("a") };
                    s["then"] = new JsonObject { ["required"] = new JsonArray("b") };
                    Maybe(() => s["else"] = new JsonObject { ["maxProperties"] = 2 });
                    break;
            }

            return s;
        }

        private void Object(JsonObject s, int depth)
        {
            s["type"] = "object";
            JsonObject properties = [];
            foreach (string name in s_names)
            {
                Maybe(() => properties[name] = Schema(depth - 1));
            }

            s["properties"] = properties;
            Maybe(() => s["required"] = new JsonArray([.. properties.Select(p => (JsonNode)p.Key).Where(_ => random.Next(2) == 0)]));
            Maybe(() => s["additionalProperties"] = random.Next(2) == 0 ? JsonValue.Create(false) : Schema(0));
            if (random.Next(4) == 0)
            {
                s["patternProperties"] = new JsonObject { ["^n"] = Schema(0), ["[0-9]$"] = new JsonObject { ["type"] = new JsonArray("integer", "string") } };
            }

            if (random.Next(4) == 0)
            {
                s["minProperties"] = random.Next(3);
                Maybe(() => s["maxProperties"] = 3);
            }

            if (random.Next(5) == 0)
            {
                s["dependentRequired"] = new JsonObject { ["a"] = new JsonArray("b"), ["b"] = new JsonArray("c") };
            }

            if (random.Next(5) == 0)
            {
                s["propertyNames"] = new JsonObject { ["pattern"] = "^[a-z0-9]" };
            }
        }

        private void Maybe(Action set)
        {
            if (random.Next(2) == 0)
            {
                set();
            }
        }
    }
}
