using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>A place in the schema document, read as a schema or as a constant, with the dynamic anchors in scope.</summary>
internal sealed record SchemaPlace(int Id, JsonElement Element, string Path, bool IsConstant, DynamicScope Scope)
{
    public SchemaLiteral Literal => new(Id);
}

/// <summary>The dynamic anchors of the resources entered on the way to a place, the outermost one for each name.</summary>
/// <remarks>Equal scopes are the same object, so that a place reached in the same scope is the same place.</remarks>
internal sealed record DynamicScope(int Id, IReadOnlyDictionary<string, string> Paths);

/// <summary>
/// The schema document: its places by JSON pointer, and the references between them. References are resolved against the nearest $id as URIs (RFC 3986), anchors
/// belong to the resource that they stand in, dynamic ones are looked up in the <see cref="DynamicScope"/>.
/// </summary>
internal sealed class SchemaDocument
{
    private readonly SchemaResources _resources;
    private readonly List<SchemaPlace> _places = [];
    private readonly Dictionary<(string Path, bool IsConstant, int Scope), SchemaPlace> _byPath = [];
    private readonly Dictionary<string, DynamicScope> _scopes = [];
    private readonly JsonElement _root;

    public SchemaDocument(JsonElement root)
    {
        _root = root;
        _resources = new SchemaResources(root);
        DynamicScope outside = Intern(new Dictionary<string, string>());
        Root = At(root, "", false, outside);
        True = new SchemaPlace(_places.Count, JsonElement.Parse("true"), "", false, outside);
        _places.Add(True);
        False = new SchemaPlace(_places.Count, JsonElement.Parse("false"), "", false, outside);
        _places.Add(False);
    }

    public SchemaPlace Root { get; }

    public SchemaPlace True { get; }

    public SchemaPlace False { get; }

    public SchemaPlace this[int id] => _places[id];

    /// <summary>True if the draft of the enclosing resource (7 or older) ignores siblings of $ref.</summary>
    public bool ReferencesStandAlone(SchemaPlace place) => _resources.Around(place.Path).Dialect.IgnoresSiblings;

    /// <summary>The place of a part of another place.</summary>
    /// <param name="parent">The place.</param>
    /// <param name="element">Its part.</param>
    /// <param name="pointer">The JSON pointer from the place to its part.</param>
    /// <param name="isConstant">Whether the part is a value rather than a schema.</param>
    public SchemaPlace At(SchemaPlace parent, JsonElement element, string pointer, bool isConstant = false) => At(element, parent.Path + pointer, isConstant, parent.Scope);

    public static string Escape(string name) => name.Replace("~", "~0").Replace("/", "~1");

    /// <summary>The schema that a reference of a place names.</summary>
    /// <exception cref="NotSupportedException">It names another document.</exception>
    /// <exception cref="ArgumentException">There is no such place, or there are two.</exception>
    public SchemaPlace Resolve(string reference, SchemaPlace place) => Place(_resources.Resolve(reference, place.Path, place.Path + "/$ref"), place.Scope);

    /// <summary>The schema that $dynamicRef names: where a $ref would find a dynamic anchor, the outermost one of that name.</summary>
    /// <inheritdoc cref="Resolve"/>
    public SchemaPlace ResolveDynamic(string reference, SchemaPlace place)
    {
        string path = _resources.Resolve(reference, place.Path, place.Path + "/$dynamicRef");
        int hash = reference.IndexOf('#');
        string anchor = hash < 0 ? "" : Uri.UnescapeDataString(reference[(hash + 1)..]);
        return Place(_resources.Around(path).Dynamic.GetValueOrDefault(anchor) == path && place.Scope.Paths.TryGetValue(anchor, out string? outermost) ? outermost : path, place.Scope);
    }

    /// <summary>The schema that draft 2019-09's $recursiveRef names: the root of the resource, or of the outermost one, where both have a $recursiveAnchor.</summary>
    public SchemaPlace ResolveRecursive(SchemaPlace place)
    {
        SchemaResource resource = _resources.Around(place.Path);
        return Place(resource.Dynamic.ContainsKey(SchemaResource.RecursiveAnchor) ? place.Scope.Paths[SchemaResource.RecursiveAnchor] : resource.Path, place.Scope);
    }

    private SchemaPlace Place(string path, DynamicScope scope) => At(SchemaResources.Follow(_root, path) ?? throw new ArgumentException($"The JSON schema has nothing at '{path}'."), path, false, scope);

    private SchemaPlace At(JsonElement element, string path, bool isConstant, DynamicScope outer)
    {
        DynamicScope scope = isConstant ? outer : Enter(outer, _resources.Around(path));
        if (!_byPath.TryGetValue((path, isConstant, scope.Id), out SchemaPlace? place))
        {
            place = new SchemaPlace(_places.Count, element, path, isConstant, scope);
            _places.Add(place);
            _byPath[(path, isConstant, scope.Id)] = place;
        }

        return place;
    }

    private DynamicScope Enter(DynamicScope scope, SchemaResource resource)
    {
        if (resource.Dynamic.Keys.All(scope.Paths.ContainsKey))
        {
            return scope;
        }

        Dictionary<string, string> paths = new(scope.Paths);
        foreach ((string anchor, string path) in resource.Dynamic)
        {
            paths.TryAdd(anchor, path);
        }

        return Intern(paths);
    }

    private DynamicScope Intern(Dictionary<string, string> paths)
    {
        string key = string.Join('\n', paths.OrderBy(static p => p.Key, StringComparer.Ordinal).Select(static p => $"{p.Key}\n{p.Value}"));
        return _scopes.TryGetValue(key, out DynamicScope? scope) ? scope : _scopes[key] = new DynamicScope(_scopes.Count, paths);
    }
}
