using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Rag.Words;

namespace Gemma.Extensions.AI.Rag.Answering;

/// <summary>
/// The frame of passages and questions in a prompt. A line of their text that looks like the frame gets a backslash in front, so that none can pretend to be another passage or the
/// question; all other text stays as it is, and what was put together can be taken apart again without doubt.
/// </summary>
internal static class PassageFrame
{
    /// <summary>Longest beginning of a line that is looked at: a frame is short.</summary>
    private const int Looked = 80;

    private const string Open = "[［【〔⟦", Close = "]］】〕⟧", Colons = ":：︓︰﹕꞉∶ː";

    private static readonly string[] s_words = ["question", "passage", "passages"];

    /// <summary>All that shows as the end of a line somewhere.</summary>
    internal const string LineBreaks = "\n\r\v\f\u0085\u2028\u2029";

    /// <summary>The user's message of an answer.</summary>
    public static string Render(string question, IEnumerable<string> passages)
    {
        StringBuilder text = new("Passages:\n\n");
        foreach ((int i, string passage) in passages.Index())
        {
            text.Append(CultureInfo.InvariantCulture, $"[{i + 1}] {Escape(passage)}\n\n");
        }

        // Nothing stands behind the question, so that it can hold what it likes.
        return text.Append("Question: ").Append(question).ToString();
    }

    /// <summary>The message that asks a judge about one passage.</summary>
    public static string RenderJudgement(string question, string passage) =>
        $"Question: {Escape(question)}\n\nPassage: {Escape(passage)}\n\nDoes the passage answer the question? Reply Yes or No.";

    /// <summary>The text with a backslash before each line that looks like a part of a frame, behind any backslashes that it begins with.</summary>
    public static string Escape(string text)
    {
        StringBuilder? escaped = null;
        int written = 0;
        for (int start = 0; start < text.Length;)
        {
            int end = text.AsSpan(start).IndexOfAny(LineBreaks);
            end = end < 0 ? text.Length : start + end;
            if (IsFrame(text.AsSpan(start, end - start).TrimStart('\\')))
            {
                (escaped ??= new StringBuilder(text.Length + 16)).Append(text, written, start - written).Append('\\');
                written = start;
            }

            start = end + 1;
        }

        return escaped is null ? text : escaped.Append(text, written, text.Length - written).ToString();
    }

    /// <summary>True if a line begins with a number in brackets or one of the words with a colon; case, width and invisible characters in between are ignored.</summary>
    internal static bool IsFrame(ReadOnlySpan<char> line)
    {
        line = Visible(line);
        if (line.IsEmpty)
        {
            return false;
        }

        ReadOnlySpan<char> head = line[..Math.Min(line.Length, Looked)];
        if (Open.Contains(head[0]))
        {
            int close = head.IndexOfAny(Close);
            ReadOnlySpan<char> inner = close > 0 ? head[1..close] : [];
            return inner.ContainsAnyExcept(" \t") && CharacterFolding.Fold(inner).Trim() is { Length: > 0 } number && number.All(c => char.IsAsciiDigit(c) || c == ' ');
        }

        int colon = head.IndexOfAny(Colons);
        return (colon > 0 && s_words.Contains(CharacterFolding.Fold(head[..colon]).Trim(), StringComparer.Ordinal))
            || CharacterFolding.Fold(head).StartsWith("does the passage answer the question", StringComparison.Ordinal);
    }

    /// <summary>The line from its first character that shows.</summary>
    private static ReadOnlySpan<char> Visible(ReadOnlySpan<char> line)
    {
        int i = 0;
        while (i < line.Length && (char.IsWhiteSpace(line[i]) || char.GetUnicodeCategory(line[i]) is UnicodeCategory.Format or UnicodeCategory.Control or UnicodeCategory.NonSpacingMark))
        {
            i++;
        }

        return line[i..];
    }
}
