using System.Runtime.CompilerServices;
using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>Compiles grammars for one vocabulary and keeps the latest ones. Safe for concurrent use.</summary>
internal sealed class GrammarCompiler
{
    private const int MaxKept = 64;
    private const int MaxRefused = 256;

    /// <summary>Time for which a refusal is cached.</summary>
    internal static readonly TimeSpan RefusedFor = TimeSpan.FromMinutes(5);

    /// <summary>Most bytes of masks that the kept grammars may hold together.</summary>
    internal const long MaxKeptBytes = 128L << 20;

    private static readonly ConditionalWeakTable<GemmaTokenizer, GrammarCompiler> s_compilers = [];

    // Each may take 100 MB before it is refused; others wait until one has ended.
    private static readonly SemaphoreSlim s_begun = new(8);

    private readonly Dictionary<string, (CompiledGrammar Grammar, long Used)> _kept = [];
    private readonly Dictionary<string, (Exception Reason, long At)> _refused = [];
    private readonly Dictionary<string, Task> _making = [];
    private readonly Lock _lock = new();
    private long _uses;

    public GrammarCompiler(VocabularyTrie vocabulary) => Vocabulary = vocabulary;

    public VocabularyTrie Vocabulary { get; }

    /// <summary>Bytes of masks that the kept grammars hold.</summary>
    internal long CachedBytes => _kept.Values.Sum(k => k.Grammar.CachedBytes);

    /// <summary>Refusals that are remembered.</summary>
    internal int RefusedCount => _refused.Count;

    /// <summary>The compiler of a tokenizer; the vocabulary is prepared when it is first asked for.</summary>
    public static GrammarCompiler For(GemmaTokenizer tokenizer) => s_compilers.GetValue(tokenizer, static t =>
    {
        byte[][] tokens = new byte[t.VocabularySize][];
        for (int id = 0; id < tokens.Length; id++)
        {
            tokens[id] = id == t.EndOfTurnId || id == t.StartOfTurnId ? [] : t.GetBytes(id).ToArray();
        }

        return new GrammarCompiler(new VocabularyTrie(tokens));
    });

    /// <summary>Any JSON document.</summary>
    public CompiledGrammar Json(JsonSchemaOptions? options = null) => JsonSchema(JsonElement.Parse("true"), options);

    /// <inheritdoc cref="JsonSchemaCompiler.Compile"/>
    public CompiledGrammar JsonSchema(JsonElement schema, JsonSchemaOptions? options = null)
    {
        options ??= new JsonSchemaOptions();
        return Wait(KeepAsync($"schema {options} {schema.GetRawText()}", () => new CompiledGrammar(Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(schema, options)))));
    }

    /// <summary>Texts that an ECMA-262 regular expression matches as a whole.</summary>
    /// <exception cref="ArgumentException">The expression is malformed, or matches nothing.</exception>
    /// <exception cref="NotSupportedException">It uses what an automaton cannot decide, or is too complex.</exception>
    public CompiledGrammar Regex(string pattern) => Wait(KeepAsync("regex " + pattern, () => new CompiledGrammar(Vocabulary, new LexerSymbol(RegexLexer(pattern)))));

    private static CompiledGrammar Wait(ValueTask<CompiledGrammar> grammar) => grammar.AsTask().GetAwaiter().GetResult();

    internal static RegexLexer RegexLexer(string pattern)
    {
        using GrammarWork.Scope limits = GrammarWork.Compiling();
        RegexArena arena = new();
        try
        {
            RegexTerm term = EcmaRegex.Compile(arena, pattern, wholeText: true);
            return arena.IsLive(term) ? new RegexLexer(arena, term, CharSpelling.Raw) : throw new ArgumentException($"No text matches the regular expression '{pattern}'.");
        }
        catch (FormatException e)
        {
            throw new ArgumentException($"The regular expression '{pattern}' is malformed: {e.Message}.");
        }
        catch (NotSupportedException e) when (e is not GrammarComplexityException)
        {
            throw new NotSupportedException($"The regular expression cannot be enforced: {e.Message}.");
        }
        catch (InsufficientExecutionStackException)
        {
            throw new NotSupportedException("The regular expression nests too deeply.");
        }
    }

    /// <summary>
    /// A grammar made by <paramref name="make"/>, or the one made before under the same key. It may take seconds: it is made on a thread of its own, in turns with other
    /// work of this kind (<see cref="TimeSlices"/>), neither on the engine's nor on the caller's.
    /// </summary>
    /// <exception cref="NotSupportedException">It cannot be enforced, or takes more work than a grammar may.</exception>
    /// <exception cref="ArgumentException">It is malformed, or nothing satisfies it.</exception>
    /// <exception cref="OperationCanceledException"><paramref name="cancellation"/> was.</exception>
    internal async ValueTask<CompiledGrammar> KeepAsync(string key, Func<CompiledGrammar> make, CancellationToken cancellation = default)
    {
        key = Short(key);
        while (true)
        {
            TaskCompletionSource? mine = null;
            Task? others;
            lock (_lock)
            {
                if (_kept.TryGetValue(key, out (CompiledGrammar Grammar, long) found) && found.Grammar.CachedBytes < MaxKeptBytes / 2)
                {
                    _kept[key] = (found.Grammar, ++_uses);
                    Trim();
                    return found.Grammar;
                }

                if (_refused.TryGetValue(key, out (Exception Reason, long At) refused) && Environment.TickCount64 - refused.At < RefusedFor.TotalMilliseconds)
                {
                    throw refused.Reason is ArgumentException ? new ArgumentException(refused.Reason.Message, refused.Reason) : new NotSupportedException(refused.Reason.Message, refused.Reason);
                }

                if (!_making.TryGetValue(key, out others))
                {
                    mine = new(TaskCreationOptions.RunContinuationsAsynchronously);
                    _making[key] = mine.Task;
                }
            }

            if (mine is not null)
            {
                return await MakeAsync(key, make, mine, cancellation).ConfigureAwait(false);
            }

            // Somebody else is making it: what comes of that is found above. Where they gave up, it is made here.
            await others!.WaitAsync(cancellation).ConfigureAwait(false);
        }
    }

    private async Task<CompiledGrammar> MakeAsync(string key, Func<CompiledGrammar> make, TaskCompletionSource done, CancellationToken cancellation)
    {
        try
        {
            await s_begun.WaitAsync(cancellation).ConfigureAwait(false);
            try
            {
                return await Task.Factory.StartNew(() => Make(key, make, cancellation), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default).ConfigureAwait(false);
            }
            finally
            {
                s_begun.Release();
            }
        }
        finally
        {
            lock (_lock)
            {
                _making.Remove(key);
            }

            done.SetResult();
        }
    }

    private CompiledGrammar Make(string key, Func<CompiledGrammar> make, CancellationToken cancellation)
    {
        TimeSlices.Begin(cancellation);
        try
        {
            using GrammarWork.Scope limits = GrammarWork.CompilingInSlices(cancellation);
            CompiledGrammar grammar = make();
            grammar.Prepare();
            lock (_lock)
            {
                _kept[key] = (grammar, ++_uses);
                Trim();
            }

            return grammar;
        }
        catch (Exception e) when (e is NotSupportedException or ArgumentException)
        {
            lock (_lock)
            {
                if (_refused.Count >= MaxRefused)
                {
                    _refused.Remove(_refused.MinBy(r => r.Value.At).Key);
                }

                _refused[key] = (e, Environment.TickCount64);
            }

            throw;
        }
        finally
        {
            TimeSlices.End();
        }
    }

    /// <summary>Long keys would be most of the memory.</summary>
    private static string Short(string key) =>
        key.Length <= 256 ? key : Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.Unicode.GetBytes(key)));

    /// <summary>Lets go of the grammars that were not used for longest until few enough with few enough masks are kept. Requests keep their own.</summary>
    private void Trim()
    {
        while (_kept.Count > MaxKept || (_kept.Count > 1 && CachedBytes > MaxKeptBytes))
        {
            _kept.Remove(_kept.MinBy(k => k.Value.Used).Key);
        }
    }
}
