using System.Text;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Counts what a content stream of a PDF holds (PDF, 7.2 and 7.8), in one pass and without drawing it.</summary>
internal readonly ref struct PdfContentScanner
{
    public PdfContentScanner(ReadOnlySpan<byte> content)
    {
        Drawn = [];
        string name = "";
        int state = 0;
        for (int i = 0; i < content.Length;)
        {
            switch (content[i])
            {
                case (byte)'(':
                    i = EndOfString(content, i, out int characters);
                    Characters += characters;
                    break;
                case (byte)'<':
                    int end = content[i..].IndexOf((byte)'>');
                    end = end < 0 ? content.Length : i + end;
                    Characters += (end - i) / 2;
                    i = end + 1;
                    break;
                case (byte)'%':
                    int line = content[i..].IndexOfAny((byte)'\r', (byte)'\n');
                    i = line < 0 ? content.Length : i + line;
                    break;
                case var c when IsRegular(c):
                    int start = i;
                    i = EndOfWord(content, i);
                    Words++;
                    state = content[start..i] switch
                    {
                        [(byte)'q'] => state + 1,
                        [(byte)'Q'] => Math.Max(0, state - 1),
                        _ => state,
                    };
                    DeepestState = Math.Max(DeepestState, state);
                    if (name.Length > 0 && content[start..i].SequenceEqual("Do"u8))
                    {
                        Drawn[name] = Drawn.GetValueOrDefault(name) + 1;
                    }

                    break;
                case (byte)'/':
                    start = i + 1;
                    i = EndOfWord(content, start);
                    name = Name(content[start..i]);
                    break;
                default:
                    i++;
                    break;
            }
        }
    }

    /// <summary>Numbers and operators.</summary>
    public long Words { get; }

    /// <summary>Bytes of strings.</summary>
    public long Characters { get; }

    /// <summary>Most states that are saved at a time.</summary>
    public int DeepestState { get; }

    /// <summary>Number of times that each image or form is drawn, by its name in the resources.</summary>
    public Dictionary<string, int> Drawn { get; }

    internal static bool IsRegular(byte c) => c > 32 && c is not ((byte)'(' or (byte)')' or (byte)'<' or (byte)'>' or (byte)'[' or (byte)']' or (byte)'{' or (byte)'}' or (byte)'/' or (byte)'%');

    private static int EndOfWord(ReadOnlySpan<byte> content, int i)
    {
        while (i < content.Length && IsRegular(content[i]))
        {
            i++;
        }

        return i;
    }

    /// <summary>Behind the bracket that closes the string; brackets within it are pairs, or escaped.</summary>
    internal static int EndOfString(ReadOnlySpan<byte> content, int i, out int characters)
    {
        characters = 0;
        int depth = 0;
        for (; i < content.Length; i++)
        {
            byte c = content[i];
            if (c == '\\')
            {
                i++;
            }
            else if (c == '(')
            {
                depth++;
            }
            else if (c == ')' && --depth == 0)
            {
                return i + 1;
            }

            characters++;
        }

        return content.Length;
    }

    /// <summary>A name with its escapes: #20 is a space.</summary>
    internal static string Name(ReadOnlySpan<byte> name)
    {
        if (!name.Contains((byte)'#'))
        {
            return Encoding.Latin1.GetString(name);
        }

        StringBuilder text = new();
        for (int i = 0; i < name.Length; i++)
        {
            if (name[i] == '#' && i + 2 < name.Length && char.IsAsciiHexDigit((char)name[i + 1]) && char.IsAsciiHexDigit((char)name[i + 2]))
            {
                text.Append((char)Convert.FromHexString(Encoding.Latin1.GetString(name.Slice(i + 1, 2)))[0]);
                i += 2;
            }
            else
            {
                text.Append((char)name[i]);
            }
        }

        return text.ToString();
    }
}
