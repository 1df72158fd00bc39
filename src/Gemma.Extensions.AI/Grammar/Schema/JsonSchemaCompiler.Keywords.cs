using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// The keywords: from schemas to disjunctions, and their complements.
internal sealed partial class JsonSchemaCompiler
{
    private static readonly string[] s_inPlace = ["$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "dependencies"];

    /// <summary>The alternatives of a schema (even code) or of its complement (odd code).</summary>
    private Conjunction[] Dnf(int code)
    {
        int key = (code * 2) + (_wide ? 1 : 0);
        if (_dnf.TryGetValue(key, out Conjunction[]? known))
        {
            return known;
        }

        SchemaPlace place = _document[code >> 1];
        if (!_inProgress.Add(key))
        {
            throw new NotSupportedException($"The JSON schema refers to itself at '{place.Path}' without a value in between, which cannot be decided.");
        }

        if (++_depth > MaxDepth)
        {
            throw new GrammarComplexityException($"it nests deeper than {MaxDepth} levels");
        }

        CheckTime();
        try
        {
            return _dnf[key] = (code & 1) == 0 ? (place.IsConstant ? Constant(place) : Positive(place)) : Negate(OtherWay(() => Dnf(code - 1)), place);
        }
        finally
        {
            _inProgress.Remove(key);
            _depth--;
        }
    }

    /// <summary>
    /// What is taken away must be all that any reader sees in it, where what is written is what every reader does: of a format not all texts are written that it has, and
    /// what is none of those may be one all the same.
    /// </summary>
    private Conjunction[] OtherWay(Func<Conjunction[]> alternatives)
    {
        bool outer = _wide;
        _wide = _hasFormats && !_wide;
        try
        {
            return alternatives();
        }
        finally
        {
            _wide = outer;
        }
    }

    private Conjunction[] Positive(SchemaPlace place)
    {
        JsonElement e = place.Element;
        switch (e.ValueKind)
        {
            case JsonValueKind.True:
                return [_any];
            case JsonValueKind.False:
                return [];
            case JsonValueKind.Object:
                break;
            default:
                throw Malformed(place.Path, "a schema must be an object or a boolean");
        }

        Conjunction[] result = [_any];
        foreach ((string keyword, Func<string, SchemaPlace, SchemaPlace> resolve) in References())
        {
            if (!e.TryGetProperty(keyword, out JsonElement reference))
            {
                continue;
            }

            result = Product(result, Dnf(Resolve(reference, place, keyword, resolve).Id * 2));
            if (keyword == "$ref" && _document.ReferencesStandAlone(place))
            {
                return result;
            }
        }

        if (Simple(place) is not { } simple)
        {
            return [];
        }

        result = Product(result, [simple]);
        if (e.TryGetProperty("const", out JsonElement constant))
        {
            result = Product(result, Dnf(_document.At(place, constant, "/const", true).Id * 2));
        }

        if (e.TryGetProperty("enum", out JsonElement values))
        {
            result = Product(result, Enum(place, values));
        }

        foreach ((SchemaPlace sub, _) in Subschemas(place, "allOf"))
        {
            result = Product(result, Dnf(sub.Id * 2));
        }

        if (e.TryGetProperty("anyOf", out _))
        {
            result = Product(result, Union(Subschemas(place, "anyOf").Select(s => Dnf(s.Place.Id * 2))));
        }

        if (e.TryGetProperty("oneOf", out _))
        {
            result = Product(result, OneOf(place, result));
        }

        if (e.TryGetProperty("not", out JsonElement not))
        {
            SchemaPlace sub = _document.At(place, not, "/not");
            result = Guarded(sub.Path, result, r => Product(r, Dnf((sub.Id * 2) + 1)));
        }

        if (e.TryGetProperty("if", out JsonElement condition))
        {
            SchemaPlace test = _document.At(place, condition, "/if");
            Conjunction[] then = e.TryGetProperty("then", out JsonElement t) ? Dnf(_document.At(place, t, "/then").Id * 2) : [_any];
            Conjunction[] otherwise = e.TryGetProperty("else", out JsonElement o) ? Dnf(_document.At(place, o, "/else").Id * 2) : [_any];
            result = Guarded(test.Path, result, r => Union([Product(r, Product(ClosedObjects.WithoutCoverage(Dnf(test.Id * 2)), then)), Product(r, Product(Dnf((test.Id * 2) + 1), otherwise))]));
        }

        foreach (string keyword in (ReadOnlySpan<string>)["dependencies", "dependentSchemas"])
        {
            foreach ((string name, SchemaPlace sub) in Members(place, keyword, keyword == "dependencies" ? JsonValueKind.Array : null))
            {
                Conjunction absent = _any with { Object = Key(name, SchemaLiterals.Of(_document.False.Id * 2), false) };
                Conjunction present = _any with { Types = JsonTypes.Object, Object = Key(name, SchemaLiterals.Any, true) };
                result = Product(result, Union([[absent], Product([present], Dnf(sub.Id * 2))]));
            }
        }

        return result;
    }

    private SchemaLiterals Literals(SchemaPlace place) => place.Element.ValueKind switch
    {
        JsonValueKind.True => SchemaLiterals.Any,
        JsonValueKind.False => SchemaLiterals.Of(_document.False.Id * 2),
        _ => SchemaLiterals.Of(place.Id * 2),
    };

    private static ObjectConstraint Key(string name, SchemaLiterals value, bool required) => new()
    {
        Clauses = value == SchemaLiterals.Any ? [] : [new KeyClause(new Dictionary<string, SchemaLiterals> { [name] = value }, [], null, KeyClause.Coverage.Nothing)],
        Required = required ? [name] : [],
    };

    /// <summary>The keywords that need no alternatives; null where they contradict each other.</summary>
    private Conjunction? Simple(SchemaPlace place)
    {
        JsonElement e = place.Element;
        (JsonTypes types, bool integersOnly) = Types(place);
        NumberConstraint? number = Numbers(place, types);
        number = integersOnly ? number?.And(NumberConstraint.None with { Integer = true }) : number;
        Conjunction result = new(number is null ? types & ~JsonTypes.Number : types, Texts(place), number ?? NumberConstraint.None, Arrays(place), Objects(place));
        return Clean(result);
    }

    private (JsonTypes Types, bool IntegersOnly) Types(SchemaPlace place)
    {
        if (!place.Element.TryGetProperty("type", out JsonElement type))
        {
            return (JsonTypes.All, false);
        }

        string path = place.Path + "/type";
        IEnumerable<JsonElement> names = type.ValueKind == JsonValueKind.Array ? type.EnumerateArray() : [type];
        JsonTypes types = JsonTypes.None;
        bool integer = false, number = false;
        foreach (JsonElement name in names)
        {
            switch (name.ValueKind == JsonValueKind.String ? name.GetString() : null)
            {
                case "null": types |= JsonTypes.Null; break;
                case "boolean": types |= JsonTypes.True | JsonTypes.False; break;
                case "number": types |= JsonTypes.Number; number = true; break;
                case "integer": types |= JsonTypes.Number; integer = true; break;
                case "string": types |= JsonTypes.String; break;
                case "array": types |= JsonTypes.Array; break;
                case "object": types |= JsonTypes.Object; break;
                case "any": types |= JsonTypes.All; number = true; break; // Draft 3, still met.
                default: throw Malformed(path, $"{Shown(name)} is not a type");
            }
        }

        return (types, integer && !number);
    }

    private RegexTerm Texts(SchemaPlace place)
    {
        JsonElement e = place.Element;
        int min = Count(place, "minLength") ?? 0, max = Count(place, "maxLength") ?? -1;
        RegexTerm text = max >= 0 && min > max ? Arena.Empty : Arena.Repeat(Arena.AnyChar, min, max);
        if (e.TryGetProperty("pattern", out JsonElement pattern))
        {
            string path = place.Path + "/pattern";
            if (pattern.ValueKind != JsonValueKind.String)
            {
                throw Malformed(path, "must be a string");
            }

            string? comment = e.TryGetProperty("$comment", out JsonElement c) && c.ValueKind == JsonValueKind.String ? c.GetString() : null;
            text = Arena.And(text, Pattern((_wide ? null : DotNetScalars.PatternOf(comment, pattern.GetString()!)) ?? pattern.GetString()!, path));
        }

        if (!_wide && e.TryGetProperty("contentEncoding", out JsonElement encoding) && encoding.ValueKind == JsonValueKind.String && encoding.GetString() == "base64")
        {
            text = Arena.And(text, EcmaRegex.Compile(Arena, DotNetScalars.Base64Text, wholeText: true));
        }

        if (e.TryGetProperty("format", out JsonElement format) && format.ValueKind == JsonValueKind.String && (_wide ? StringFormats.TryGetWide(Arena, format.GetString()!) : StringFormats.TryGet(Arena, format.GetString()!, _options.Rfc3339Times)) is { } rx)
        {
            text = Arena.And(text, rx);
        }

        return text;
    }

    private RegexTerm Pattern(string pattern, string path)
    {
        try
        {
            return EcmaRegex.Compile(Arena, pattern);
        }
        catch (FormatException e)
        {
            throw Malformed(path, e.Message);
        }
        catch (NotSupportedException e) when (e is not GrammarComplexityException)
        {
            Refuse(path, e.Message);
            return Arena.All;
        }
    }

    private NumberConstraint? Numbers(SchemaPlace place, JsonTypes types)
    {
        JsonElement e = place.Element;
        NumberConstraint? result = NumberConstraint.None;
        foreach ((string keyword, bool lower, bool exclusive) in (ReadOnlySpan<(string, bool, bool)>)[("minimum", true, false), ("exclusiveMinimum", true, true), ("maximum", false, false), ("exclusiveMaximum", false, true)])
        {
            if (!e.TryGetProperty(keyword, out JsonElement bound) || (exclusive && bound.ValueKind is JsonValueKind.True or JsonValueKind.False))
            {
                continue;
            }

            if (bound.ValueKind == JsonValueKind.String && !types.HasFlag(JsonTypes.Number))
            {
                continue; // [Range(typeof(DateTime), "2020-01-01", …)]: of texts a bound says nothing.
            }

            ExactDecimal value = Number(bound, place.Path + "/" + keyword);
            bool open = exclusive || (e.TryGetProperty(lower ? "exclusiveMinimum" : "exclusiveMaximum", out JsonElement draft4) && draft4.ValueKind == JsonValueKind.True);
            result = result?.And(lower ? NumberConstraint.None with { Min = value, MinExclusive = open } : NumberConstraint.None with { Max = value, MaxExclusive = open });
        }

        if (e.TryGetProperty("multipleOf", out JsonElement multiple))
        {
            ExactDecimal divisor = Number(multiple, place.Path + "/multipleOf");
            if (divisor.Sign <= 0)
            {
                throw Malformed(place.Path + "/multipleOf", "must be greater than 0");
            }

            if (!MultipleLeaf.CanDivideBy(divisor))
            {
                Refuse(place.Path + "/multipleOf", $"a multiple of {divisor} is beyond what is supported (17 digits)");
            }
            else
            {
                result = result?.And(NumberConstraint.None with { Multiples = [divisor] });
            }
        }

        return !_wide && e.TryGetProperty("format", out JsonElement format) && format.ValueKind == JsonValueKind.String && NumberConstraint.OfFormat(format.GetString()!) is { } range ? result?.And(range) : result;
    }

    private ArrayConstraint? Arrays(SchemaPlace place)
    {
        JsonElement e = place.Element;
        ArrayConstraint result = new() { Min = Count(place, "minItems") ?? 0, Max = Count(place, "maxItems") ?? -1 };
        bool any = result.Min == 0 && result.Max < 0;
        string? restKeyword = "items";
        string? prefixKeyword = e.TryGetProperty("prefixItems", out _) ? "prefixItems" : null;
        if (e.TryGetProperty("items", out JsonElement items) && items.ValueKind == JsonValueKind.Array)
        {
            (prefixKeyword, restKeyword) = ("items", "additionalItems");
        }

        if (prefixKeyword is not null)
        {
            any = false;
            result = result with { Prefix = [.. Subschemas(place, prefixKeyword).Select(s => Literals(s.Place))] };
        }

        if (e.TryGetProperty("unevaluatedItems", out JsonElement unevaluated) && unevaluated.ValueKind != JsonValueKind.True)
        {
            if (s_inPlace.Any(k => e.TryGetProperty(k, out _)) || e.TryGetProperty("contains", out _))
            {
                Refuse(place.Path + "/unevaluatedItems", "it cannot be enforced beside other applicators");
            }
            else if (!e.TryGetProperty(restKeyword, out _))
            {
                restKeyword = "unevaluatedItems";
            }
        }

        if (e.TryGetProperty(restKeyword, out JsonElement rest) && rest.ValueKind != JsonValueKind.True)
        {
            any = false;
            result = result with { Rest = Literals(_document.At(place, rest, "/" + restKeyword)) };
        }

        if (e.TryGetProperty("contains", out JsonElement contains))
        {
            int min = Count(place, "minContains") ?? 1, max = Count(place, "maxContains") ?? -1;
            if (min > 0 || max >= 0)
            {
                any = false;
                result = result with { Contains = [(SchemaLiterals.Of(_document.At(place, contains, "/contains").Id * 2), min, max)] };
            }
        }

        if (e.TryGetProperty("uniqueItems", out JsonElement unique) && unique.ValueKind == JsonValueKind.True && (result.Max < 0 || result.Max > 1))
        {
            any = false;
            result = result with { Unique = _options.Lenient ? null : place.Path + "/uniqueItems" };
        }

        return any ? null : result;
    }

    private ObjectConstraint? Objects(SchemaPlace place)
    {
        JsonElement e = place.Element;
        Dictionary<string, SchemaLiterals> properties = [];
        foreach ((string name, SchemaPlace sub) in Members(place, "properties", null))
        {
            properties[name] = Literals(sub);
        }

        List<(RegexTerm, SchemaLiterals)> patterns = [];
        foreach ((string pattern, SchemaPlace sub) in Members(place, "patternProperties", null))
        {
            patterns.Add((Pattern(pattern, sub.Path), Literals(sub)));
        }

        SchemaLiterals? additional = null;
        string keyword = "additionalProperties";
        if (e.TryGetProperty("unevaluatedProperties", out JsonElement unevaluated) && unevaluated.ValueKind != JsonValueKind.True)
        {
            if (s_inPlace.Any(k => e.TryGetProperty(k, out _)))
            {
                Refuse(place.Path + "/unevaluatedProperties", "it cannot be enforced beside other applicators");
            }
            else if (!e.TryGetProperty(keyword, out _))
            {
                keyword = "unevaluatedProperties";
            }
        }

        if (e.TryGetProperty(keyword, out JsonElement rest) && rest.ValueKind != JsonValueKind.True)
        {
            additional = Literals(_document.At(place, rest, "/" + keyword));
        }

        KeyClause.Coverage says = additional is not null || patterns.Count > 0 || e.TryGetProperty("additionalProperties", out _) || e.TryGetProperty("unevaluatedProperties", out _) ? KeyClause.Coverage.Others
            : e.TryGetProperty("properties", out _) ? KeyClause.Coverage.NamedOnly : KeyClause.Coverage.Nothing;
        List<(string, IReadOnlyList<string>)> dependents = [];
        foreach (string dependency in (ReadOnlySpan<string>)["dependentRequired", "dependencies"])
        {
            if (e.TryGetProperty(dependency, out JsonElement map) && map.ValueKind == JsonValueKind.Object)
            {
                foreach (JsonProperty p in map.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Array))
                {
                    dependents.Add((p.Name, Names(p.Value, place.Path + "/" + dependency + "/" + SchemaDocument.Escape(p.Name))));
                }
            }
        }

        ObjectConstraint result = new()
        {
            Clauses = says == KeyClause.Coverage.Nothing ? [] : [new KeyClause(properties, patterns, additional, says)],
            Required = e.TryGetProperty("required", out JsonElement required) && required.ValueKind == JsonValueKind.Array ? Names(required, place.Path + "/required") : [],
            Dependents = dependents,
            Names = e.TryGetProperty("propertyNames", out JsonElement names) && names.ValueKind != JsonValueKind.True ? Literals(_document.At(place, names, "/propertyNames")) : SchemaLiterals.Any,
            Min = Count(place, "minProperties") ?? 0,
            Max = Count(place, "maxProperties") ?? -1,
        };
        return result.Clauses.Count + result.Required.Count + dependents.Count == 0 && result.Names == SchemaLiterals.Any && result is { Min: 0, Max: < 0 } ? null : result;
    }

    private Conjunction[] Enum(SchemaPlace place, JsonElement values)
    {
        string path = place.Path + "/enum";
        if (values.ValueKind != JsonValueKind.Array)
        {
            throw Malformed(path, "must be an array");
        }

        List<JsonElement> scalars = [];
        List<Conjunction[]> structures = [];
        int i = 0;
        foreach (JsonElement value in values.EnumerateArray())
        {
            if (value.ValueKind is JsonValueKind.Array or JsonValueKind.Object)
            {
                structures.Add(Dnf(_document.At(place, value, "/enum/" + i, true).Id * 2));
            }
            else
            {
                scalars.Add(value);
            }

            i++;
        }

        return Union([scalars.Count == 0 ? [] : [Scalars(scalars)], .. structures]);
    }

    private Conjunction[] Constant(SchemaPlace place)
    {
        JsonElement e = place.Element;
        switch (e.ValueKind)
        {
            case JsonValueKind.Object:
                Dictionary<string, SchemaLiterals> properties = [];
                foreach (JsonProperty p in e.EnumerateObject())
                {
                    properties[p.Name] = SchemaLiterals.Of(_document.At(place, p.Value, "/" + SchemaDocument.Escape(p.Name), true).Id * 2);
                }

                ObjectConstraint o = new() { Clauses = [new KeyClause(properties, [], SchemaLiterals.Of(_document.False.Id * 2), KeyClause.Coverage.Others)], Required = [.. properties.Keys] };
                return [_any with { Types = JsonTypes.Object, Object = o }];
            case JsonValueKind.Array:
                SchemaLiterals[] items = [.. e.EnumerateArray().Select((item, i) => SchemaLiterals.Of(_document.At(place, item, "/" + i, true).Id * 2))];
                return [_any with { Types = JsonTypes.Array, Array = new ArrayConstraint { Prefix = items, Min = items.Length, Max = items.Length } }];
            default:
                return [Scalars([e])];
        }
    }

    private Conjunction Scalars(List<JsonElement> values)
    {
        JsonTypes types = JsonTypes.None;
        List<string> texts = [];
        List<(ExactDecimal, string)> numbers = [];
        foreach (JsonElement value in values)
        {
            switch (value.ValueKind)
            {
                case JsonValueKind.Null: types |= JsonTypes.Null; break;
                case JsonValueKind.True: types |= JsonTypes.True; break;
                case JsonValueKind.False: types |= JsonTypes.False; break;
                case JsonValueKind.String:
                    types |= JsonTypes.String;
                    texts.Add(value.GetString()!);
                    break;
                default:
                    types |= JsonTypes.Number;
                    numbers.Add((ExactDecimal.Parse(value.GetRawText()), value.GetRawText()));
                    break;
            }
        }

        return new Conjunction(
            types, texts.Count == 0 ? Arena.All : Arena.Leaf(LiteralSet.Of(texts)), numbers.Count == 0 ? NumberConstraint.None : NumberConstraint.None with { Values = numbers }, null, null);
    }

    /// <summary>Each alternative without what any other one also accepts. Where two cannot overlap (given what is known beside them), nothing has to be taken away.</summary>
    private Conjunction[] OneOf(SchemaPlace place, Conjunction[] beside)
    {
        SchemaPlace[] subs = [.. Subschemas(place, "oneOf").Select(s => s.Place)];
        Conjunction[][] alternatives = [.. subs.Select(s => Product(beside, Dnf(s.Id * 2)))];
        Conjunction[][] others = [.. subs.Select(s => OtherWay(() => Product(beside, Dnf(s.Id * 2))))];
        List<Conjunction[]> result = [];
        for (int i = 0; i < subs.Length; i++)
        {
            Conjunction[] left = _wide ? alternatives[i] : [.. alternatives[i].Where(IsPossible)];
            for (int j = 0; j < subs.Length && left.Length > 0; j++)
            {
                if (i == j)
                {
                    continue;
                }

                List<Conjunction> kept = [];
                foreach (Conjunction c in left)
                {
                    if (!others[j].Any(d => Overlap(c, d)))
                    {
                        kept.Add(c);
                        continue;
                    }

                    Conjunction[] reduced = Guarded(subs[j].Path, [c], r => Product(r, Dnf((subs[j].Id * 2) + 1)));
                    kept.AddRange(_wide ? reduced : reduced.Where(IsPossible));
                }

                left = Limited(kept.Distinct());
            }

            result.Add(left);
        }

        return Union(result);
    }

    /// <summary>Whether some reader may see a value in both.</summary>
    private bool Overlap(Conjunction a, Conjunction b)
    {
        if (And(a, b) is { } both && IsPossible(both))
        {
            return true;
        }

        // That none is written does not say that none is in both: what readers judge differently is never written.
        return (a.Types & b.Types).HasFlag(JsonTypes.Number) && a.Number.AsDoubles().And(b.Number.AsDoubles()) is not null;
    }

    private Conjunction[] Guarded(string path, Conjunction[] unchanged, Func<Conjunction[], Conjunction[]> apply)
    {
        try
        {
            return apply(unchanged);
        }
        catch (NotSupportedException e) when (e is not GrammarComplexityException && !e.Message.StartsWith("The JSON schema", StringComparison.Ordinal))
        {
            Refuse(path, e.Message);
            return unchanged;
        }
    }

    private void Refuse(string path, string why)
    {
        if (!_options.Lenient)
        {
            throw new NotSupportedException($"The JSON schema cannot be enforced at '{path}': {why}. Remove the keyword, or allow the lenient mode, which ignores it.");
        }
    }

    private (string Keyword, Func<string, SchemaPlace, SchemaPlace> Resolve)[] References() =>
        [("$ref", _document.Resolve), ("$dynamicRef", _document.ResolveDynamic), ("$recursiveRef", (_, place) => _document.ResolveRecursive(place))];

    private SchemaPlace Resolve(JsonElement reference, SchemaPlace place, string keyword, Func<string, SchemaPlace, SchemaPlace> resolve)
    {
        if (reference.ValueKind != JsonValueKind.String || (keyword == "$recursiveRef" && reference.GetString() != "#"))
        {
            throw Malformed(place.Path + "/" + keyword, keyword == "$recursiveRef" ? "must be \"#\"" : "must be a text");
        }

        try
        {
            return resolve(reference.GetString()!, place);
        }
        catch (NotSupportedException) when (_options.Lenient)
        {
            return _document.True;
        }
    }

    private IEnumerable<(SchemaPlace Place, int Index)> Subschemas(SchemaPlace place, string keyword)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement list))
        {
            yield break;
        }

        if (list.ValueKind != JsonValueKind.Array)
        {
            throw Malformed(place.Path + "/" + keyword, "must be an array of schemas");
        }

        int i = 0;
        foreach (JsonElement item in list.EnumerateArray())
        {
            yield return (_document.At(place, item, "/" + keyword + "/" + i), i);
            i++;
        }
    }

    private IEnumerable<(string Name, SchemaPlace Place)> Members(SchemaPlace place, string keyword, JsonValueKind? without)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement map))
        {
            yield break;
        }

        if (map.ValueKind != JsonValueKind.Object)
        {
            throw Malformed(place.Path + "/" + keyword, "must be an object of schemas");
        }

        foreach (JsonProperty p in map.EnumerateObject())
        {
            if (p.Value.ValueKind != without)
            {
                yield return (p.Name, _document.At(place, p.Value, "/" + keyword + "/" + SchemaDocument.Escape(p.Name)));
            }
        }
    }

    private static IReadOnlyList<string> Names(JsonElement list, string path) =>
        [.. list.EnumerateArray().Select(n => n.ValueKind == JsonValueKind.String ? n.GetString()! : throw Malformed(path, "must be an array of names")).Distinct()];

    private static int? Count(SchemaPlace place, string keyword)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement value))
        {
            return null;
        }

        if (keyword is "maxLength" or "maxItems" && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int none) && none == -1)
        {
            return null; // [MaxLength] without a number: as much as a database takes.
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double d) && d >= 0 && d == Math.Floor(d)
            ? (int)Math.Min(d, 1_000_000_000)
            : throw Malformed(place.Path + "/" + keyword, $"must be a whole number of at least 0, not {Shown(value)}");
    }

    /// <summary>A number; as text too, which .NET makes of [Range(typeof(decimal), "0.01", "99.99")].</summary>
    private static ExactDecimal Number(JsonElement value, string path) =>
        value.ValueKind == JsonValueKind.Number ? ExactDecimal.Parse(value.GetRawText())
        : value.ValueKind == JsonValueKind.String && ExactDecimal.TryParse(value.GetString()!, out ExactDecimal number) ? number
        : throw Malformed(path, $"must be a number, not {Shown(value)}");

    private static string Shown(JsonElement value) => value.GetRawText() is { Length: > 60 } text ? text[..60] + "…" : value.GetRawText();

    private static ArgumentException Malformed(string path, string why) => new($"The JSON schema is malformed at '{path}': {why}.");
}
