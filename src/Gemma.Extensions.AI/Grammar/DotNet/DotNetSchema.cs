using System.ComponentModel.DataAnnotations;
using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>
/// Completes a schema from the .NET type that it was derived from, as System.Text.Json is stricter than its own schemas (ranges of numbers, keys of dictionaries,
/// names of flags, base64). Types that it cannot read, or whose JSON is not known, are recorded.
/// </summary>
/// <param name="options">By which values are read. Names of properties may differ from the schema's in case.</param>
internal sealed class DotNetSchema(JsonSerializerOptions options)
{
    private static readonly HashSet<Type> s_anything = [typeof(object), typeof(JsonElement), typeof(JsonDocument), typeof(JsonNode)];

    private static readonly HashSet<string> s_annotations = ["$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"];

    private readonly JsonSerializerOptions _options = options;
    private readonly List<string> _refusals = [];

    /// <summary>The types that cannot be read, with their places.</summary>
    public IReadOnlyList<string> Refusals => _refusals;

    /// <summary>The schema of a value of the type; changed in place where it is an object.</summary>
    public JsonNode? Narrow(JsonNode? node, Type type, string path, params ValidationAttribute[] attributes) => Narrow(node, type, path, null, attributes);

    /// <summary>Sets a member that may be there already.</summary>
    public static void Put(JsonObject schema, string name, JsonNode? value)
    {
        if (!ReferenceEquals(schema[name], value))
        {
            schema[name] = value;
        }
    }

    private JsonNode? Narrow(JsonNode? node, Type type, string path, JsonConverter? converter, ValidationAttribute[] attributes)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (node is null || s_anything.Contains(type))
        {
            return node;
        }

        if (SaysNothing(node))
        {
            return NarrowAnything(node, type, path);
        }

        if (node is not JsonObject schema || schema.ContainsKey("$ref") || schema.ContainsKey("const") || schema["not"]?.GetValueKind() == JsonValueKind.True)
        {
            return node;
        }

        DotNetValidation.Narrow(schema, type, attributes, value => value.GetType() != type ? null
            : type.IsEnum ? DotNetEnums.Write(schema, type, value, _options, converter)
            : JsonSerializer.SerializeToNode(value, _options.GetTypeInfo(type)));
        if (type.IsEnum)
        {
            DotNetEnums.Narrow(schema, type, _options, converter);
        }
        else if (!DotNetScalars.TryNarrow(schema, type) && type != typeof(string) && type != typeof(bool) && _options.TryGetTypeInfo(type, out JsonTypeInfo? info))
        {
            NarrowParts(schema, info, path);
        }

        return schema;
    }

    private static bool SaysNothing(JsonNode node) => node switch
    {
        JsonObject schema => schema.All(static keyword => s_annotations.Contains(keyword.Key)),
        _ => node.GetValueKind() == JsonValueKind.True,
    };

    private JsonNode NarrowAnything(JsonNode node, Type type, string path)
    {
        if (type != typeof(JsonValue))
        {
            _refusals.Add($"'{path}' is a {Name(type)}, whose schema says nothing: it is read by a converter of its own, and what that reads is not known. Give it a schema (AIJsonSchemaCreateOptions.TransformSchemaNode)");
            return node;
        }

        JsonObject schema = node as JsonObject ?? [];
        schema["type"] = new JsonArray("string", "number", "boolean", "null");
        return schema;
    }

    private void NarrowParts(JsonObject schema, JsonTypeInfo info, string path)
    {
        if (info.PolymorphismOptions is { } polymorphism && schema["anyOf"] is JsonArray branches)
        {
            foreach (JsonObject branch in branches.OfType<JsonObject>())
            {
                if (branch["properties"] is JsonObject members && _options.TryGetTypeInfo(DerivedType(members, polymorphism) ?? info.Type, out JsonTypeInfo? derived))
                {
                    NarrowProperties(members, derived, path);
                }
            }

            return;
        }

        if (!IsReadable(info, out string why))
        {
            _refusals.Add($"'{path}' is a {Name(info.Type)}, {why}");
            return;
        }

        switch (info.Kind)
        {
            case JsonTypeInfoKind.Object when schema["properties"] is JsonObject properties:
                NarrowProperties(properties, info, path);
                break;
            case JsonTypeInfoKind.Enumerable when info.ElementType is { } element:
                Put(schema, "items", Narrow(schema["items"], element, path + "/items"));
                break;
            case JsonTypeInfoKind.Dictionary:
                NarrowDictionary(schema, info, path);
                break;
        }
    }

    private static Type? DerivedType(JsonObject members, JsonPolymorphismOptions polymorphism) =>
        members[polymorphism.TypeDiscriminatorPropertyName]?["const"]?.ToString() is { } discriminator
            ? polymorphism.DerivedTypes.FirstOrDefault(derived => derived.TypeDiscriminator?.ToString() == discriminator).DerivedType
            : null;

    private void NarrowProperties(JsonObject properties, JsonTypeInfo info, string path)
    {
        foreach (string name in properties.Select(static property => property.Key).ToArray())
        {
            if ((info.Properties.FirstOrDefault(property => property.Name == name) ?? info.Properties.FirstOrDefault(property => property.Name.Equals(name, StringComparison.OrdinalIgnoreCase))) is { } property)
            {
                if (_options.RespectNullableAnnotations && (!property.IsSetNullable || property.AssociatedParameter is { IsNullable: false }))
                {
                    DotNetValidation.ForbidNull(properties[name]);
                }

                Put(properties, name, Narrow(properties[name], property.PropertyType, $"{path}/properties/{SchemaDocument.Escape(name)}", property.CustomConverter,
                    DotNetValidation.Of(property.AttributeProvider, property.AssociatedParameter?.AttributeProvider)));
            }
        }
    }

    private void NarrowDictionary(JsonObject schema, JsonTypeInfo info, string path)
    {
        // Lengths that attributes give are written as for lists.
        Rename(schema, "minItems", "minProperties");
        Rename(schema, "maxItems", "maxProperties");
        if (info.KeyType is { } key && key != typeof(string) && !schema.ContainsKey("propertyNames"))
        {
            if ((DotNetScalars.Key(key) ?? DotNetEnums.Key(key, _options)) is { } names)
            {
                schema["propertyNames"] = names;
            }
            else
            {
                _refusals.Add($"'{path}' is a dictionary whose keys are of the type {Name(key)}, and what is read as one is not known. Keys of strings, numbers, dates, times, Guid, Version and enumerations are supported");
            }
        }

        if (info.ElementType is { } element && schema["additionalProperties"] is { } values)
        {
            Put(schema, "additionalProperties", Narrow(values, element, path + "/additionalProperties"));
        }
    }

    private static void Rename(JsonObject schema, string from, string to)
    {
        if (schema[from] is { } value && !schema.ContainsKey(to))
        {
            schema.Remove(from);
            schema[to] = value;
        }
    }

    private bool IsReadable(JsonTypeInfo info, out string why)
    {
        why = "which System.Text.Json cannot read. Take a type with a constructor that it can call, or derived types ([JsonDerivedType])";
        switch (info.Kind)
        {
            case JsonTypeInfoKind.Object:
                bool constructed = info.CreateObject is not null || info.ConstructorAttributeProvider is not null || info.Properties.Any(static property => property.AssociatedParameter is not null);
                if (constructed && !Arrives(info))
                {
                    why = "of which System.Text.Json reads nothing: no property of it can be set. Take a record or a class with properties";
                    return false;
                }

                return constructed;
            case JsonTypeInfoKind.Enumerable or JsonTypeInfoKind.Dictionary:
                try
                {
                    _ = JsonSerializer.Deserialize(info.Kind == JsonTypeInfoKind.Dictionary ? "{}" : "[]", info);
                    return true;
                }
                catch (NotSupportedException)
                {
                    return false;
                }
                catch (JsonException)
                {
                    return true;
                }

            default:
                return true;
        }
    }

    /// <summary>True if deserialization can fill the type at all; it cannot fill value tuples, whose parts are fields.</summary>
    [UnconditionalSuppressMessage("Trimming", "IL2075", Justification = "Members are only counted, of types that have none to serialize: those that trimming removed could not be read anyway.")]
    private bool Arrives(JsonTypeInfo info) =>
        info.Properties.Any(property => property.Set is not null || property.AssociatedParameter is not null || property.IsExtensionData
            || (property.ObjectCreationHandling ?? info.PreferredPropertyObjectCreationHandling ?? _options.PreferredObjectCreationHandling) == JsonObjectCreationHandling.Populate)
        || (info.Properties.Count == 0 && info.Type.GetFields(BindingFlags.Public | BindingFlags.Instance).Length == 0 && info.Type.GetProperties(BindingFlags.Public | BindingFlags.Instance).Length == 0);

    private static string Name(Type type) => type.IsGenericType
        ? $"{type.Name.Split('`')[0]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>"
        : type.Name;
}
