using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>A tool that may be called.</summary>
internal sealed record ToolSignature(string Name, JsonElement Parameters);

/// <summary>
/// Tool calls as text: lines <c>&lt;tool_call&gt;{"name":"…","arguments":{…}}&lt;/tool_call&gt;</c> joined by a newline, the name one of the tools',
/// the arguments compact JSON that satisfies that tool's schema.
/// </summary>
internal static class ToolCallGrammar
{
    /// <summary>Levels that are left for what a call travels in: messages are written and read as JSON too, with the same limit.</summary>
    private const int LevelsAround = 8;

    private static readonly string[] s_describing =
    [
        "properties", "additionalProperties", "unevaluatedProperties", "patternProperties", "propertyNames", "minProperties", "enum", "const",
        "$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "dependencies",
    ];

    /// <summary>One call, or several where allowed, the first marker included.</summary>
    /// <exception cref="NotSupportedException">A tool's schema cannot be enforced; the message names the tool and the keyword.</exception>
    public static Rule Calls(ToolMarkup markup, IReadOnlyList<ToolSignature> tools, bool several, JsonSchemaOptions options)
    {
        Rule calls = new("calls");
        calls.Alternatives.Add([new LiteralSymbol(markup.CallStart), .. AfterMarker(markup, tools, several, options)]);
        return calls;
    }

    /// <summary>What follows the first marker.</summary>
    public static Symbol[] AfterMarker(ToolMarkup markup, IReadOnlyList<ToolSignature> tools, bool several, JsonSchemaOptions options)
    {
        Rule envelope = new("envelope");
        foreach (ToolSignature tool in tools)
        {
            string name = Encoding.UTF8.GetString(JsonText.Escape(tool.Name));
            envelope.Alternatives.Add([new LiteralSymbol($"{{\"name\":\"{name}\",\"arguments\":"), new ValueSymbol(Arguments(tool, options)), new LiteralSymbol("}" + markup.CallEnd)]);
        }

        if (!several)
        {
            return [new RuleSymbol(envelope)];
        }

        Rule more = new("more");
        more.Alternatives.Add([]);
        more.Alternatives.Add([new LiteralSymbol("\n" + markup.CallStart), new RuleSymbol(envelope), new RuleSymbol(more)]);
        return [new RuleSymbol(envelope), new RuleSymbol(more)];
    }

    private static ValueNode Arguments(ToolSignature tool, JsonSchemaOptions options)
    {
        try
        {
            return JsonSchemaCompiler.Compile(Arguments(tool.Parameters), options with { AllowWhitespace = false, ClosesObjects = true, MaxNesting = options.MaxNesting - LevelsAround });
        }
        catch (NotSupportedException e)
        {
            throw new NotSupportedException($"The parameters of the tool '{tool.Name}' cannot be enforced. {e.Message}", e);
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"The parameters of the tool '{tool.Name}' are no usable schema. {e.Message}", e);
        }
    }

    private static JsonElement Arguments(JsonElement schema)
    {
        if (schema.ValueKind != JsonValueKind.Object)
        {
            return JsonElement.Parse("""{"type":"object","additionalProperties":false}""");
        }

        JsonObject arguments = JsonObject.Create(schema)!;
        arguments["type"] = ObjectType(arguments);
        if (!s_describing.Any(arguments.ContainsKey))
        {
            arguments["properties"] = new JsonObject(); // A tool that says nothing of its arguments has none.
        }

        return JsonSerializer.SerializeToElement(arguments);
    }

    /// <summary>Whatever else the schema allows, arguments are an object.</summary>
    private static JsonNode ObjectType(JsonObject schema) => schema["type"] switch
    {
        null when !schema.ContainsKey("type") => "object",
        JsonArray types when types.Any(static type => type?.ToString() == "object") => "object",
        JsonValue type when type.ToString() == "object" => "object",
        { } other => throw new ArgumentException($"The JSON schema has {other.ToJsonString()} at '/type', but arguments are an object."),
        _ => throw new ArgumentException("The JSON schema has null at '/type', but arguments are an object."),
    };
}

/// <summary>
/// Free text until the call marker appears, however it is split over tokens; from there the call is enforced. The text may end while no call has begun.
/// </summary>
internal sealed class ToolCallConstraint : ITokenConstraint
{
    private readonly byte[] _marker;
    private readonly CompiledGrammar _afterMarker;
    private readonly IReadOnlyList<int> _endTokens;
    private readonly int[][] _forbidden; // by bytes of the marker that were read
    private int _matched;
    private GrammarConstraint? _call;

    /// <param name="markup">What stands around a call.</param>
    /// <param name="afterMarker">What follows the first marker.</param>
    /// <param name="endTokens">Tokens that end the reply.</param>
    public ToolCallConstraint(ToolMarkup markup, CompiledGrammar afterMarker, IReadOnlyList<int> endTokens)
    {
        (_marker, _afterMarker, _endTokens) = (Encoding.UTF8.GetBytes(markup.CallStart), afterMarker, endTokens);
        _forbidden = afterMarker.ForbiddenCompletions ??= Forbidden();
    }

    private ToolCallConstraint(ToolCallConstraint from)
    {
        (_marker, _afterMarker, _endTokens, _forbidden, _matched) = (from._marker, from._afterMarker, from._endTokens, from._forbidden, from._matched);
        _call = (GrammarConstraint?)from._call?.Clone();
    }

    public Action? WhenPrepared { get; set; }

    public bool TryPrepare(ref long budget) => _call?.TryPrepare(ref budget) ?? true;

    public void Stop() => _call?.Stop();

    public bool TryFillMask(Span<ulong> mask)
    {
        if (_call is not null)
        {
            return _call.TryFillMask(mask);
        }

        int[] forbidden = _forbidden[_matched];
        if (forbidden.Length == 0)
        {
            return false;
        }

        mask.Fill(ulong.MaxValue);
        foreach (int token in forbidden)
        {
            mask[token >> 6] &= ~(1UL << token);
        }

        return true;
    }

    public bool IsAllowed(int token) => _call?.IsAllowed(token) ?? !_forbidden[_matched].Contains(token);

    public void Accept(int token)
    {
        if (_call is not null)
        {
            _call.Accept(token);
            return;
        }

        byte[] bytes = _afterMarker.Vocabulary.Bytes(token);
        int end = Complete(bytes, ref _matched);
        if (end >= 0)
        {
            _call = new GrammarConstraint(_afterMarker, _endTokens) { WhenPrepared = WhenPrepared };
            _call.Begin(bytes.AsMemory(end));
        }
    }

    public int GetForcedTokens(Span<int> tokens, ref long budget) => _call?.GetForcedTokens(tokens, ref budget) ?? 0;

    public ITokenConstraint Clone() => new ToolCallConstraint(this);

    /// <summary>Reads on; where the marker is complete, the position after it, else -1.</summary>
    private int Complete(ReadOnlySpan<byte> bytes, ref int matched)
    {
        for (int i = 0; i < bytes.Length; i++)
        {
            // The marker's first byte does not occur in it again, so a mismatch can only start anew.
            matched = bytes[i] == _marker[matched] ? matched + 1 : bytes[i] == _marker[0] ? 1 : 0;
            if (matched == _marker.Length)
            {
                matched = 0;
                return i + 1;
            }
        }

        return -1;
    }

    /// <summary>By bytes of the marker that were read: tokens that complete it and go on with what no call begins with.</summary>
    private int[][] Forbidden()
    {
        GrammarConstraint call = new(_afterMarker, _endTokens);
        VocabularyTrie vocabulary = _afterMarker.Vocabulary;
        int[] candidates = [.. Enumerable.Range(0, vocabulary.Count).Where(token => vocabulary.Bytes(token).AsSpan(..^Math.Min(1, vocabulary.Bytes(token).Length)).Contains(_marker[^1]))];
        int[][] forbidden = new int[_marker.Length][];
        for (int matched = 0; matched < forbidden.Length; matched++)
        {
            forbidden[matched] = [.. candidates.Where(token =>
            {
                byte[] bytes = vocabulary.Bytes(token);
                int state = matched, end = Complete(bytes, ref state);
                return end >= 0 && end < bytes.Length && !call.IsAllowed(bytes.AsSpan(end));
            })];
        }

        return forbidden;
    }
}
