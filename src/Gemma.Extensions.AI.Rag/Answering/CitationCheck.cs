using Gemma.Extensions.AI.Rag.Retrieval;
using Gemma.Extensions.AI.Rag.Words;

namespace Gemma.Extensions.AI.Rag.Answering;

/// <summary>
/// Compares a statement with the passage that it cites. A small model finds the answer and often writes the number of the passage beside it; the words tell which one it read. Only what the
/// question does not say counts, since that is what was found, and neighbouring words count as a pair too.
/// </summary>
/// <param name="question">The question.</param>
/// <param name="passages">The passages as the model read them.</param>
internal sealed class CitationCheck(string question, IEnumerable<string> passages)
{
    private readonly HashSet<string> _asked = [.. Keys(question)];
    private readonly HashSet<string>[] _held = [.. passages.Select(passage => Terms(Keys(passage)).ToHashSet(StringComparer.Ordinal))];

    /// <summary>
    /// The passage to cite: the one that the model cited, unless it lacks words of the statement and exactly one other holds all of them that any passage holds. Where none holds all, the same
    /// is tried with the numbers of the statement alone, for a passage that has none of them.
    /// </summary>
    /// <param name="statement">What stands before the citation.</param>
    /// <param name="cited">Number of a passage, from 1.</param>
    public int Check(string statement, int cited)
    {
        string[] words = [.. Keys(LastSentence(statement)).Select(word => _asked.Contains(word) || QueryTerms.IsFunction(word) ? "" : word)];
        string[] found = [.. Terms(words).Distinct(StringComparer.Ordinal).Where(term => _held.Any(held => held.Contains(term)))];
        if (found.All(_held[cited - 1].Contains))
        {
            return cited;
        }

        int[] whole = Holding(found);
        string[] numbers = [.. found.Where(term => !term.Contains(' ', StringComparison.Ordinal) && term.Any(char.IsDigit))];
        return whole is [int only] ? only
            : whole.Length == 0 && numbers.Length > 0 && !numbers.Any(_held[cited - 1].Contains) && Holding(numbers) is [int source] ? source
            : cited;
    }

    private int[] Holding(string[] terms) => [.. _held.Index().Where(held => terms.All(held.Item.Contains)).Select(held => held.Index + 1)];

    /// <summary>The words of a text in their order, without their endings.</summary>
    private static IEnumerable<string> Keys(string text) => SearchWords.Of(text).Where(word => word.First == 0 || word.IsPair).Select(QueryTerms.Key);

    /// <summary>Each word, and each two that follow each other; empty words are none.</summary>
    private static IEnumerable<string> Terms(IEnumerable<string> words)
    {
        string before = "";
        foreach (string word in words)
        {
            if (word.Length > 0)
            {
                yield return word;
                if (before.Length > 0)
                {
                    yield return before + " " + word;
                }
            }

            before = word;
        }
    }

    /// <summary>The sentence that a citation stands in, or behind.</summary>
    private static string LastSentence(string text)
    {
        string statement = text.TrimEnd().TrimEnd('.', '!', '?', '。', '！', '？');
        for (int i = statement.Length - 1; i > 0; i--)
        {
            if (statement[i - 1] is '。' or '！' or '？' || PassageFrame.LineBreaks.Contains(statement[i - 1]) || (statement[i] == ' ' && statement[i - 1] is '.' or '!' or '?'))
            {
                return statement[i..];
            }
        }

        return statement;
    }
}
