using System.Runtime.CompilerServices;
using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>A schema with its own $id, or the document: the base of the references in it, and its anchors.</summary>
internal sealed record SchemaResource(string Uri, string Path, SchemaDialect Dialect)
{
    /// <summary>The name of draft 2019-09's $recursiveAnchor among the dynamic anchors.</summary>
    public const string RecursiveAnchor = "/recursive";

    /// <summary>The paths of the anchors; several where a name is given twice.</summary>
    public Dictionary<string, List<string>> Anchors { get; } = [];

    public Dictionary<string, string> Dynamic { get; } = [];
}

/// <summary>The differences between drafts in identifiers and references.</summary>
/// <param name="Identifier">The keyword that names a resource.</param>
/// <param name="IgnoresSiblings">True if siblings of $ref are ignored.</param>
internal readonly record struct SchemaDialect(string Identifier, bool IgnoresSiblings)
{
    public static readonly SchemaDialect Latest = new("$id", false);

    /// <summary>The dialect that $schema declares.</summary>
    public static SchemaDialect Of(string metaschema) =>
        metaschema.Contains("draft-03", StringComparison.Ordinal) || metaschema.Contains("draft-04", StringComparison.Ordinal) ? new("id", true)
        : metaschema.Contains("draft-06", StringComparison.Ordinal) || metaschema.Contains("draft-07", StringComparison.Ordinal) ? new("$id", true)
        : Latest;
}

/// <summary>The resources of a schema document by their URIs, and what references name. $id and $anchor are keywords only in schemas.</summary>
internal sealed class SchemaResources
{
    private static readonly HashSet<string> s_schemas = ["additionalItems", "additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"];
    private static readonly HashSet<string> s_lists = ["allOf", "anyOf", "oneOf", "prefixItems", "items"];
    private static readonly HashSet<string> s_maps = ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];
    private static readonly HashSet<string> s_values = ["const", "default", "enum", "example", "examples"];

    private readonly JsonElement _root;
    private readonly SchemaResource _document;
    private readonly Dictionary<string, SchemaResource> _byPath = [];

    // Identifiers in schemas come before those in keywords that the standard does not know, and both before an "id" where no draft was declared.
    private readonly Dictionary<string, List<string>>[] _byUri = [[], [], []];

    public SchemaResources(JsonElement root)
    {
        _root = root;
        _document = _byPath[""] = new SchemaResource("", "", DialectOf(root, SchemaDialect.Latest));
        Index(root, "", _document, 0);
        _document = _byPath[""];
    }

    /// <summary>The resource that a place belongs to.</summary>
    public SchemaResource Around(string path)
    {
        while (_byPath.Count > 1)
        {
            if (_byPath.TryGetValue(path, out SchemaResource? resource))
            {
                return resource;
            }

            path = path[..Math.Max(0, path.LastIndexOf('/'))];
        }

        return _document;
    }

    /// <summary>The path that a reference names.</summary>
    /// <param name="reference">The reference.</param>
    /// <param name="from">The path of the schema that contains it.</param>
    /// <param name="at">The path of its keyword, for messages.</param>
    public string Resolve(string reference, string from, string at)
    {
        int hash = reference.IndexOf('#');
        string address = hash < 0 ? reference : reference[..hash], fragment = hash < 0 ? "" : Uri.UnescapeDataString(reference[(hash + 1)..]);
        string path = address.Length == 0 ? Embedding(from, fragment) : Identified(UriReference.Resolve(Around(from).Uri, address), reference, at);
        if (fragment.Length == 0)
        {
            return path;
        }

        if (fragment[0] == '/')
        {
            return Pointer(path, fragment, reference, at);
        }

        return Around(path).Anchors.TryGetValue(fragment, out List<string>? anchors)
            ? Only(anchors, reference, at)
            : throw new ArgumentException($"The JSON schema refers to '{reference}' at '{at}', but there is no anchor '{fragment}' in the schema of that address.");
    }

    /// <summary>
    /// The path from which a pointer leads: of the innermost schema around the reference that says "$schema", and so is a document put into another one, as
    /// Microsoft.Extensions.AI puts the schema of a list into that of its answer; of the resource where there is none, or where the pointer leads nowhere there. A definition
    /// is a part of the document that defines it, whatever it says.
    /// </summary>
    private string Embedding(string from, string fragment)
    {
        string resource = Around(from).Path;
        for (string path = from; fragment is "" or ['/', ..] && path.Length > resource.Length; path = path[..path.LastIndexOf('/')])
        {
            if (!IsDefinition(path) && Follow(_root, path) is { ValueKind: JsonValueKind.Object } schema && Text(schema, "$schema") is not null && Follow(schema, fragment) is not null)
            {
                return path;
            }
        }

        return resource;
    }

    private static bool IsDefinition(string path) =>
        path.Split('/') is [.., var around, "$defs" or "definitions", _] && around is not ("properties" or "patternProperties" or "dependentSchemas" or "dependencies");

    /// <summary>The value at a path of the document; null where there is none.</summary>
    public static JsonElement? Follow(JsonElement root, string path)
    {
        JsonElement element = root;
        foreach (string part in path.Split('/')[1..])
        {
            if (!TryStep(element, part.Replace("~1", "/").Replace("~0", "~"), out element))
            {
                return null;
            }
        }

        return element;
    }

    private string Pointer(string path, string pointer, string reference, string at)
    {
        JsonElement element = Follow(_root, path)!.Value;
        foreach (string part in pointer[1..].Split('/'))
        {
            string name = part.Replace("~1", "/").Replace("~0", "~");
            if (!TryStep(element, name, out element))
            {
                throw new ArgumentException($"The JSON schema refers to '{reference}' at '{at}', but there is no '{name}' in '{path}'.");
            }

            path += "/" + SchemaDocument.Escape(name);
        }

        return path;
    }

    private static bool TryStep(JsonElement element, string name, out JsonElement next)
    {
        next = default;
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                return element.TryGetProperty(name, out next);
            case JsonValueKind.Array when name == "0" || (name is [not '0', ..] && name.All(char.IsAsciiDigit) && name.Length < 10):
                int i = int.Parse(name, System.Globalization.CultureInfo.InvariantCulture);
                if (i < element.GetArrayLength())
                {
                    next = element[i];
                    return true;
                }

                return false;
            default:
                return false;
        }
    }

    private string Identified(string uri, string reference, string at)
    {
        foreach (Dictionary<string, List<string>> known in _byUri)
        {
            if (known.TryGetValue(uri, out List<string>? paths))
            {
                return Only(paths, reference, at);
            }
        }

        throw new NotSupportedException($"The JSON schema refers to another document at '{at}': '{reference}'{(uri == reference ? "" : $", which is '{uri}'")}. Put that schema into $defs, with this $id, or refer to it there.");
    }

    private string Only(List<string> paths, string reference, string at) =>
        paths.Count == 1 || paths.All(p => JsonElement.DeepEquals(Follow(_root, p)!.Value, Follow(_root, paths[0])!.Value)) ? paths[0]
        : throw new ArgumentException($"The JSON schema refers to '{reference}' at '{at}', which is both at '{paths[0]}' and at '{paths[1]}'.");

    private static SchemaDialect DialectOf(JsonElement schema, SchemaDialect around) =>
        schema.ValueKind == JsonValueKind.Object && schema.TryGetProperty("$schema", out JsonElement s) && s.ValueKind == JsonValueKind.String ? SchemaDialect.Of(s.GetString()!) : around;

    /// <param name="schema">A value that stands where a schema stands, or where a keyword that is not known holds it.</param>
    /// <param name="path">Its path.</param>
    /// <param name="resource">The resource around it.</param>
    /// <param name="rank">0 for a schema, 1 in an unknown keyword.</param>
    private void Index(JsonElement schema, string path, SchemaResource resource, int rank)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        if (schema.ValueKind != JsonValueKind.Object)
        {
            return;
        }

        resource = Identify(schema, path, resource, rank);
        foreach (JsonProperty keyword in schema.EnumerateObject())
        {
            string name = keyword.Name, below = path + "/" + SchemaDocument.Escape(name);
            if (keyword.Value.ValueKind == JsonValueKind.Object)
            {
                if (s_maps.Contains(name))
                {
                    foreach (JsonProperty entry in keyword.Value.EnumerateObject())
                    {
                        Index(entry.Value, below + "/" + SchemaDocument.Escape(entry.Name), resource, rank);
                    }
                }
                else if (!s_values.Contains(name))
                {
                    Index(keyword.Value, below, resource, s_schemas.Contains(name) ? rank : 1);
                }
            }
            else if (keyword.Value.ValueKind == JsonValueKind.Array && !s_values.Contains(name))
            {
                int i = 0;
                foreach (JsonElement item in keyword.Value.EnumerateArray())
                {
                    Index(item, below + "/" + i++, resource, s_lists.Contains(name) ? rank : 1);
                }
            }
        }
    }

    private SchemaResource Identify(JsonElement schema, string path, SchemaResource resource, int rank)
    {
        SchemaDialect dialect = DialectOf(schema, resource.Dialect);
        bool standsAlone = dialect.IgnoresSiblings && schema.TryGetProperty("$ref", out _);
        if (!standsAlone && Text(schema, dialect.Identifier) is { } id)
        {
            int hash = id.IndexOf('#');
            string address = hash < 0 ? id : id[..hash], fragment = hash < 0 ? "" : Uri.UnescapeDataString(id[(hash + 1)..]);
            if (address.Length > 0)
            {
                resource = _byPath[path] = new SchemaResource(UriReference.Resolve(resource.Uri, address), path, dialect);
                Add(_byUri[rank], resource.Uri, path);
            }

            if (fragment.Length > 0 && fragment[0] != '/')
            {
                Add(resource.Anchors, fragment, path); // How drafts 4 to 7 write an anchor.
            }
        }

        if (dialect.Identifier != "id" && Text(schema, "id") is { } old)
        {
            Add(_byUri[2], UriReference.Resolve(resource.Uri, old.TrimEnd('#')), path);
        }

        if (Text(schema, "$anchor") is { } anchor)
        {
            Add(resource.Anchors, anchor, path);
        }

        if (Text(schema, "$dynamicAnchor") is { } dynamic)
        {
            Add(resource.Anchors, dynamic, path);
            resource.Dynamic.TryAdd(dynamic, path);
        }

        if (path == resource.Path && schema.TryGetProperty("$recursiveAnchor", out JsonElement recursive) && recursive.ValueKind == JsonValueKind.True)
        {
            resource.Dynamic.TryAdd(SchemaResource.RecursiveAnchor, path);
        }

        return resource;
    }

    private static string? Text(JsonElement schema, string keyword) => schema.TryGetProperty(keyword, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static void Add(Dictionary<string, List<string>> paths, string key, string path) => (paths.TryGetValue(key, out List<string>? known) ? known : paths[key] = []).Add(path);
}
