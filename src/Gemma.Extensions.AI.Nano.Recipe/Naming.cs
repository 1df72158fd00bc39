namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Naming convention for the tools of one program: the same verb for similar actions, and one spelling. Mixed: each name follows its own.</summary>
internal sealed class Naming(Lexicon l, bool mixed)
{
    private readonly Dictionary<string, string> _verbs = [];
    private readonly int _spelling = Style(l);

    /// <summary>The verb and the noun in snake_case, camelCase, PascalCase or kebab-case, sometimes the noun first.</summary>
    /// <param name="verbs">With spaces between them.</param>
    /// <param name="noun">With spaces between its words.</param>
    public string Name(string verbs, string noun)
    {
        if (mixed || !_verbs.TryGetValue(verbs, out string? verb))
        {
            verb = _verbs[verbs] = l.Pick(Lexicon.Words(verbs));
        }

        int spelling = mixed ? Style(l) : _spelling;
        bool nounFirst = spelling >= 8;
        string[] parts = (nounFirst ? noun + " " + verb : verb + " " + noun).Trim().Split(' ');
        return spelling switch
        {
            0 or 1 => string.Concat(parts.Select(l.Capital)),
            7 or 9 => string.Join('-', parts),
            2 or 3 or 10 => string.Concat(parts.Select((part, i) => i == 0 ? part : l.Capital(part))),
            _ => string.Join('_', parts),
        };
    }

    private static int Style(Lexicon l) => l.Random.Next(11);
}
