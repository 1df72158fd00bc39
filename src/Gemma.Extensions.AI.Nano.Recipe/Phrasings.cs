using System.Text;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// Ways to say one thing. A template is text with slots in braces and alternatives in parentheses, nested as one likes:
/// <c>(Please|Can you) (show|tell) me {what}(, please|).</c> A quarter of the templates of every list, by a hash of their spelling, is never used
/// in training: only the evaluation of phrasings draws them.
/// </summary>
internal sealed class Phrasings
{
    private const int Share = 4;

    /// <summary>Before a template that is always trained: what the guides ask.</summary>
    private const char Pinned = '!';

    private const double Mistyped = 0.008;

    private readonly string[] _train, _heldOut;

    private string[] _more = [];

    /// <param name="templates">Each is one skeleton: alternatives inside it stand on the same side of the fence.</param>
    public Phrasings(params string[] templates)
    {
        string[] ordered = [.. templates.Where(t => !t.StartsWith(Pinned)).OrderBy(Lexicon.Hash).ThenBy(t => t, StringComparer.Ordinal)];
        int heldOut = (templates.Length + 1) / Share;
        _heldOut = ordered[..heldOut];
        _train = [.. ordered[heldOut..], .. templates.Where(t => t.StartsWith(Pinned)).Select(t => t[1..])];
    }

    /// <summary>Templates that only training draws.</summary>
    public IReadOnlyList<string> More => _more;

    /// <summary>
    /// Adds templates that only training draws, as often as the others: they widen what it has read without widening what the evaluation asks, in phrasings of training or in those held out.
    /// One that can say what a held-out template says is refused by a test.
    /// </summary>
    public Phrasings Also(params string[] templates)
    {
        _more = [.. _more, .. templates];
        return this;
    }

    /// <summary>Templates of one side; those of training where the list is too short to be divided.</summary>
    public IReadOnlyList<string> Of(Split phrasing) => phrasing == Split.HeldOut && _heldOut.Length > 0 ? _heldOut : _train;

    /// <summary>Draws a template and its alternatives, and fills the slots.</summary>
    public string Fill(Lexicon l, params ReadOnlySpan<(string Slot, string Value)> values)
    {
        string template = l.Pick(l.Split == Split.Train && _more.Length > 0 && l.Chance(0.5) ? _more : Of(l.Phrasing));
        l.Use(template, _heldOut.Contains(template) ? Split.HeldOut : Split.Train);
        StringBuilder text = new();
        int at = 0;
        Expand(l, template, ref at, text, values, write: true);
        if (template.StartsWith("{noun}", StringComparison.Ordinal))
        {
            text[0] = char.ToUpperInvariant(text[0]);
        }

        return text.ToString();
    }

    /// <summary>Two neighbouring letters changed, or one left out.</summary>
    private static void Mistype(Lexicon l, StringBuilder text)
    {
        int n = text.Length;
        if (n > 3 && char.IsAsciiLetterLower(text[n - 1]) && char.IsAsciiLetterLower(text[n - 2]) && char.IsAsciiLetterLower(text[n - 3]) && l.Chance(Mistyped))
        {
            if (l.Chance(0.5))
            {
                (text[n - 1], text[n - 2]) = (text[n - 2], text[n - 1]);
            }
            else
            {
                text.Length--;
            }
        }
    }

    /// <summary>Expands up to the end, or to the bar or parenthesis that ends an alternative.</summary>
    private static void Expand(Lexicon l, string template, ref int at, StringBuilder text, ReadOnlySpan<(string Slot, string Value)> values, bool write)
    {
        while (at < template.Length && template[at] is not ('|' or ')'))
        {
            switch (template[at])
            {
                case '(':
                    Choose(l, template, ref at, text, values, write);
                    break;
                case '{':
                    int close = template.IndexOf('}', at);
                    string slot = template[(at + 1)..close];
                    if (write)
                    {
                        text.Append(Value(values, slot, template));
                    }

                    at = close + 1;
                    break;
                default:
                    if (write)
                    {
                        text.Append(template[at]);
                        Mistype(l, text);
                    }

                    at++;
                    break;
            }
        }
    }

    private static void Choose(Lexicon l, string template, ref int at, StringBuilder text, ReadOnlySpan<(string Slot, string Value)> values, bool write)
    {
        int chosen = write ? l.Random.Next(Alternatives(template, at)) : -1;
        at++;
        for (int i = 0; ; i++)
        {
            Expand(l, template, ref at, text, values, i == chosen);
            if (template[at++] == ')')
            {
                return;
            }
        }
    }

    private static int Alternatives(string template, int open)
    {
        int depth = 0, count = 1;
        for (int i = open; i < template.Length; i++)
        {
            depth += template[i] switch { '(' => 1, ')' => -1, _ => 0 };
            count += template[i] == '|' && depth == 1 ? 1 : 0;
            if (depth == 0)
            {
                return count;
            }
        }

        throw new FormatException($"The template '{template}' has a parenthesis that is not closed.");
    }

    private static string Value(ReadOnlySpan<(string Slot, string Value)> values, string slot, string template)
    {
        foreach ((string name, string value) in values)
        {
            if (name == slot)
            {
                return value;
            }
        }

        throw new FormatException($"The template '{template}' has the slot '{slot}', for which nothing is given.");
    }
}
