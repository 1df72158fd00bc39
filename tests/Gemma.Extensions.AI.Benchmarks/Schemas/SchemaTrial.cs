using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>One random schema: what its grammars allow is validated by others, and what others call valid is read by its grammar.</summary>
internal sealed class SchemaTrial
{
    private static readonly JsonDocumentOptions s_documents = new() { MaxDepth = 512, AllowDuplicateProperties = false };

    private readonly List<string> _texts = [];
    private readonly List<string> _rejected = [];
    private readonly List<string> _instances = [];

    public required int Seed { get; init; }

    public required string Schema { get; init; }

    /// <summary>The keywords that occur in the schema.</summary>
    public required IReadOnlySet<string> Keywords { get; init; }

    /// <summary>Why the schema was refused; null where it was compiled, or where nothing satisfies it.</summary>
    public string? Refusal { get; private set; }

    /// <summary>Whether the grammar says that nothing satisfies the schema.</summary>
    public bool Unsatisfiable { get; private set; }

    /// <summary>What was drawn under the grammars.</summary>
    public IReadOnlyList<string> Texts => _texts;

    /// <summary>Documents that were made from the schema without a grammar, and that JsonSchema.Net calls valid.</summary>
    public IReadOnlyList<string> Instances => _instances;

    /// <summary>Those of the <see cref="Instances"/> that the grammar does not read.</summary>
    public IReadOnlyList<string> Rejected => _rejected;

    /// <summary>Those of the <see cref="Texts"/> that JsonSchema.Net calls invalid, and where it departs from the specification in that, how.</summary>
    public List<(string Text, string? Departure)> Invalid { get; } = [];

    /// <summary>Draws that did not come to their end.</summary>
    public int Unfinished { get; private set; }

    /// <summary>Runs one trial.</summary>
    /// <param name="seed">Decides the schema and everything that is drawn.</param>
    /// <param name="tokenizer">Its vocabulary is drawn from.</param>
    /// <param name="draws">Texts drawn of each grammar: the one that users get, and one of open objects with properties in any order.</param>
    /// <exception cref="Exception">A grammar failed with something that is no refusal: a fault.</exception>
    public static SchemaTrial Run(int seed, GemmaTokenizer tokenizer, int draws)
    {
        JsonObject schema = new SchemaGenerator(new Random(seed)).Next();
        SchemaTrial trial = new() { Seed = seed, Schema = schema.ToJsonString(), Keywords = SchemaKeywords.Of(schema) };
        trial.Run(schema, tokenizer, draws);
        return trial;
    }

    private void Run(JsonObject schema, GemmaTokenizer tokenizer, int draws)
    {
        JsonElement element = JsonElement.Parse(Schema);
        NetValidator validator = new(element);
        InstanceGenerator generator = new(schema, new Random(Seed));
        HashSet<decimal> divisors = [];
        Divisors(element, divisors);
        for (int i = 0; i < 30 && _instances.Count < 5; i++)
        {
            string text = generator.Next();
            JsonElement document = JsonElement.Parse(text);
            if (!_instances.Contains(text) && validator.IsValid(document) && divisors.All(d => Agree(document, d)))
            {
                _instances.Add(text);
            }
        }

        Random random = new(Seed);
        GrammarWalk walk = new(tokenizer);
        foreach (JsonSchemaOptions options in (ReadOnlySpan<JsonSchemaOptions>)[new() { Rfc3339Times = true, ClosesObjects = true }, new() { Rfc3339Times = true, AnyPropertyOrder = true }])
        {
            CompiledGrammar grammar;
            try
            {
                grammar = new CompiledGrammar(GrammarCompiler.For(tokenizer).Vocabulary, new ValueSymbol(JsonSchemaCompiler.Compile(element, options)));
                grammar.Prepare();
            }
            catch (NotSupportedException e)
            {
                Refusal = e.Message;
                break;
            }
            catch (ArgumentException e) when (e.Message.StartsWith("Nothing satisfies", StringComparison.Ordinal))
            {
                Unsatisfiable = true;
                _rejected.AddRange(_instances);
                break;
            }

            for (int i = 0; i < draws; i++)
            {
                Draw(walk.Draw(grammar.CreateConstraint([tokenizer.EndOfTurnId]), random), validator);
            }

            if (options.AnyPropertyOrder)
            {
                _rejected.AddRange(_instances.Where(text => !Reads(grammar, text, tokenizer)));
            }
        }
    }

    private static void Divisors(JsonElement schema, HashSet<decimal> found)
    {
        foreach (JsonElement part in schema.ValueKind == JsonValueKind.Array ? [.. schema.EnumerateArray()] : schema.ValueKind == JsonValueKind.Object ? schema.EnumerateObject().Select(static p => p.Value) : (IEnumerable<JsonElement>)[])
        {
            Divisors(part, found);
        }

        if (schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("multipleOf", out JsonElement divisor) && divisor.ValueKind == JsonValueKind.Number)
        {
            found.Add(Decimal(divisor));
        }
    }

    /// <summary>Whether readers of decimals and of doubles say the same of the divisibility of all numbers of a document; otherwise no grammar writes it, and rightly.</summary>
    private static bool Agree(JsonElement document, decimal divisor) => document.ValueKind switch
    {
        JsonValueKind.Array => document.EnumerateArray().All(item => Agree(item, divisor)),
        JsonValueKind.Object => document.EnumerateObject().All(p => Agree(p.Value, divisor)),
        JsonValueKind.Number => Decimal(document) % divisor == 0 == double.IsInteger(document.GetDouble() / (double)divisor),
        _ => true,
    };

    private static decimal Decimal(JsonElement number) => decimal.Parse(number.GetRawText(), NumberStyles.Float, CultureInfo.InvariantCulture);

    private void Draw(string? text, NetValidator validator)
    {
        if (text is null)
        {
            Unfinished++;
            return;
        }

        _texts.Add(text);
        using JsonDocument document = JsonDocument.Parse(text, s_documents);
        if (!validator.IsValid(document.RootElement))
        {
            Invalid.Add((text, NetValidator.Departure(document.RootElement, Keywords)));
        }
    }

    private static bool Reads(CompiledGrammar grammar, string text, GemmaTokenizer tokenizer)
    {
        GrammarConstraint constraint = (GrammarConstraint)grammar.CreateConstraint([tokenizer.EndOfTurnId]);
        foreach (byte b in Encoding.UTF8.GetBytes(text))
        {
            if (!constraint.IsAllowed([b]))
            {
                return false;
            }

            constraint.Accept(new byte[] { b });
        }

        return constraint.IsAllowed(tokenizer.EndOfTurnId);
    }
}
