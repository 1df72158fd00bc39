using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Keywords for types, strings and numbers, which give no alternatives.
internal sealed partial class JsonSchemaCompiler
{
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
}
