using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// const and enum.
internal sealed partial class JsonSchemaCompiler
{
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
                structures.Add(Dnf(_document.At(place, value, "/enum/" + i, true).Literal));
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
                    properties[p.Name] = SchemaLiterals.Of(_document.At(place, p.Value, "/" + SchemaDocument.Escape(p.Name), true).Literal);
                }

                ObjectConstraint o = new() { Clauses = [new KeyClause(properties, [], SchemaLiterals.Of(_document.False.Literal), KeyClause.Coverage.Others)], Required = [.. properties.Keys] };
                return [_any with { Types = JsonTypes.Object, Object = o }];
            case JsonValueKind.Array:
                SchemaLiterals[] items = [.. e.EnumerateArray().Select((item, i) => SchemaLiterals.Of(_document.At(place, item, "/" + i, true).Literal))];
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
}
