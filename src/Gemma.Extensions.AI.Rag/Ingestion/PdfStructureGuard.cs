using System.Globalization;
using UglyToad.PdfPig.Tokens;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>
/// Looks at the objects of a PDF before the parser follows them: trees of names and pages have an end and a depth, and a cross-reference stream announces no more objects than a document
/// can have. Objects within object streams are looked at when these are unpacked.
/// </summary>
internal sealed class PdfStructureGuard(PdfGuard guard)
{
    /// <summary>Most objects of a document (PDF, annex C), most branches and leaves of a tree, and levels of it; real ones have below ten.</summary>
    private const int MaxObjects = 8_388_607, MaxNodes = 5_000_000, DeepestTree = 512;

    /// <summary>Longest string that is stepped over: one that does not end hides no object behind it.</summary>
    private const int LongestString = 1 << 16;

    private readonly Dictionary<long, List<long>> _kids = [];
    private readonly HashSet<long> _arrays = []; // of any kind: only those that a tree leads to matter
    private readonly Dictionary<long, (double Nodes, int Depth)> _known = [];

    /// <summary>Looks at all objects that stand in the file itself.</summary>
    /// <exception cref="GemmaRagException">The parser must not read it.</exception>
    public void CheckFile(ReadOnlySpan<byte> file)
    {
        bool found = false;
        for (int at = 0; at < file.Length;)
        {
            int skip = file[at..].IndexOf("obj"u8);
            if (skip < 0)
            {
                break;
            }

            guard.CancellationToken.ThrowIfCancellationRequested();
            at += skip;
            if (NumberBefore(file, at) is { } number)
            {
                found |= ReadObject(number, file[(at + 3)..]);
            }

            at += 3;
        }

        if (found)
        {
            CheckTrees();
        }
    }

    /// <summary>Looks at the objects of an object stream (PDF, 7.5.7).</summary>
    public void CheckObjectStream(ReadOnlySpan<byte> content, DictionaryToken dictionary)
    {
        if (dictionary.Data.GetValueOrDefault("Type") is not NameToken { Data: "ObjStm" } || dictionary.Data.GetValueOrDefault("N") is not NumericToken count || dictionary.Data.GetValueOrDefault("First") is not NumericToken first)
        {
            return;
        }

        if (ReadObjects(content, count.Int, first.Int))
        {
            CheckTrees();
        }
    }

    /// <summary>The objects of a stream: pairs of number and place, and from <paramref name="first"/> on the objects themselves.</summary>
    private bool ReadObjects(ReadOnlySpan<byte> content, long count, long first)
    {
        PdfLexer header = new(content);
        List<(long Number, int Start)> objects = [];
        while (objects.Count < Math.Min(count, MaxObjects) && header.NextInteger() is { } number && header.NextInteger() is { } offset)
        {
            if (first + offset is >= 0 and var start && start < content.Length)
            {
                objects.Add((number, (int)start));
            }
        }

        objects.Sort(static (a, b) => a.Start.CompareTo(b.Start));
        bool found = false;
        for (int i = 0; i < objects.Count; i++)
        {
            found |= ReadObject(objects[i].Number, content[objects[i].Start..(i + 1 < objects.Count ? objects[i + 1].Start : content.Length)], isWithin: true);
        }

        return found;
    }

    /// <summary>Records the children of an object in page and name trees. False if it has none.</summary>
    private bool ReadObject(long number, ReadOnlySpan<byte> body, bool isWithin = false)
    {
        PdfLexer lexer = new(body);
        StreamMembers members = new();
        bool isFirst = true, before = _kids.ContainsKey(number);
        for (bool more = lexer.Next(); more && !lexer.IsWord("endobj"u8) && !lexer.IsWord("stream"u8) && !lexer.IsWord("obj"u8); more = lexer.Next())
        {
            if (isFirst)
            {
                ReadFirst(number, ref lexer);
                isFirst = false;
            }

            if (lexer.IsName("Kids"))
            {
                ReadKids(number, ref lexer);
            }
            else
            {
                members.Read(ref lexer);
            }
        }

        if (members.IsHostileTable)
        {
            throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"has a table of more than {MaxObjects:N0} objects, or of entries that are none"));
        }

        // What is packed is looked at when it is unpacked.
        bool within = !isWithin && members.Objects is { } objects && lexer.IsWord("stream"u8) && ReadObjects(lexer.Contents(), objects.Count, objects.First);
        return within || before || (_kids.ContainsKey(number) && !_arrays.Contains(number));
    }

    /// <summary>An object may be no more than a reference, or an array of them.</summary>
    private void ReadFirst(long number, ref PdfLexer lexer)
    {
        if (lexer.IsInteger && lexer.TryReference(out long other))
        {
            Kids(number).Add(other);
        }

        if (lexer.Is('['))
        {
            _arrays.Add(number);
            lexer.References(Kids(number));
        }
    }

    private void ReadKids(long number, ref PdfLexer lexer)
    {
        lexer.Next();
        if (lexer.Is('['))
        {
            lexer.References(Kids(number));
        }
        else if (lexer.IsInteger && lexer.TryReference(out long array))
        {
            Kids(number).Add(array);
        }
    }

    private List<long> Kids(long number) => _kids.TryGetValue(number, out List<long>? kids) ? kids : _kids[number] = [];

    private void CheckTrees()
    {
        _known.Clear();
        HashSet<long> path = [];
        Stack<(long Node, int Next)> open = [];
        foreach (long root in _kids.Keys)
        {
            if (_known.ContainsKey(root) || _arrays.Contains(root))
            {
                continue;
            }

            guard.CancellationToken.ThrowIfCancellationRequested();
            open.Push((root, 0));
            path.Add(root);
            while (open.TryPop(out (long Node, int Next) at))
            {
                List<long> kids = _kids[at.Node];
                if (at.Next < kids.Count)
                {
                    open.Push((at.Node, at.Next + 1));
                    long kid = kids[at.Next];
                    if (path.Contains(kid))
                    {
                        throw guard.Exceeded("has a tree of pages or names that leads back to itself");
                    }

                    if (_kids.ContainsKey(kid) && !_known.ContainsKey(kid))
                    {
                        open.Push((kid, 0));
                        path.Add(kid);
                    }
                }
                else
                {
                    path.Remove(at.Node);
                    (double nodes, int depth) = (1, 0);
                    foreach (long kid in kids)
                    {
                        (double inner, int below) = _known.GetValueOrDefault(kid, (1, 0));
                        (nodes, depth) = (nodes + inner, Math.Max(depth, below + 1));
                    }

                    _known[at.Node] = (nodes, depth);
                    if (nodes > MaxNodes || depth > DeepestTree)
                    {
                        throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"has a tree of pages or names of more than {MaxNodes:N0} branches or {DeepestTree} levels"));
                    }
                }
            }
        }
    }

    /// <summary>The number of the object whose "obj" stands there: "12 0 obj".</summary>
    private static long? NumberBefore(ReadOnlySpan<byte> file, int at)
    {
        int i = at;
        return Spaces(file, ref i) && Digits(file, ref i) is not null && Spaces(file, ref i) ? Digits(file, ref i) : null;

        static bool Spaces(ReadOnlySpan<byte> file, ref int i)
        {
            int start = i;
            while (i > 0 && start - i < 64 && PdfLexer.IsSpace(file[i - 1]))
            {
                i--;
            }

            return true;
        }

        static long? Digits(ReadOnlySpan<byte> file, ref int i)
        {
            long value = 0, unit = 1;
            int start = i;
            for (; i > 0 && start - i < 10 && char.IsAsciiDigit((char)file[i - 1]); i--, unit *= 10)
            {
                value += (file[i - 1] - '0') * unit;
            }

            return i < start ? value : null;
        }
    }

    /// <summary>Reads the tokens of an object one after the other (PDF, 7.2).</summary>
    private ref struct PdfLexer(ReadOnlySpan<byte> text)
    {
        private readonly ReadOnlySpan<byte> _text = text;
        private int _start, _end;

        public readonly bool IsInteger => _end > _start && _text[_start.._end].IndexOfAnyExcept("+-0123456789"u8) < 0;

        private readonly ReadOnlySpan<byte> Token => _text[_start.._end];

        public static bool IsSpace(byte c) => c is 0 or 9 or 10 or 12 or 13 or 32;

        public readonly bool Is(char c) => _end == _start + 1 && _text[_start] == c;

        public readonly bool IsWord(ReadOnlySpan<byte> word) => Token.SequenceEqual(word);

        public readonly bool IsName(string name) => _end > _start && _text[_start] == '/' && (Token[1..].Contains((byte)'#') || _end - _start - 1 == name.Length) && PdfContentScanner.Name(Token[1..]) == name;

        /// <summary>Goes on to the next token; false at the end. Strings are stepped over.</summary>
        public bool Next()
        {
            int i = _end;
            while (i < _text.Length)
            {
                byte c = _text[i];
                if (IsSpace(c))
                {
                    i++;
                }
                else if (c == '%')
                {
                    int line = _text[i..].IndexOfAny((byte)'\r', (byte)'\n');
                    i = line < 0 ? _text.Length : i + line;
                }
                else if (c == '(')
                {
                    i += Math.Min(PdfContentScanner.EndOfString(_text.Slice(i, Math.Min(LongestString, _text.Length - i)), 0, out _), LongestString);
                }
                else
                {
                    break;
                }
            }

            _start = i;
            if (i < _text.Length && (_text[i] == '/' || PdfContentScanner.IsRegular(_text[i])))
            {
                for (i++; i < _text.Length && PdfContentScanner.IsRegular(_text[i]); i++)
                {
                }
            }
            else if (i < _text.Length)
            {
                i++;
            }

            _end = i;
            return _end > _start;
        }

        /// <summary>The contents of the stream whose keyword stands here.</summary>
        public readonly ReadOnlySpan<byte> Contents()
        {
            ReadOnlySpan<byte> rest = _text[_end..];
            rest = rest.StartsWith("\r\n"u8) ? rest[2..] : rest.Length > 0 && rest[0] is (byte)10 or (byte)13 ? rest[1..] : rest;
            return rest.IndexOf("endstream"u8) is var end and >= 0 ? rest[..end] : rest;
        }

        public long? NextInteger() => Next() && IsInteger && long.TryParse(Token, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : null;

        /// <summary>Reads a reference if one begins with the current integer; the lexer then stands at its end.</summary>
        public bool TryReference(out long number)
        {
            PdfLexer ahead = this;
            if (long.TryParse(Token, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number) && ahead.Next() && ahead.IsInteger && ahead.Next() && ahead.Is('R'))
            {
                this = ahead;
                return true;
            }

            return false;
        }

        /// <summary>Adds the references up to the end of the array.</summary>
        public void References(List<long> found)
        {
            while (Next() && !Is(']') && !IsWord("endobj"u8))
            {
                if (IsInteger && TryReference(out long number))
                {
                    found.Add(number);
                }
            }
        }

        /// <summary>Adds the number, or those of the array, that comes next; one that is out of range counts as too large.</summary>
        public void Integers(List<long> found)
        {
            PdfLexer ahead = this;
            bool isArray = ahead.Next() && ahead.Is('[');
            for (bool more = !isArray || ahead.Next(); more && ahead.IsInteger; more = isArray && ahead.Next())
            {
                found.Add(long.TryParse(ahead.Token, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) ? value : long.MaxValue >> 8);
            }
        }
    }

    /// <summary>The members of an object that make it a cross-reference or object stream, and the number of objects that it announces.</summary>
    private sealed class StreamMembers
    {
        private readonly List<long> _widths = [], _index = [], _size = [], _count = [], _first = [];
        private bool _isXref, _holdsObjects, _isPacked;

        /// <summary>True for a cross-reference stream that announces more objects than a document can have, or malformed entries.</summary>
        public bool IsHostileTable => _isXref && (_widths.Any(static w => w is < 0 or > 8) || _size.Any(static s => s is < 0 or > MaxObjects)
            || _index.Any(static i => i is < 0 or > MaxObjects) || _index.Sum() > 2L * MaxObjects);

        /// <summary>Number of objects and offset of the first one; null unless it is an object stream whose content is not packed.</summary>
        public (long Count, long First)? Objects => _holdsObjects && !_isPacked && _count.Count > 0 && _first.Count > 0 ? (_count[0], _first[0]) : null;

        public void Read(ref PdfLexer lexer)
        {
            _isXref |= lexer.IsName("XRef");
            _holdsObjects |= lexer.IsName("ObjStm");
            _isPacked |= lexer.IsName("Filter");
            if (lexer.IsName("N"))
            {
                lexer.Integers(_count);
            }
            else if (lexer.IsName("First"))
            {
                lexer.Integers(_first);
            }
            else if (lexer.IsName("W"))
            {
                lexer.Integers(_widths);
            }
            else if (lexer.IsName("Index"))
            {
                lexer.Integers(_index);
            }
            else if (lexer.IsName("Size"))
            {
                lexer.Integers(_size);
            }
        }
    }
}
