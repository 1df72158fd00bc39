using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// A grammar that compiles never fails while a text is generated, whatever work its masks are; that work is counted, done beside the caller where it exceeds the
/// budget, and changes no mask. What is too much from the start is refused at the start, and refusals are remembered.
/// </summary>
public sealed class GrammarBudgetTests
{
    private const string Ambiguous = "root ::= \"a\" root \"b\" | \"a\" root \"c\" | \"a\" root | \"a\" root \"d\" | \"e\"";
    private const string Empties = "root ::= x{0,10000} \"!\"\nx ::= \"(\" x \")\" | y\ny ::= \"[\" x \"]\" | \"\"";

    public static TheoryData<string> Grammars =>
    [
        "regex ^(a|b)*a(a|b){40}$",
        "regex ^((a{1,1000}b?){1,1000}c?){1,1000}$",
        "regex ^(?=(.*a){12})(?=(.*b){12})(?=(.*c){12}).*$",
        "regex ^(?!.*(abc|bca|cab).{7}x)[^]*y[^]{60}$",
        "gbnf " + Ambiguous,
        "gbnf " + Empties,
        "gbnf root ::= (\"x\" root \"y\" | \"z\"){1,9000}",
        "gbnf root ::= " + string.Concat(Enumerable.Repeat("e ", 2_000)) + "\".\"\ne ::= \"(\" e \")\" | \"\" | f\nf ::= \"(\" f e \")\" | \"\"",
        """schema {"type":"object","patternProperties":{"a.*b.{4}$":{"type":"integer"},"^[ab]*a.{3}":{"minimum":3}},"minProperties":6}""",
        """schema {"type":"array","contains":{"const":"a"},"minContains":300,"maxContains":310,"items":{"enum":["a","b"]}}""",
        """schema {"type":"array","items":{"enum":["a","b","c"]},"allOf":[{"contains":{"const":"a"},"minContains":20,"maxContains":25},{"contains":{"const":"b"},"minContains":20}]}""",
    ];

    [Theory]
    [MemberData(nameof(Grammars))]
    public void ATextIsGeneratedToItsEndOrItsLimit(string grammar)
    {
        for (int seed = 0; seed < 2; seed++)
        {
            ITokenConstraint constraint = Compile(grammar).CreateConstraint([GrammarTestbed.End]);
            GrammarTestbed.RandomText(constraint, new Random(seed), 40, endBias: 0.02, checkMasks: false);
        }
    }

    [Theory]
    [MemberData(nameof(Grammars))]
    public void AMaskBeyondTheBudgetIsTheSameLater(string grammar)
    {
        ITokenConstraint plain = Compile(grammar).CreateConstraint([GrammarTestbed.End]), sliced = Compile(grammar).CreateConstraint([GrammarTestbed.End]);
        using SemaphoreSlim prepared = new(0);
        sliced.WhenPrepared = () => prepared.Release();
        ulong[] expected = new ulong[GrammarTestbed.Vocabulary.MaskWords], actual = new ulong[expected.Length];
        Random random = new(5);
        int late = 0;
        for (int step = 0; step < 25; step++)
        {
            long budget = 500;
            if (!sliced.TryPrepare(ref budget))
            {
                late++;
                Assert.Equal(0, budget);
                Assert.True(prepared.Wait(TimeSpan.FromSeconds(60)), "The mask was not worked out within a minute.");
                while (!sliced.TryPrepare(ref budget))
                {
                    Thread.Yield(); // told a moment before the end
                }
            }

            Assert.InRange(budget, 0, 500);
            plain.TryFillMask(expected);
            sliced.TryFillMask(actual);
            Assert.Equal(expected, actual);
            int[] allowed = [.. GrammarTestbed.TokensIn(expected).Where(static id => id != GrammarTestbed.End)];
            if (allowed.Length == 0)
            {
                break;
            }

            int token = allowed[random.Next(allowed.Length)];
            plain.Accept(token);
            sliced.Accept(token);
        }

        Assert.True(late > 0, "Every mask took less than the budget, so nothing was shown.");
    }

    /// <summary>Parts that may be empty are not begun in as many places as there are of them: the work of a text does not grow with their number.</summary>
    [Theory]
    [InlineData("root ::= x{0,N} \"!\"\nx ::= \"(\" x \")\" | y\ny ::= \"[\" x \"]\" | \"\"")]
    [InlineData("root ::= x{N} \"!\"\nx ::= \"(\" x \")\" | \"\"")]
    [InlineData("root ::= x{7,N} \"!\"\nx ::= \"(\" x* \")\" | [a-z]*")]
    [InlineData("root ::= (x{0,N} y?){0,N} \"!\"\nx ::= \"(\" x \")\" | \"\"\ny ::= \"[\" y \"]\" | \"\"")]
    [InlineData("root ::= ROW \"!\"\nx ::= \"(\" x \")\" | \"\"")]
    [InlineData("root ::= \"<\" ROW \">\" root | \"!\"\nx ::= \"(\" ROW \")\" | \"\"")]
    public void EmptyPartsInARowCostNothing(string grammar)
    {
        long few = Work(grammar, 20), many = Work(grammar, 2_000);
        Assert.True(many > 0 && many <= 2 * few, $"{few} units of work for 20 and {many} for 2,000.");

        static long Work(string grammar, int count)
        {
            string text = grammar.Replace("ROW", string.Join(' ', Enumerable.Repeat("x", count)), StringComparison.Ordinal).Replace("N", count.ToString(System.Globalization.CultureInfo.InvariantCulture), StringComparison.Ordinal);
            ITokenConstraint constraint = Compile("gbnf " + text).CreateConstraint([GrammarTestbed.End]);
            ulong[] mask = new ulong[GrammarTestbed.Vocabulary.MaskWords];
            Random random = new(3);
            using GrammarWork.Scope limit = GrammarWork.Within(1_000_000_000);
            for (int step = 0; step < 60; step++)
            {
                constraint.TryFillMask(mask);
                int[] allowed = [.. GrammarTestbed.TokensIn(mask).Where(static id => id != GrammarTestbed.End)];
                if (allowed.Length == 0)
                {
                    break;
                }

                constraint.Accept(allowed[random.Next(allowed.Length)]);
            }

            return 1_000_000_000 - GrammarWork.Left;
        }
    }

    /// <summary>The texts of a repetition are the same, whether its item may be empty or not.</summary>
    [Theory]
    [InlineData("root ::= x{0,3}\nx ::= \"(\" x \")\" | \"\"", "root ::= z{0,3}\nz ::= \"(\" z? \")\"")]
    [InlineData("root ::= x{2}\nx ::= \"(\" x \")\" | \"\"", "root ::= z{0,2}\nz ::= \"(\" z? \")\"")]
    [InlineData("root ::= x+\nx ::= \"(\" x \")\" | \"\"", "root ::= z*\nz ::= \"(\" z? \")\"")]
    [InlineData("root ::= x x x x\nx ::= \"(\" x \")\" | \"\"", "root ::= z{0,4}\nz ::= \"(\" z? \")\"")]
    [InlineData("root ::= x* \"[\" x y x\nx ::= \"(\" x \")\" | [a-b]{0,2}\ny ::= \"[\" x \"]\" | x", "root ::= z* \"[\" z? (z | \"[\" z? \"]\")? z?\nz ::= \"(\" z? \")\" | [a-b]{1,2}")]
    [InlineData("root ::= (x y){0,2}\nx ::= \"(\" x \")\" | \"\"\ny ::= \"[\" y \"]\" | \"\"", "root ::= ((z w? | w)){0,2}\nz ::= \"(\" z? \")\"\nw ::= \"[\" w? \"]\"")]
    public void RepetitionsOfEmptyPartsHaveTheSameTexts(string grammar, string without)
    {
        CompiledGrammar first = Compile("gbnf " + grammar), second = Compile("gbnf " + without);
        int accepted = 0;
        foreach (string text in Texts("()[]ab", 6))
        {
            bool expected = Accepts(second, text);
            Assert.True(Accepts(first, text) == expected, $"'{text}' should be {(expected ? "allowed" : "impossible")}.");
            accepted += expected ? 1 : 0;
        }

        Assert.InRange(accepted, 3, 40_000);

        // Of texts that can go on: the others have none.
        IEnumerable<string> Texts(string letters, int length)
        {
            List<string> all = [""];
            for (int i = 0; i < all.Count && all[i].Length < length; i++)
            {
                GrammarConstraint at = (GrammarConstraint)first.CreateConstraint([GrammarTestbed.End]), other = (GrammarConstraint)second.CreateConstraint([GrammarTestbed.End]);
                at.Accept(Encoding.UTF8.GetBytes(all[i]));
                other.Accept(Encoding.UTF8.GetBytes(all[i]));
                foreach (char c in letters)
                {
                    byte[] next = [(byte)c];
                    Assert.True(at.IsAllowed(next) == other.IsAllowed(next), $"'{all[i]}' and '{c}'");
                    if (at.IsAllowed(next))
                    {
                        all.Add(all[i] + c);
                    }
                }
            }

            return all;
        }

        static bool Accepts(CompiledGrammar grammar, string text)
        {
            GrammarConstraint at = (GrammarConstraint)grammar.CreateConstraint([GrammarTestbed.End]);
            at.Accept(Encoding.UTF8.GetBytes(text));
            return at.IsAllowed(GrammarTestbed.End);
        }
    }

    [Theory]
    [InlineData(1_000, "parts in a row that may be empty")]
    [InlineData(3_000, "can begin in more than")]
    public void TooManyDifferentEmptyPartsAreRefused(int count, string reason)
    {
        string grammar = "root ::= " + string.Join(' ', Enumerable.Range(0, count).Select(i => "x" + i)) + " \"!\"\n" + string.Concat(Enumerable.Range(0, count).Select(i => $"x{i} ::= \"(\" x{i} \")\" | \"\"\n"));
        Assert.Contains(reason, Assert.Throws<NotSupportedException>(() => Compile("gbnf " + grammar)).Message);
    }

    /// <summary>What is counted too low ends by the clock, which is looked at after some work; both run on from one budget to the next.</summary>
    [Fact]
    public void ABudgetEndsByTheClockToo()
    {
        long now = 0, ticksPerUnit = System.Diagnostics.Stopwatch.Frequency * 4 / 1_000_000_000;
        int spent = 0;
        Assert.Throws<GrammarBudgetException>(() =>
        {
            using GrammarWork.Scope limits = GrammarWork.Within(1_000_000, () => now);
            for (spent = 0; spent < 1_000_000; spent += 10)
            {
                GrammarWork.Spend(10);
                now += 1000 * ticksPerUnit; // a hundred times what is counted
            }
        });
        Assert.InRange(spent, 10_000, 40_000);

        using (GrammarWork.Scope limits = GrammarWork.Within(1_000_000, () => now))
        {
            GrammarWork.Spend(300_000);
            Assert.InRange(GrammarWork.Left, 600_000, 700_000);
            now += 900_000 * ticksPerUnit;
            Assert.InRange(GrammarWork.Left, 90_000, 100_000);
            using (GrammarWork.Scope whole = GrammarWork.Whole())
            {
                GrammarWork.Spend(10_000_000);
                now += 200_000 * ticksPerUnit;
            }

            Assert.Equal(0, GrammarWork.Left);
        }

        // What goes on beyond the units before the clock is looked at is taken from the rest.
        using (GrammarWork.Scope limits = GrammarWork.Within(1_000_000, () => now))
        {
            foreach (int left in (int[])[700_000, 400_000, 100_000, 0])
            {
                using (GrammarWork.Scope whole = GrammarWork.Whole())
                {
                    GrammarWork.Spend(300_000);
                }

                Assert.Equal(left, GrammarWork.Left);
            }
        }

        Assert.Throws<GrammarBudgetException>(() =>
        {
            using GrammarWork.Scope limits = GrammarWork.Within(1_000_000);
            using (GrammarWork.Scope whole = GrammarWork.Whole())
            {
                GrammarWork.Spend(2_000_000);
            }

            GrammarWork.Spend(1);
        });
    }

    [Fact]
    public void AMaskThatIsStoppedEnds()
    {
        GrammarConstraint constraint = (GrammarConstraint)Compile("gbnf " + Ambiguous).CreateConstraint([GrammarTestbed.End]);
        constraint.Accept(Encoding.UTF8.GetBytes(new string('a', 300)));
        using ManualResetEventSlim ended = new();
        constraint.WhenPrepared = ended.Set;
        long budget = 100;
        Assert.False(constraint.TryPrepare(ref budget));
        constraint.Stop();
        Assert.True(ended.Wait(TimeSpan.FromSeconds(60)));
    }

    /// <summary>The tables of an automaton are bounded: beyond, states are made again, and masks stay what they are.</summary>
    [Theory]
    [InlineData("^(a|b)*a(a|b){40}$")]
    [InlineData("^(?=(.*a){5})(?=(.*b){5})[ab]*x?[ab日]{3,90}$")]
    [InlineData("^(?!.*aab)[abx]*y?[^]{30}$")]
    public void FullTablesChangeNoMask(string pattern)
    {
        CompiledGrammar large = Compile("regex " + pattern), small = new(GrammarTestbed.Vocabulary, new LexerSymbol(Lexer(pattern, out RegexArena arena)));
        ITokenConstraint expected = large.CreateConstraint([GrammarTestbed.End]), actual = small.CreateConstraint([GrammarTestbed.End]);
        ulong[] x = new ulong[GrammarTestbed.Vocabulary.MaskWords], y = new ulong[x.Length];
        Random random = new(1);
        for (int step = 0; step < 60; step++)
        {
            expected.TryFillMask(x);
            actual.TryFillMask(y);
            Assert.Equal(x, y);
            int[] allowed = [.. GrammarTestbed.TokensIn(x).Where(static id => id != GrammarTestbed.End)];
            if (allowed.Length == 0)
            {
                break;
            }

            int token = allowed[random.Next(allowed.Length)];
            expected.Accept(token);
            actual.Accept(token);
        }

        Assert.True(arena.Rows == arena.MaxRows, "The table was never full, so nothing was shown.");
        Assert.InRange(arena.Count, 1, 3000);
    }

    private static RegexLexer Lexer(string pattern, out RegexArena arena)
    {
        arena = new RegexArena(maxTerms: 3000, maxRows: 8);
        return new RegexLexer(arena, EcmaRegex.Compile(arena, pattern, wholeText: true), CharSpelling.Raw);
    }

    /// <summary>What a mask allows can be accepted, also where a text is read in more ways than are followed.</summary>
    [Fact]
    public void OfTooManyWaysEnoughAreKept()
    {
        VocabularyTrie vocabulary = new([[], .. Enumerable.Range(0, 256).Select(b => new[] { (byte)b }), "aaaaaaaa"u8.ToArray(), "aaaaaaaaaaaaaaaaaaaae"u8.ToArray(), "aaaaaaaaaaed"u8.ToArray(), "bcbcdb"u8.ToArray(), "ccccccccccccccdd"u8.ToArray()]);
        CompiledGrammar grammar = new(vocabulary, GbnfCompiler.Compile(Ambiguous));
        ulong[] mask = new ulong[vocabulary.MaskWords];
        Random random = new(0);
        ITokenConstraint constraint = grammar.CreateConstraint([0]);
        for (int step = 0; step < 5; step++)
        {
            constraint.TryFillMask(mask);
            int[] allowed = [.. GrammarTestbed.TokensIn(mask).Where(static id => id != 0)];
            if (allowed.Length == 0)
            {
                break;
            }

            Assert.All(allowed, id => Assert.True(constraint.IsAllowed(id)));
            constraint.Accept(allowed[random.Next(4) == 0 ? random.Next(allowed.Length) : allowed.Length - 1]);
        }
    }

    /// <summary>Rules nest as deep as a text is long, on a thread with little stack, and end all at once.</summary>
    [Theory]
    [InlineData("root ::= \"x\" root y | \"z\"\ny ::= \"(\" y \")\" | \"\"")]
    [InlineData("root ::= \"x\" root [y]* [w]* | \"z\"")]
    public void DeepRulesNeedNoStack(string grammar)
    {
        bool canEnd = false, allowed = false;
        Exception? failure = null;
        Thread thread = new(
            () =>
            {
                try
                {
                    GrammarConstraint constraint = (GrammarConstraint)Compile("gbnf " + grammar).CreateConstraint([GrammarTestbed.End]);
                    constraint.Accept(Encoding.UTF8.GetBytes(new string('x', 3_000) + "z"));
                    canEnd = constraint.IsAllowed(GrammarTestbed.End);
                    allowed = constraint.IsAllowed("y"u8) || constraint.IsAllowed("()"u8);
                }
                catch (Exception e)
                {
                    failure = e;
                }
            },
            256 << 10);
        thread.Start();
        thread.Join();
        Assert.Null(failure);
        Assert.True(canEnd && allowed);
    }

    [Theory]
    [InlineData("""schema {"type":"array","allOf":[{"contains":{"const":"a"},"minContains":100,"maxContains":120},{"contains":{"const":"b"},"minContains":100,"maxContains":120},{"contains":{"const":"c"},"minContains":100,"maxContains":120}],"items":{"enum":["a","b","c"]}}""", "counting the items")]
    [InlineData("""schema {"type":"object","patternProperties":{"a[^]{20}$":{"type":"integer"},"b[^]{21}$":{"minimum":3},"c[^]{9}$":{"maximum":3}}}""", "patternProperties")]
    [InlineData("""schema {"type":"object","patternProperties":{"a":{"type":"array","uniqueItems":true,"items":{"enum":[1,2,3]}},"b":{"contains":{"const":1}},"c":{"type":"string"}}}""", "uniqueItems")]
    public void WhatCannotBeKeptUpIsRefusedAtTheStart(string grammar, string reason) =>
        Assert.Contains(reason, Assert.Throws<NotSupportedException>(() => Compile(grammar)).Message);

    [Fact]
    public void RefusalsAreRememberedButNotWithoutBound()
    {
        GrammarCompiler compiler = new(GrammarTestbed.Vocabulary);
        int made = 0;
        for (int i = 0; i < 5; i++)
        {
            Assert.Contains("no", Assert.Throws<NotSupportedException>(() => Keep(compiler, "key", () => Refuse("no"))).Message);
            Assert.Contains("bad", Assert.Throws<ArgumentException>(() => Keep(compiler, "other", () => throw new ArgumentException($"bad {++made}"))).Message);
        }

        Assert.Equal(2, made);
        for (int i = 0; i < 1000; i++)
        {
            Assert.Throws<NotSupportedException>(() => Keep(compiler, "key" + new string('x', 1000) + i, () => Refuse("no")));
        }

        Assert.InRange(compiler.RefusedCount, 1, 256);

        CompiledGrammar Refuse(string why)
        {
            made++;
            throw new NotSupportedException(why);
        }
    }

    [Fact]
    public void ACompilationIsCancelledAndThenMadeByTheNext()
    {
        GrammarCompiler compiler = new(GrammarTestbed.Vocabulary);
        using CancellationTokenSource cancelled = new();
        Assert.ThrowsAny<OperationCanceledException>(() => Keep(compiler, "key", () =>
        {
            cancelled.Cancel();
            return Endless();
        }, cancelled.Token));
        Assert.Contains("steps", Assert.Throws<GrammarComplexityException>(() => Keep(compiler, "key", Endless)).Message);

        static CompiledGrammar Endless()
        {
            while (true)
            {
                GrammarWork.Spend(500_000);
            }
        }
    }

    /// <summary>What compiles for seconds holds up neither its caller's thread nor what others compile, and ends when it is cancelled, also while it waits.</summary>
    [Fact]
    public async Task HostileCompilationsHoldUpNobody()
    {
        GrammarCompiler compiler = new(GrammarTestbed.Vocabulary);
        using CancellationTokenSource cancelled = new();
        using SemaphoreSlim begun = new(0);
        Task[] hostile = [.. Enumerable.Range(0, 30).Select(i => compiler.KeepAsync("hostile " + i, () => Endless(begun), cancelled.Token).AsTask())];
        Assert.All(hostile, task => Assert.False(task.IsCompletedSuccessfully));
        await begun.WaitAsync(TestContext.Current.CancellationToken);
        Task innocent = Task.Run(
            () =>
            {
                using GrammarWork.Scope limits = GrammarWork.CompilingInSlices(CancellationToken.None);
                TimeSlices.Begin();
                try
                {
                    Compile("regex a{1,300}b");
                }
                finally
                {
                    TimeSlices.End();
                }
            },
            TestContext.Current.CancellationToken);
        await innocent;
        await cancelled.CancelAsync();
        foreach (Task task in hostile)
        {
            await Assert.ThrowsAnyAsync<Exception>(() => task); // cancelled, or refused before
        }

        Assert.NotNull(await compiler.KeepAsync("innocent", () => Compile("regex a{1,300}b"), TestContext.Current.CancellationToken));

        static CompiledGrammar Endless(SemaphoreSlim begun)
        {
            begun.Release();
            while (true)
            {
                GrammarWork.Spend(2);
            }
        }
    }

    /// <summary>Time slices are as many after cancellations as before: nobody keeps one, and none is given twice.</summary>
    [Fact]
    public void TurnsAreNotLost()
    {
        int free = Math.Max(1, Environment.ProcessorCount / 2), held = 0, most = 0;
        Thread[] threads = [.. Enumerable.Range(0, 12).Select(t => new Thread(() =>
        {
            Random random = new(t);
            for (int i = 0; i < 200; i++)
            {
                using CancellationTokenSource stop = new();
                if (random.Next(3) == 0)
                {
                    stop.CancelAfter(random.Next(2));
                }

                try
                {
                    TimeSlices.Begin(stop.Token);
                }
                catch (OperationCanceledException)
                {
                    continue;
                }

                try
                {
                    for (int k = random.Next(4); k >= 0; k--)
                    {
                        int now = Interlocked.Increment(ref held);
                        InterlockedMax(ref most, now);
                        Thread.SpinWait(50);
                        Interlocked.Decrement(ref held);
                        TimeSlices.Yield(stop.Token);
                    }
                }
                catch (OperationCanceledException)
                {
                    // Ends all the same.
                }
                finally
                {
                    TimeSlices.End();
                }
            }
        }))];
        Array.ForEach(threads, t => t.Start());
        Array.ForEach(threads, t => t.Join());
        Assert.InRange(most, 1, free);

        // All are free again.
        for (int i = 0; i < free; i++)
        {
            using CancellationTokenSource soon = new(TimeSpan.FromMinutes(1));
            TimeSlices.Begin(soon.Token);
        }

        for (int i = 0; i < free; i++)
        {
            TimeSlices.End();
        }

        static void InterlockedMax(ref int target, int value)
        {
            for (int seen = target; seen < value;)
            {
                seen = Interlocked.CompareExchange(ref target, value, seen) is var before && before == seen ? value : before;
            }
        }
    }

    [Fact]
    public void RequestsThatComeTogetherCompileOnce()
    {
        GrammarCompiler compiler = new(GrammarTestbed.Vocabulary);
        int made = 0;
        using Barrier together = new(6);
        Thread[] threads = [.. Enumerable.Range(0, 6).Select(_ => new Thread(() =>
        {
            together.SignalAndWait();
            Keep(compiler, "key", () =>
            {
                Interlocked.Increment(ref made);
                return Compile("regex a{1,300}b");
            });
        }))];
        Array.ForEach(threads, t => t.Start());
        Array.ForEach(threads, t => t.Join());
        Assert.Equal(1, made);
    }

    /// <summary>A call is a call, however deep its arguments nest, and can be written into the next prompt.</summary>
    [Theory]
    [InlineData(50)]
    [InlineData(509)]
    [InlineData(510)]
    [InlineData(511)]
    [InlineData(3000)]
    [InlineData(20_000)]
    public void ADeepCallIsACall(int depth)
    {
        GemmaTokenizer tokenizer = Text.Tokenizers.Tiny;
        AIFunctionDeclaration tool = AIFunctionFactory.CreateDeclaration("f", "d", JsonElement.Parse("""{"type":"object","properties":{"x":{}},"required":["x"]}"""));
        string arguments = "{\"x\":" + new string('[', depth) + new string(']', depth) + "}", text = "<tool_call>{\"name\":\"f\",\"arguments\":" + arguments + "}</tool_call>";
        if (depth <= 50)
        {
            ITokenConstraint constraint = Constraints.Create(
                tokenizer, new ChatOptions { Tools = [tool], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false }, [tokenizer.EndOfTurnId])!;
            foreach (int id in tokenizer.Encode(text, false))
            {
                Assert.True(constraint.IsAllowed(id));
                constraint.Accept(id);
            }

            Assert.True(constraint.IsAllowed(tokenizer.EndOfTurnId));
        }

        List<AIContent> contents = [];
        ToolCallParser parser = new(false);
        parser.Append(text, contents);
        parser.Flush(contents);
        FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(contents));
        StringBuilder written = new();
        CompactJson.Append(written, Assert.IsType<JsonElement>(call.Arguments!["x"]));
        Assert.Equal(arguments["{\"x\":".Length..^1], written.ToString());
    }

    private static CompiledGrammar Keep(GrammarCompiler compiler, string key, Func<CompiledGrammar> make, CancellationToken cancellation = default) =>
        compiler.KeepAsync(key, make, cancellation).AsTask().GetAwaiter().GetResult();

    private static CompiledGrammar Compile(string grammar)
    {
        string kind = grammar[..grammar.IndexOf(' ')], text = grammar[(kind.Length + 1)..];
        return kind switch
        {
            "regex" => new(GrammarTestbed.Vocabulary, new LexerSymbol(GrammarCompiler.RegexLexer(text))),
            "gbnf" => new(GrammarTestbed.Vocabulary, GbnfCompiler.Compile(text)),
            _ => GrammarTestbed.Schema(text),
        };
    }
}
