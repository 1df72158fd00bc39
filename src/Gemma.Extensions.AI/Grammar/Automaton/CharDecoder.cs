using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>The encoding of characters as bytes.</summary>
internal enum CharSpelling
{
    /// <summary>UTF-8.</summary>
    Raw,

    /// <summary>UTF-8 or any JSON escape, between quotes.</summary>
    JsonString,

    /// <summary>UTF-8 with the shortest escape where JSON demands one, so that equal names are equal bytes.</summary>
    JsonName,
}

internal enum CharStep
{
    Dead,
    Partial,
    Char,
}

/// <summary>
/// The part of a character read so far. If all completions are in one class of the partition, <see cref="Value"/> is -1 - class, else
/// the lowest possible character; that keeps automata small.
/// </summary>
internal readonly record struct CharDecoder(CharDecoderState Type, byte Remaining, int Value)
{
    public static readonly CharDecoder Root;

    public static CharStep Step(CharDecoder node, byte b, CharSpelling spelling, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        switch (node.Type)
        {
            case CharDecoderState.Root:
                return StepFirst(b, spelling, partition, out next, out charClass);
            case CharDecoderState.Utf8:
                return StepUtf8(node, b, partition, out next, out charClass);
            case CharDecoderState.Escape:
                return StepEscape(b, spelling, partition, out next, out charClass);
            case CharDecoderState.Hex:
                return StepHex(node, b, partition, out next, out charClass);

            case CharDecoderState.LowBackslash:
                next = node with { Type = CharDecoderState.LowU };
                return b == '\\' ? CharStep.Partial : CharStep.Dead;

            case CharDecoderState.LowU:
                next = node with { Type = CharDecoderState.LowHex, Remaining = 4 };
                return b == 'u' ? CharStep.Partial : CharStep.Dead;

            default:
                return StepLowHex(node, b, partition, out next, out charClass);
        }
    }

    /// <summary>The classes of the characters that may be completed.</summary>
    public IEnumerable<int> Classes(CharSpelling spelling, CharPartition partition)
    {
        if (Value < 0)
        {
            return [-1 - Value];
        }

        switch (Type)
        {
            case CharDecoderState.Utf8:
                return partition.ClassesOf(Math.Max(Value, Remaining == 3 ? 0x10000 : Remaining == 2 ? 0x800 : 0x80), Math.Min(CharSet.MaxChar, Value + (1 << (6 * Remaining)) - 1));
            case CharDecoderState.Escape:
                return spelling == CharSpelling.JsonString
                    ? partition.ClassesOf(0, CharSet.MaxChar)
                    : "\"\\\b\f\n\r\t".Select(c => partition.ClassOf(c));
            case CharDecoderState.Hex:
                int hi = Value + (1 << (4 * Remaining)) - 1;
                IEnumerable<int> bmp = partition.ClassesOf(Value, hi);
                if (hi < 0xD800 || Value > 0xDBFF)
                {
                    return bmp;
                }

                int first = Math.Max(Value, 0xD800), last = Math.Min(hi, 0xDBFF);
                IEnumerable<int> supplementary = partition.ClassesOf(0x10000 + ((first - 0xD800) << 10), 0x10000 + ((last - 0xD800) << 10) + 0x3FF);
                return Value < 0xD800 ? bmp.Concat(supplementary) : supplementary;
            default:
                int width = Type != CharDecoderState.LowHex || Remaining >= 3 ? 0x400 : 1 << (4 * Remaining);
                return partition.ClassesOf(Value, Value + width - 1);
        }
    }

    private static CharDecoder Compact(CharDecoderState type, byte remaining, int lo, int size, CharPartition partition)
    {
        int c = partition.ClassOf(lo, lo + size - 1);
        return new CharDecoder(type, remaining, c >= 0 ? -1 - c : lo);
    }

    /// <summary>The first byte of a character.</summary>
    private static CharStep StepFirst(byte b, CharSpelling spelling, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        switch (b)
        {
            case < 0x80 when spelling == CharSpelling.Raw:
                charClass = partition.ClassOf(b);
                return CharStep.Char;
            case (byte)'\\':
                next = new CharDecoder(CharDecoderState.Escape, 0, 0);
                return CharStep.Partial;
            case < 0x20 or (byte)'"':
                return CharStep.Dead;
            case < 0x80:
                charClass = partition.ClassOf(b);
                return CharStep.Char;
            case >= 0xC2 and <= 0xDF:
                next = Compact(CharDecoderState.Utf8, 1, (b & 0x1F) << 6, 64, partition);
                return CharStep.Partial;
            case >= 0xE0 and <= 0xEF:
                next = b is 0xE0 or 0xED ? new CharDecoder(CharDecoderState.Utf8, 2, (b & 0x0F) << 12) : Compact(CharDecoderState.Utf8, 2, (b & 0x0F) << 12, 64 * 64, partition);
                return CharStep.Partial;
            case >= 0xF0 and <= 0xF4:
                next = b is 0xF0 or 0xF4 ? new CharDecoder(CharDecoderState.Utf8, 3, (b & 0x07) << 18) : Compact(CharDecoderState.Utf8, 3, (b & 0x07) << 18, 64 * 64 * 64, partition);
                return CharStep.Partial;
            default:
                return CharStep.Dead;
        }
    }

    /// <summary>A further byte of a UTF-8 sequence.</summary>
    private static CharStep StepUtf8(CharDecoder node, byte b, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        if ((b & 0xC0) != 0x80)
        {
            return CharStep.Dead;
        }

        int size = 1 << (6 * (node.Remaining - 1));
        if (node.Value < 0)
        {
            charClass = -1 - node.Value;
            next = node with { Remaining = (byte)(node.Remaining - 1) };
            return node.Remaining == 1 ? CharStep.Char : CharStep.Partial;
        }

        int lo = node.Value + ((b & 0x3F) * size);
        bool valid = node.Remaining switch
        {
            2 => lo >= 0x800 && lo is < 0xD800 or > 0xDFFF,
            3 => lo is >= 0x10000 and <= CharSet.MaxChar,
            _ => true,
        };
        if (!valid)
        {
            return CharStep.Dead;
        }

        if (node.Remaining == 1)
        {
            charClass = partition.ClassOf(lo);
            return CharStep.Char;
        }

        next = Compact(CharDecoderState.Utf8, (byte)(node.Remaining - 1), lo, size, partition);
        return CharStep.Partial;
    }

    /// <summary>The byte after a backslash.</summary>
    private static CharStep StepEscape(byte b, CharSpelling spelling, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        int escaped = b switch
        {
            (byte)'"' or (byte)'\\' => b,
            (byte)'/' when spelling == CharSpelling.JsonString => b,
            (byte)'b' => '\b',
            (byte)'f' => '\f',
            (byte)'n' => '\n',
            (byte)'r' => '\r',
            (byte)'t' => '\t',
            _ => -1,
        };
        if (escaped >= 0)
        {
            charClass = partition.ClassOf(escaped);
            return CharStep.Char;
        }

        next = new CharDecoder(CharDecoderState.Hex, 4, 0);
        return b == 'u' && spelling == CharSpelling.JsonString ? CharStep.Partial : CharStep.Dead;
    }

    private static CharStep StepHex(CharDecoder node, byte b, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        int digit = HexValue(b);
        if (digit < 0)
        {
            return CharStep.Dead;
        }

        int size = 1 << (4 * (node.Remaining - 1));
        if (node.Value < 0)
        {
            charClass = -1 - node.Value;
            next = node with { Remaining = (byte)(node.Remaining - 1) };
            return node.Remaining == 1 ? CharStep.Char : CharStep.Partial;
        }

        int lo = node.Value + (digit * size), hi = lo + size - 1;
        if (lo >= 0xDC00 && hi <= 0xDFFF)
        {
            return CharStep.Dead;
        }

        if (node.Remaining == 1)
        {
            if (lo is >= 0xD800 and <= 0xDBFF)
            {
                next = Compact(CharDecoderState.LowBackslash, 0, 0x10000 + ((lo - 0xD800) << 10), 0x400, partition);
                return CharStep.Partial;
            }

            charClass = partition.ClassOf(lo);
            return CharStep.Char;
        }

        bool surrogates = lo <= 0xDFFF && hi >= 0xD800;
        next = surrogates ? new CharDecoder(CharDecoderState.Hex, (byte)(node.Remaining - 1), lo) : Compact(CharDecoderState.Hex, (byte)(node.Remaining - 1), lo, size, partition);
        return CharStep.Partial;
    }

    private static CharStep StepLowHex(CharDecoder node, byte b, CharPartition partition, out CharDecoder next, out int charClass)
    {
        next = default;
        charClass = -1;
        int digit = HexValue(b);
        if (digit < 0 || (node.Remaining == 4 && digit != 0xD) || (node.Remaining == 3 && digit < 0xC))
        {
            return CharStep.Dead;
        }

        byte remaining = (byte)(node.Remaining - 1);
        if (node.Value < 0)
        {
            charClass = -1 - node.Value;
            next = node with { Remaining = remaining };
            return remaining == 0 ? CharStep.Char : CharStep.Partial;
        }

        int lo = node.Value + node.Remaining switch { 4 => 0, 3 => (digit - 0xC) << 8, 2 => digit << 4, _ => digit };
        if (remaining == 0)
        {
            charClass = partition.ClassOf(lo);
            return CharStep.Char;
        }

        next = remaining == 3 ? node with { Remaining = 3 } : Compact(CharDecoderState.LowHex, remaining, lo, 1 << (4 * remaining), partition);
        return CharStep.Partial;
    }

    private static int HexValue(byte b) => b switch
    {
        >= (byte)'0' and <= (byte)'9' => b - '0',
        >= (byte)'a' and <= (byte)'f' => b - 'a' + 10,
        >= (byte)'A' and <= (byte)'F' => b - 'A' + 10,
        _ => -1,
    };
}

internal enum CharDecoderState : byte
{
    /// <summary>Between characters.</summary>
    Root,

    /// <summary>Some bytes of a UTF-8 sequence are still to come.</summary>
    Utf8,

    /// <summary>After a backslash.</summary>
    Escape,

    /// <summary>In the hexadecimal digits of \u.</summary>
    Hex,

    /// <summary>After a high surrogate: the backslash of the low one.</summary>
    LowBackslash,

    /// <summary>Its u.</summary>
    LowU,

    /// <summary>Its digits.</summary>
    LowHex,
}
