using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
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
    /// <summary>Levels reserved for the messages around a call, which are JSON too, with the same limit.</summary>
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

    /// <summary>The symbols that follow the first marker.</summary>
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
            arguments["properties"] = new JsonObject(); // A tool that describes no arguments has none.
        }

        return JsonElement.Parse(arguments.ToJsonString());
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
