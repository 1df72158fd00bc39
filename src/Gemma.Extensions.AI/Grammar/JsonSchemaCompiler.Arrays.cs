namespace Gemma.Extensions.AI.Grammar;

// From constraints to arrays that can be read.
internal sealed partial class JsonSchemaCompiler
{
    private ArrayAtom MakeArray(ArrayConstraint c)
    {
        (SchemaLiterals Item, int Min, int Max)[] contains = [.. c.Contains];
        if (contains.Length > 3 || (contains.Length > 0 && (c.Min > 500 || contains.Any(x => x.Min > 500))))
        {
            throw new GrammarComplexityException("an array has more than 3 contains, or counts above 500 beside one");
        }

        TextChoice? unique = null;
        if (c.Unique && c.Max is < 0 or > 1)
        {
            if (contains.Length > 0 || c.Prefix.Count > 0)
            {
                throw new NotSupportedException("uniqueItems beside prefixItems or contains");
            }

            unique = new TextChoice(FiniteTexts(NodeOf(c.Rest)));
        }

        return new ArrayAtom(_atoms++, Node, c.Prefix.Count, c.Min, c.Max, [.. contains.Select(x => (x.Min, x.Max))], unique, _options.AllowWhitespace);

        ValueNode Node(int index, int marks)
        {
            SchemaLiterals item = c.At(index);
            for (int i = 0; i < contains.Length; i++)
            {
                if ((marks & (1 << i)) != 0)
                {
                    item = item.And(contains[i].Item);
                }
                else if (contains[i].Max >= 0)
                {
                    // With an upper limit, an item that is not counted must not match.
                    if (contains[i].Item.Codes is not [int code])
                    {
                        throw new NotSupportedException("an upper limit on a contains that joins several schemas");
                    }

                    item = item.And(SchemaLiterals.Of(code ^ 1));
                }
            }

            return NodeOf(item);
        }
    }

    /// <summary>The texts of a node with finitely many values.</summary>
    private List<byte[]> FiniteTexts(ValueNode node)
    {
        const int Limit = 2_000;
        SortedSet<string> texts = new(StringComparer.Ordinal);
        foreach (Conjunction c in Expand(node))
        {
            Add(JsonTypes.Null, "null");
            Add(JsonTypes.True, "true");
            Add(JsonTypes.False, "false");
            if ((c.Types & (JsonTypes.Array | JsonTypes.Object)) != 0
                || (c.Types.HasFlag(JsonTypes.Number) && c.Number.Values is null && !(c.Number.Integer == true && c.Number.Min is not null && c.Number.Max is not null))
                || (c.Types.HasFlag(JsonTypes.String) && !c.Text.Finite))
            {
                throw new NotSupportedException("uniqueItems over items of which there are infinitely many");
            }

            if (c.Types.HasFlag(JsonTypes.Number))
            {
                // One spelling a value.
                texts.UnionWith(c.Number.Values?.Where(v => c.Number.Allows(v.Value)).Select(v => v.Value.ToString()) ?? Arena.Enumerate(NumberSpelling.Of(Arena, c.Number), Limit));
            }

            if (c.Types.HasFlag(JsonTypes.String))
            {
                texts.UnionWith(Arena.Enumerate(c.Text, Limit).Select(t => "\"" + System.Text.Encoding.UTF8.GetString(JsonText.Escape(t)) + "\""));
            }

            void Add(JsonTypes type, string text)
            {
                if (c.Types.HasFlag(type))
                {
                    texts.Add(text);
                }
            }
        }

        // Numbers that one reader cannot tell apart are one number.
        HashSet<double> numbers = [];
        return [.. texts.Where(text => text[0] is not ('-' or (>= '0' and <= '9')) || numbers.Add(ExactDecimal.Parse(text).ToDouble())).Select(System.Text.Encoding.UTF8.GetBytes)];
    }
}
