using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag.Answering;

/// <summary>
/// Passes text through and drops citations of passages that don't exist: [7] of five passages. Text is held back only from an open bracket to
/// the first character that decides.
/// </summary>
internal sealed class CitationFilter(int passages)
{
    private readonly StringBuilder _held = new();

    /// <summary>Numbers that were cited, in order of first use.</summary>
    public List<int> Cited { get; } = [];

    /// <summary>The part of the text that can be shown now.</summary>
    public string Push(string text)
    {
        StringBuilder shown = new();
        foreach (char c in text)
        {
            if (_held.Length == 0)
            {
                (c == '[' ? _held : shown).Append(c);
                continue;
            }

            _held.Append(c);
            if (c == ']')
            {
                shown.Append(Resolve(_held.ToString()));
                _held.Clear();
            }
            else if (!char.IsAsciiDigit(c) && c is not (',' or ' ') || _held.Length > 64)
            {
                // Not a citation; a bracket that opens here may still begin one.
                bool reopened = c == '[';
                shown.Append(_held, 0, _held.Length - (reopened ? 1 : 0));
                _held.Clear();
                _held.Append(reopened ? "[" : "");
            }
        }

        return shown.ToString();
    }

    /// <summary>What is left at the end.</summary>
    public string Flush()
    {
        string rest = _held.ToString();
        _held.Clear();
        return rest;
    }

    private string Resolve(string bracket)
    {
        string[] parts = bracket[1..^1].Split([',', ' '], StringSplitOptions.RemoveEmptyEntries);
        if (parts.Length == 0)
        {
            return bracket;
        }

        int[] known = [.. parts.Select(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : 0).Where(n => n >= 1 && n <= passages)];
        foreach (int number in known.Where(n => !Cited.Contains(n)))
        {
            Cited.Add(number);
        }

        return string.Concat(known.Select(n => string.Create(CultureInfo.InvariantCulture, $"[{n}]")));
    }
}
