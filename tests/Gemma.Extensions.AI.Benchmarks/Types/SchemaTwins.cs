using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.DotNet;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>Finds the types from which a type cannot be told by its schema: whose schema is the same, and which read more.</summary>
internal static class SchemaTwins
{
    private const string Unknown = "none";

    private static readonly (string Name, string Schema)[] s_twins =
    [
        .. new (string Name, Type Type)[] { ("string", typeof(string)), ("long", typeof(long)), ("double", typeof(double)) }
            .Select(static twin => (twin.Name, Plain(AIJsonUtilities.CreateJsonSchema(twin.Type)).ToJsonString())),
        ("object", "{}"),
        ("string of one character", """{"type":"string","minLength":1,"maxLength":1}"""),
    ];

    /// <summary>The types, each with a comma in between; "none" stands for what the schema says and our grammar does not make use of.</summary>
    /// <exception cref="NotSupportedException">The type is refused, or has no schema.</exception>
    public static string Of(Type type, JsonSerializerOptions options)
    {
        JsonNode said = Node(), known = Node();
        DotNetSchema types = new(options);
        known = types.Narrow(known, type, "")!;
        if (types.Refusals is not [])
        {
            throw new NotSupportedException(types.Refusals[0]);
        }

        SortedSet<string> twins = new(StringComparer.Ordinal);
        Compare(said, known, twins);
        return string.Join(", ", twins);

        JsonNode Node() => JsonNode.Parse(AIJsonUtilities.CreateJsonSchema(type, serializerOptions: options).GetRawText())!;
    }

    private static void Compare(JsonNode? said, JsonNode? known, SortedSet<string> twins)
    {
        if (JsonNode.DeepEquals(said, known))
        {
            return;
        }

        if (said is JsonArray saidList && known is JsonArray knownList && saidList.Count == knownList.Count)
        {
            for (int i = 0; i < saidList.Count; i++)
            {
                Compare(saidList[i], knownList[i], twins);
            }
        }
        else if (said?.GetValueKind() == JsonValueKind.True)
        {
            twins.Add("object");
        }
        else if (said is JsonObject saidSchema && known is JsonObject knownSchema && Twin(saidSchema, knownSchema, twins))
        {
            foreach ((string keyword, JsonNode? value) in saidSchema)
            {
                Compare(value, knownSchema[keyword], twins);
            }
        }
    }

    /// <summary>Whether the parts are to be compared too.</summary>
    private static bool Twin(JsonObject said, JsonObject known, SortedSet<string> twins)
    {
        string plain = Plain(JsonSerializer.SerializeToElement(said)).ToJsonString();
        if (s_twins.FirstOrDefault(twin => twin.Schema == plain) is { Name: { } name })
        {
            twins.Add(name);
            return false;
        }

        if (known.ContainsKey("propertyNames") && !said.ContainsKey("propertyNames"))
        {
            twins.Add("string as key");
        }
        else if (known.ContainsKey("minimum") && !said.ContainsKey("minimum"))
        {
            twins.Add(DotNetScalars.Allows(known, "number") ? "double" : "long");
            return false;
        }
        else if (known.Count > said.Count)
        {
            bool isKnown = said.ContainsKey("format") || said.ContainsKey("contentEncoding") || said["$comment"] is not null; // Told by these, which the grammar of the schema alone makes use of.
            twins.Add(isKnown ? "" : Unknown);
        }

        return true;
    }

    /// <summary>Without what only describes, and without null.</summary>
    private static JsonObject Plain(JsonElement schema)
    {
        JsonObject plain = JsonObject.Create(schema) ?? [];
        foreach (string keyword in (string[])["$schema", "description", "title", "default"])
        {
            plain.Remove(keyword);
        }

        if (plain["type"] is JsonArray types && types.FirstOrDefault(static name => name?.ToString() == "null") is { } none)
        {
            types.Remove(none);
            plain["type"] = types.Count == 1 ? types[0]!.DeepClone() : types.DeepClone();
        }

        return plain;
    }
}
