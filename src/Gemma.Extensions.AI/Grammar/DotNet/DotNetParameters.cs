using System.Reflection;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI.Grammar.Schema;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>
/// Schemas with known .NET types: parameters of functions that are methods, and answers deserialized as a type. The types complete them, so that
/// the model's output can be bound.
/// </summary>
internal static class DotNetParameters
{
    private static readonly ConditionalWeakTable<AIFunctionDeclaration, Narrowed> s_narrowed = [];

    /// <summary>The last schema of each type: a type has one, unless a caller writes its own.</summary>
    private static readonly ConditionalWeakTable<JsonTypeInfo, Answer> s_answers = [];

    /// <summary>The schema of a tool's parameters, narrowed where the tool is a .NET method.</summary>
    /// <exception cref="NotSupportedException">A type cannot be deserialized, or its JSON is not known.</exception>
    public static JsonElement SchemaOf(AIFunctionDeclaration tool, bool lenient = false)
    {
        if (tool is CarriedTool carried)
        {
            return carried.EnforcedSchema;
        }

        if (tool is not AIFunction { UnderlyingMethod: not null, JsonSchema.ValueKind: JsonValueKind.Object } function)
        {
            return tool.JsonSchema;
        }

        Narrowed narrowed = s_narrowed.GetValue(function, static function => Narrow((AIFunction)function));
        return narrowed.Refusal is null || lenient ? narrowed.Schema : throw new NotSupportedException($"The parameters of the tool '{tool.Name}' cannot be enforced: {narrowed.Refusal}");
    }

    /// <summary>The schema of an answer, narrowed by the type that it is deserialized as or, for a scalar, by the type in its name.</summary>
    /// <inheritdoc cref="SchemaOf"/>
    public static JsonElement AnswerOf(JsonElement schema, string? schemaName, JsonTypeInfo? type, bool lenient)
    {
        // Values other than objects are wrapped: {"data": …}; the inner schema keeps its $schema.
        bool isWrapped = schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("properties", out JsonElement members) && members.ValueKind == JsonValueKind.Object
            && members.TryGetProperty("data", out JsonElement data) && data.ValueKind == JsonValueKind.Object && data.TryGetProperty("$schema", out _);
        Type? known = type?.Type ?? (isWrapped ? DotNetScalars.Named(schemaName) : null);
        if (known is null || schema.ValueKind != JsonValueKind.Object)
        {
            return schema;
        }

        Narrowed narrowed;
        if (type is null)
        {
            narrowed = Narrow(schema, isWrapped, known, AIJsonUtilities.DefaultOptions);
        }
        else
        {
            string text = schema.GetRawText();
            if (!s_answers.TryGetValue(type, out Answer? answer) || answer.Schema != text)
            {
                s_answers.AddOrUpdate(type, answer = new Answer(text, Narrow(schema, isWrapped, known, type.Options)));
            }

            narrowed = answer.Narrowed;
        }

        return narrowed.Refusal is null || lenient ? narrowed.Schema : throw new NotSupportedException($"An answer of the type {known} cannot be enforced: {narrowed.Refusal}");
    }

    private static Narrowed Narrow(JsonElement schema, bool isWrapped, Type type, JsonSerializerOptions options)
    {
        DotNetSchema types = new(options);
        JsonObject root = JsonObject.Create(schema)!;
        types.Narrow(isWrapped ? root["properties"]!["data"] : root, type, isWrapped ? "/properties/data" : "");
        return new Narrowed(JsonElement.Parse(root.ToJsonString()), Refusal(types));
    }

    private static Narrowed Narrow(AIFunction function)
    {
        JsonObject schema = JsonObject.Create(function.JsonSchema)!;
        DotNetSchema types = new(function.JsonSerializerOptions);
        if (schema["properties"] is JsonObject properties)
        {
            foreach (ParameterInfo parameter in function.UnderlyingMethod!.GetParameters())
            {
                if (parameter.Name is { } name && properties[name] is { } own)
                {
                    string path = "/properties/" + SchemaDocument.Escape(name);
                    Rebase(own, own, path, schema);
                    DotNetSchema.Put(properties, name, types.Narrow(own, parameter.ParameterType, path, DotNetValidation.Of(parameter)));
                }
            }
        }

        return new Narrowed(JsonElement.Parse(schema.ToJsonString()), Refusal(types));
    }

    private static string? Refusal(DotNetSchema types) => types.Refusals is [] ? null : types.Refusals[0] + ", or allow the lenient mode, which ignores it.";

    /// <summary>
    /// Semantic Kernel makes a schema for each parameter and combines them unchanged, so references to the root mean the parameter. References to
    /// the parameter by its place are right already.
    /// </summary>
    private static void Rebase(JsonNode? node, JsonNode parameter, string path, JsonObject root)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        switch (node)
        {
            case JsonArray list:
                foreach (JsonNode? item in list)
                {
                    Rebase(item, parameter, path, root);
                }

                break;
            case JsonObject schema:
                if (schema["$ref"] is JsonValue reference && reference.ToString() is ['#', .. string pointer]
                    && !(pointer.StartsWith(path, StringComparison.Ordinal) && Exists(root, pointer)) && Exists(parameter, pointer))
                {
                    schema["$ref"] = "#" + path + pointer;
                }

                foreach ((_, JsonNode? child) in schema)
                {
                    Rebase(child, parameter, path, root);
                }

                break;
        }
    }

    private static bool Exists(JsonNode? at, string pointer)
    {
        foreach (string part in pointer.Split('/').Skip(1))
        {
            string name = part.Replace("~1", "/").Replace("~0", "~");
            at = at switch
            {
                JsonObject schema => schema[name],
                JsonArray list when int.TryParse(name, out int i) && i >= 0 && i < list.Count => list[i],
                _ => null,
            };
        }

        return at is not null;
    }

    /// <param name="Schema">Completed by the types.</param>
    /// <param name="Refusal">What cannot be enforced, if anything.</param>
    private sealed record Narrowed(JsonElement Schema, string? Refusal);

    /// <param name="Schema">As it came.</param>
    /// <param name="Narrowed">What became of it.</param>
    private sealed record Answer(string Schema, Narrowed Narrowed);
}
