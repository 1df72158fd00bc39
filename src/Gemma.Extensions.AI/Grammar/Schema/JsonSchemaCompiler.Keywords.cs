using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

// The keywords: from schemas to disjunctions, and their complements.
internal sealed partial class JsonSchemaCompiler
{
    private static readonly string[] s_inPlace = ["$ref", "$dynamicRef", "$recursiveRef", "allOf", "anyOf", "oneOf", "if", "dependentSchemas", "dependencies"];

    /// <summary>The alternatives of a schema or of its complement.</summary>
    private Conjunction[] Dnf(SchemaLiteral literal)
    {
        (SchemaLiteral, bool Wide) key = (literal, _wide);
        if (_dnf.TryGetValue(key, out Conjunction[]? known))
        {
            return known;
        }

        SchemaPlace place = _document[literal.Id];
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
            return _dnf[key] = literal.IsNegated ? Negate(OtherWay(() => Dnf(literal.Complement)), place) : place.IsConstant ? Constant(place) : Positive(place);
        }
        finally
        {
            _inProgress.Remove(key);
            _depth--;
        }
    }

    /// <summary>
    /// Evaluates a complement's operand in the opposite direction of approximation. Written texts must satisfy a schema for every reader, so a complement must exclude
    /// whatever satisfies it for any reader: a format, for one, has more texts than are written, and a text outside those may still be one.
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

            result = Product(result, Dnf(Resolve(reference, place, keyword, resolve).Literal));
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
            result = Product(result, Dnf(_document.At(place, constant, "/const", true).Literal));
        }

        if (e.TryGetProperty("enum", out JsonElement values))
        {
            result = Product(result, Enum(place, values));
        }

        return Conditions(place, Combinations(place, result));
    }

    /// <summary>allOf, anyOf, oneOf and not.</summary>
    private Conjunction[] Combinations(SchemaPlace place, Conjunction[] result)
    {
        JsonElement e = place.Element;
        foreach ((SchemaPlace sub, _) in Subschemas(place, "allOf"))
        {
            result = Product(result, Dnf(sub.Literal));
        }

        if (e.TryGetProperty("anyOf", out _))
        {
            result = Product(result, Union(Subschemas(place, "anyOf").Select(s => Dnf(s.Place.Literal))));
        }

        if (e.TryGetProperty("oneOf", out _))
        {
            result = Product(result, OneOf(place, result));
        }

        if (e.TryGetProperty("not", out JsonElement not))
        {
            SchemaPlace sub = _document.At(place, not, "/not");
            result = Guarded(sub.Path, result, r => Product(r, Dnf(sub.Literal.Complement)));
        }

        return result;
    }

    /// <summary>if, then and else, and what depends on a property.</summary>
    private Conjunction[] Conditions(SchemaPlace place, Conjunction[] result)
    {
        JsonElement e = place.Element;
        if (e.TryGetProperty("if", out JsonElement condition))
        {
            SchemaPlace test = _document.At(place, condition, "/if");
            Conjunction[] then = e.TryGetProperty("then", out JsonElement t) ? Dnf(_document.At(place, t, "/then").Literal) : [_any];
            Conjunction[] otherwise = e.TryGetProperty("else", out JsonElement o) ? Dnf(_document.At(place, o, "/else").Literal) : [_any];
            result = Guarded(test.Path, result, r => Union([Product(r, Product(ClosedObjects.WithoutCoverage(Dnf(test.Literal)), then)), Product(r, Product(Dnf(test.Literal.Complement), otherwise))]));
        }

        foreach (string keyword in (ReadOnlySpan<string>)["dependencies", "dependentSchemas"])
        {
            foreach ((string name, SchemaPlace sub) in Members(place, keyword, keyword == "dependencies" ? JsonValueKind.Array : null))
            {
                Conjunction absent = _any with { Object = Key(name, SchemaLiterals.Of(_document.False.Literal), false) };
                Conjunction present = _any with { Types = JsonTypes.Object, Object = Key(name, SchemaLiterals.Any, true) };
                result = Product(result, Union([[absent], Product([present], Dnf(sub.Literal))]));
            }
        }

        return result;
    }

    private SchemaLiterals Literals(SchemaPlace place) => place.Element.ValueKind switch
    {
        JsonValueKind.True => SchemaLiterals.Any,
        JsonValueKind.False => SchemaLiterals.Of(_document.False.Literal),
        _ => SchemaLiterals.Of(place.Literal),
    };

    private static ObjectConstraint Key(string name, SchemaLiterals value, bool required) => new()
    {
        Clauses = value == SchemaLiterals.Any ? [] : [new KeyClause(new Dictionary<string, SchemaLiterals> { [name] = value }, [], null, KeyClause.Coverage.Nothing)],
        Required = required ? [name] : [],
    };

    /// <summary>Each alternative minus all others. Two that cannot overlap (given the constraints beside them) need no subtraction.</summary>
    private Conjunction[] OneOf(SchemaPlace place, Conjunction[] beside)
    {
        SchemaPlace[] subs = [.. Subschemas(place, "oneOf").Select(s => s.Place)];
        Conjunction[][] alternatives = [.. subs.Select(s => Product(beside, Dnf(s.Literal)))];
        Conjunction[][] others = [.. subs.Select(s => OtherWay(() => Product(beside, Dnf(s.Literal))))];
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

                    Conjunction[] reduced = Guarded(subs[j].Path, [c], r => Product(r, Dnf(subs[j].Literal.Complement)));
                    kept.AddRange(_wide ? reduced : reduced.Where(IsPossible));
                }

                left = Limited(kept.Distinct());
            }

            result.Add(left);
        }

        return Union(result);
    }

    /// <summary>True if some reader may see a value that satisfies both.</summary>
    private bool Overlap(Conjunction a, Conjunction b)
    {
        if (And(a, b) is { } both && IsPossible(both))
        {
            return true;
        }

        // An empty intersection of written texts proves nothing: values that readers judge differently are never written.
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
}
