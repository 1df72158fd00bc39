using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

// From constraints to arrays that can be read.
internal sealed partial class JsonSchemaCompiler
{
    private ArrayMatcher MakeArray(ArrayConstraint c)
    {
        (SchemaLiterals Item, int Min, int Max)[] contains = [.. c.Contains];
        if (contains.Length > 3 || (contains.Length > 0 && (c.Min > 500 || contains.Any(x => x.Min > 500))))
        {
            throw new GrammarComplexityException("an array has more than 3 contains, or counts above 500 beside one");
        }

        return new ArrayMatcher(_matcherCount++, Node, c.Prefix.Count, c.Min, c.Max, [.. contains.Select(x => (x.Min, x.Max))], c.Max is 0 or 1 ? null : c.Unique, _options.AllowWhitespace);

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
                    if (contains[i].Item.All is not [SchemaLiteral literal])
                    {
                        throw new NotSupportedException("an upper limit on a contains that joins several schemas");
                    }

                    item = item.And(SchemaLiterals.Of(literal.Complement));
                }
            }

            return NodeOf(item);
        }
    }
}
