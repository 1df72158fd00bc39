using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>A place in the schema document that is read as a schema, or as a constant.</summary>
internal sealed record SchemaPlace(int Id, JsonElement Element, string Path, bool IsConstant);

/// <summary>The schema document: its places by JSON pointer, and references between them.</summary>
internal sealed class SchemaDocument
{
    private readonly JsonElement _root;
    private readonly List<SchemaPlace> _places = [];
    private readonly Dictionary<(string, bool), SchemaPlace> _byPath = [];
    private Dictionary<string, (JsonElement Element, string Path)>? _identified;

    public SchemaDocument(JsonElement root)
    {
        _root = root;
        Root = At(root, "", false);
        False = new SchemaPlace(_places.Count, JsonElement.Parse("false"), "", false);
        _places.Add(False);
        string draft = root.ValueKind == JsonValueKind.Object && root.TryGetProperty("$schema", out JsonElement s) && s.ValueKind == JsonValueKind.String ? s.GetString()! : "";
        ReferencesStandAlone = draft.Contains("draft-03", StringComparison.Ordinal) || draft.Contains("draft-04", StringComparison.Ordinal)
            || draft.Contains("draft-06", StringComparison.Ordinal) || draft.Contains("draft-07", StringComparison.Ordinal);
    }

    public SchemaPlace Root { get; }

    public SchemaPlace False { get; }

    /// <summary>Whether the declared draft (7 or older) says that what stands beside a $ref is ignored.</summary>
    public bool ReferencesStandAlone { get; }

    public SchemaPlace this[int id] => _places[id];

    public SchemaPlace At(JsonElement element, string path, bool isConstant = false)
    {
        if (!_byPath.TryGetValue((path, isConstant), out SchemaPlace? place))
        {
            place = new SchemaPlace(_places.Count, element, path, isConstant);
            _places.Add(place);
            _byPath[(path, isConstant)] = place;
        }

        return place;
    }

    public static string Escape(string name) => name.Replace("~", "~0").Replace("/", "~1");

    /// <summary>The schema that a reference names.</summary>
    public SchemaPlace Resolve(string reference, string at)
    {
        int hash = reference.IndexOf('#');
        string address = hash < 0 ? reference : reference[..hash];
        string fragment = hash < 0 ? "" : Uri.UnescapeDataString(reference[(hash + 1)..]);
        (JsonElement element, string path) = address.Length == 0 ? (_root, "") : Identified(address, at, reference);
        if (fragment.Length == 0)
        {
            return At(element, path);
        }

        if (fragment[0] != '/')
        {
            (element, path) = Identified("#" + fragment, at, reference);
            return At(element, path);
        }

        foreach (string part in fragment[1..].Split('/'))
        {
            string name = part.Replace("~1", "/").Replace("~0", "~");
            JsonElement next = default;
            bool found = element.ValueKind switch
            {
                JsonValueKind.Object => element.TryGetProperty(name, out next),
                JsonValueKind.Array => int.TryParse(name, out int i) && i >= 0 && i < element.GetArrayLength() && (next = element[i]).ValueKind != JsonValueKind.Undefined,
                _ => false,
            };
            if (!found)
            {
                throw new ArgumentException($"The JSON schema refers to '{reference}' at '{at}', but there is no '{name}' in '{path}'.");
            }

            element = next;
            path += "/" + Escape(name);
        }

        return At(element, path);
    }

    private (JsonElement Element, string Path) Identified(string id, string at, string reference)
    {
        if (_identified is null)
        {
            _identified = [];
            Identify(_root, "", null);
        }

        if (_identified.TryGetValue(id, out (JsonElement, string) found) || _identified.TryGetValue(id.TrimEnd('#'), out found))
        {
            return found;
        }

        // Relative to the document's own address.
        foreach ((string known, (JsonElement, string) place) in _identified)
        {
            if (known.EndsWith("/" + id.TrimStart('/'), StringComparison.Ordinal))
            {
                return place;
            }
        }

        throw new NotSupportedException($"The JSON schema refers to another document at '{at}': '{reference}'. Put that schema into $defs and refer to it there.");
    }

    private void Identify(JsonElement element, string path, string? key)
    {
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        if (element.ValueKind == JsonValueKind.Object)
        {
            foreach (JsonProperty property in element.EnumerateObject())
            {
                if (key is not ("properties" or "patternProperties" or "enum" or "const") && property.Value.ValueKind == JsonValueKind.String && property.Name is "$id" or "id" or "$anchor")
                {
                    string id = property.Value.GetString()!;
                    _identified!.TryAdd(property.Name == "$anchor" ? "#" + id : id.Length > 1 ? id.TrimEnd('#') : id, (element, path));
                }
                else
                {
                    Identify(property.Value, path + "/" + Escape(property.Name), property.Name);
                }
            }
        }
        else if (element.ValueKind == JsonValueKind.Array)
        {
            int i = 0;
            foreach (JsonElement item in element.EnumerateArray())
            {
                Identify(item, path + "/" + i++, key);
            }
        }
    }
}
