using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Turns a JSON Schema (draft 4 to 2020-12) into a node that accepts exactly its instances, in the spellings that are generated. Schemas are
/// brought into disjunctive form, one level at a time and on demand: an object's or array's children are conjunctions of schemas again, so
/// that recursion closes by itself.
/// </summary>
internal sealed partial class JsonSchemaCompiler
{
    private const int MaxAlternatives = 1_500;
    private const int MaxNodes = 30_000;
    private const int MaxDepth = 400;
    private const int MaxNames = 3_000;

    private readonly JsonSchemaOptions _options;
    private readonly SchemaDocument _document;
    private readonly Dictionary<(SchemaLiteral, bool Wide), Conjunction[]> _dnf = [];
    private readonly HashSet<(SchemaLiteral, bool Wide)> _inProgress = [];
    private readonly Dictionary<SchemaLiterals, ValueNode> _nodes = [];
    private readonly Dictionary<ValueNode, Conjunction[]> _expanded = [];
    private readonly HashSet<ValueNode> _expanding = [];
    private readonly Dictionary<ValueNode, bool> _empty = [];
    private readonly HashSet<ValueNode> _evaluating = [];
    private readonly Dictionary<ObjectConstraint, ObjectMatcher> _objectMatchers = new(ReferenceEqualityComparer.Instance as IEqualityComparer<ObjectConstraint>);
    private readonly Conjunction _any;
    private ObjectMatcher? _anyObject;
    private ArrayMatcher? _anyArray;
    private readonly bool _hasFormats; // or other keywords with more texts than are written
    private bool _wide; // Approximate from above: what any reader accepts, not what all of them do.
    private bool _assumedEmpty;
    private bool _assumedNonEmpty;
    private int _depth;
    private int _matcherCount;

    private JsonSchemaCompiler(JsonElement root, JsonSchemaOptions options)
    {
        _options = options;
        _document = new SchemaDocument(root);
        _hasFormats = root.ValueKind == JsonValueKind.Object && root.GetRawText() is var text && (text.Contains("ormat", StringComparison.Ordinal) || text.Contains("ncoding", StringComparison.Ordinal) || text.Contains("$comment", StringComparison.Ordinal) || text.Contains("\\u", StringComparison.Ordinal));
        _any = new Conjunction(JsonTypes.All, Arena.All, NumberConstraint.None, null, null);
    }

    public RegexArena Arena { get; } = new();

    /// <summary>Compiles a schema.</summary>
    /// <exception cref="NotSupportedException">Something cannot be enforced; the message names the JSON pointer of the keyword.</exception>
    /// <exception cref="ArgumentException">The schema is malformed, or nothing satisfies it.</exception>
    public static ValueNode Compile(JsonElement schema, JsonSchemaOptions? options = null)
    {
        using GrammarWork.Scope limits = GrammarWork.Compiling();
        try
        {
            JsonSchemaCompiler compiler = new(schema, options ?? new JsonSchemaOptions());
            ValueNode root = compiler.NodeOf(SchemaLiterals.Of(compiler._document.Root.Literal));
            if (root.IsEmpty)
            {
                throw new ArgumentException("Nothing satisfies the JSON schema: its constraints contradict each other.");
            }

            compiler.Explore(root);
            compiler.LimitNesting(root);
            return root;
        }
        catch (InsufficientExecutionStackException)
        {
            throw new NotSupportedException("The JSON schema nests too deeply.");
        }
        catch (GrammarComplexityException e)
        {
            throw new NotSupportedException($"The JSON schema is too complex: {e.What}. Simplify it, or split it into smaller ones.");
        }
    }

    /// <summary>Any JSON value.</summary>
    public static ValueNode AnyJson(JsonSchemaOptions? options = null) => Compile(JsonElement.Parse("true"), options);

    public ValueNode NodeOf(SchemaLiterals literals)
    {
        if (!_nodes.TryGetValue(literals, out ValueNode? node))
        {
            if (_nodes.Count >= MaxNodes)
            {
                throw new GrammarComplexityException("it has more than " + MaxNodes + " distinct places for values");
            }

            _nodes[literals] = node = new ValueNode(this, _nodes.Count, literals);
        }

        return node;
    }

    public Shape ShapeOf(ValueNode node)
    {
        using GrammarWork.Scope whole = GrammarWork.Whole();
        Conjunction[] alternatives = Expand(node);
        JsonTypes types = JsonTypes.None;
        List<RegexTerm> texts = [], numbers = [];
        List<ObjectMatcher> objects = [];
        List<ArrayMatcher> arrays = [];
        foreach (Conjunction c in alternatives)
        {
            types |= c.Types;
            if (c.Types.HasFlag(JsonTypes.String))
            {
                texts.Add(Bounded(c.Text, 1));
            }

            if (c.Types.HasFlag(JsonTypes.Number))
            {
                numbers.Add(NumberSpelling.Of(Arena, c.Number));
            }
        }

        AddMatchers(alternatives, objects, arrays);
        return new Shape(
            types.HasFlag(JsonTypes.Null), types.HasFlag(JsonTypes.True), types.HasFlag(JsonTypes.False),
            LexerOf(texts, CharSpelling.JsonString), LexerOf(numbers, CharSpelling.Raw), [.. objects], [.. arrays]);
    }

    /// <summary>True if no finite value satisfies the node (the least fixpoint: endless recursion is empty).</summary>
    public bool IsEmpty(ValueNode node)
    {
        if (_empty.TryGetValue(node, out bool known))
        {
            return known;
        }

        if (_evaluating.Contains(node))
        {
            _assumedEmpty = true;
            return true;
        }

        if (_expanding.Contains(node))
        {
            _assumedNonEmpty = true;
            return false;
        }

        CheckTime();
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        (bool outerEmpty, bool outerNonEmpty) = (_assumedEmpty, _assumedNonEmpty);
        (_assumedEmpty, _assumedNonEmpty) = (false, false);
        Conjunction[] alternatives = Expand(node);
        _evaluating.Add(node);
        bool empty;
        using (GrammarWork.Whole())
        {
            empty = !alternatives.Any(IsPossible);
        }

        _evaluating.Remove(node);

        // A result that rests on an assumption about a node further up is not cached; at the top there are no assumptions left.
        if (!_assumedNonEmpty && (!empty || !_assumedEmpty || _evaluating.Count == 0))
        {
            _empty[node] = empty;
        }

        (_assumedEmpty, _assumedNonEmpty) = (_evaluating.Count > 0 && (outerEmpty || (_assumedEmpty && empty)), outerNonEmpty || _assumedNonEmpty);
        return empty;
    }

    private void AddMatchers(Conjunction[] alternatives, List<ObjectMatcher> objects, List<ArrayMatcher> arrays)
    {
        if (alternatives.Any(c => c.Types.HasFlag(JsonTypes.Object) && c.Object is null))
        {
            objects.Add(_anyObject ??= MakeObject(new ObjectConstraint()));
        }
        else
        {
            foreach (ObjectConstraint c in alternatives.Where(c => c.Types.HasFlag(JsonTypes.Object)).Select(c => c.Object!).Distinct())
            {
                if (IsPossible(c))
                {
                    objects.Add(MatcherOf(c));
                }
            }
        }

        if (alternatives.Any(c => c.Types.HasFlag(JsonTypes.Array) && c.Array is null))
        {
            arrays.Add(_anyArray ??= MakeArray(new ArrayConstraint()));
        }
        else
        {
            foreach (ArrayConstraint c in alternatives.Where(c => c.Types.HasFlag(JsonTypes.Array)).Select(c => c.Array!).Distinct())
            {
                ArrayMatcher matcher = MakeArray(c);
                if (matcher.IsSatisfiable())
                {
                    arrays.Add(matcher);
                }
            }
        }
    }

    private RegexLexer? LexerOf(List<RegexTerm> terms, CharSpelling spelling)
    {
        RegexTerm term = Arena.Alt(terms);
        return Arena.IsLive(term) ? new RegexLexer(Arena, term, spelling) : null;
    }

    /// <summary>Visits every place of the schema, so that anything unenforceable is found now rather than while generating.</summary>
    private void Explore(ValueNode root)
    {
        HashSet<ValueNode> seen = [root];
        Queue<ValueNode> todo = new([root]);
        while (todo.TryDequeue(out ValueNode? node))
        {
            CheckTime();
            Shape shape = node.Shape;
            foreach (ObjectMatcher matcher in shape.Objects)
            {
                foreach (ValueNode child in matcher.AllNodes())
                {
                    Visit(child);
                }
            }

            foreach (ArrayMatcher matcher in shape.Arrays)
            {
                foreach (ValueNode child in matcher.AllNodes())
                {
                    Visit(child);
                }

                matcher.CheckUnique();
            }
        }

        void Visit(ValueNode child)
        {
            if (seen.Add(child) && !child.IsEmpty)
            {
                todo.Enqueue(child);
            }
        }
    }

    private Conjunction[] Expand(ValueNode node)
    {
        if (_expanded.TryGetValue(node, out Conjunction[]? known))
        {
            return known;
        }

        if (!_expanding.Add(node))
        {
            throw new NotSupportedException("The JSON schema refers to itself without a value in between, which cannot be decided.");
        }

        bool outer = _wide;
        _wide = false;
        try
        {
            Conjunction[] result = [_any];
            foreach (SchemaLiteral literal in node.Literals.All)
            {
                try
                {
                    result = Product(result, Dnf(literal));
                }
                catch (NotSupportedException e) when (e is not GrammarComplexityException && !e.Message.StartsWith("The JSON schema", StringComparison.Ordinal))
                {
                    throw new NotSupportedException($"The JSON schema cannot be enforced at '{_document[literal.Id].Path}': {e.Message}. Remove the keyword that needs it, or simplify it.");
                }
            }

            return _expanded[node] = result;
        }
        finally
        {
            _wide = outer;
            _expanding.Remove(node);
        }
    }

    /// <summary>Texts without a longest one, kept to the limit where that leaves so many of them.</summary>
    private RegexTerm Bounded(RegexTerm texts, long least)
    {
        if (_options.MaxTextLength is not { } most || !Arena.IsInfinite(texts))
        {
            return texts;
        }

        RegexTerm bounded = Arena.And(texts, Arena.Repeat(Arena.AnyChar, 0, most));
        return (least == 1 ? Arena.IsLive(bounded) : Arena.CountTexts(bounded, least) >= least) ? bounded : texts;
    }

    private bool IsPossible(Conjunction c) =>
        (c.Types & (JsonTypes.Null | JsonTypes.True | JsonTypes.False | JsonTypes.String)) != 0
        || (c.Types.HasFlag(JsonTypes.Number) && Arena.IsLive(NumberSpelling.Of(Arena, c.Number)))
        || (c.Types.HasFlag(JsonTypes.Array) && (c.Array is null || (c.Array.Min == 0 && c.Array.Contains.Count == 0) || MakeArray(c.Array).IsSatisfiable()))
        || (c.Types.HasFlag(JsonTypes.Object) && (c.Object is null || IsPossible(c.Object)));

    private bool IsPossible(ObjectConstraint c) =>
        (c.Required.Count == 0 && c.Min == 0 && c.Contains.Count == 0) || MatcherOf(c).IsSatisfiable();

    private static void CheckTime() => GrammarWork.Spend(GrammarWork.State);
}
