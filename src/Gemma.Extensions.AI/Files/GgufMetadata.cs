using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Types of metadata values; the numbers are those of the GGUF specification.</summary>
internal enum GgufType : uint
{
    UInt8 = 0,
    Int8 = 1,
    UInt16 = 2,
    Int16 = 3,
    UInt32 = 4,
    Int32 = 5,
    Float32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    UInt64 = 10,
    Int64 = 11,
    Float64 = 12,
}

/// <summary>Position of a metadata value in the file.</summary>
/// <param name="Type">Type of the value.</param>
/// <param name="ElementType">Type of an array's elements; that of the value itself otherwise.</param>
/// <param name="Count">Elements of an array; 1 otherwise.</param>
/// <param name="Offset">First byte of the value as stored (an array starts with its element type and count).</param>
/// <param name="ByteLength">Bytes of the value as stored.</param>
internal readonly record struct GgufValue(GgufType Type, GgufType ElementType, long Count, long Offset, long ByteLength);

/// <summary>The key/value pairs of a GGUF file. Values are decoded when they are asked for.</summary>
internal sealed unsafe class GgufMetadata(byte* data, string source)
{
    private const int ArrayHeader = sizeof(uint) + sizeof(ulong);
    private readonly OrderedDictionary<string, GgufValue> _values = [];

    /// <summary>Path of the file.</summary>
    public string Source { get; } = source;

    public IReadOnlyDictionary<string, GgufValue> Values => _values;

    internal bool TryAdd(string key, GgufValue value) => _values.TryAdd(key, value);

    public bool Contains(string key) => _values.ContainsKey(key);

    /// <summary>The bytes of a value as stored, without key and type.</summary>
    public ReadOnlySpan<byte> RawValue(string key)
    {
        GgufValue value = _values[key];
        return new ReadOnlySpan<byte>(data + value.Offset, checked((int)value.ByteLength));
    }

    public string? GetString(string key) =>
        Find(key, out GgufValue value) ? value.Type == GgufType.String ? StringAt(value.Offset) : throw WrongType(key, value, "a string") : null;

    public bool? GetBoolean(string key) =>
        Find(key, out GgufValue value) ? value.Type == GgufType.Bool ? data[value.Offset] != 0 : throw WrongType(key, value, "true or false") : null;

    /// <summary>A whole number of any width.</summary>
    public long? GetInteger(string key) =>
        Find(key, out GgufValue value) ? TryInteger(value.Type, data + value.Offset, out long number) ? number : throw WrongType(key, value, "a whole number") : null;

    /// <summary>A whole number that fits 32 bits.</summary>
    public int? GetInt32(string key) => GetInteger(key) is not { } number
        ? null
        : number is >= int.MinValue and <= int.MaxValue
            ? (int)number
            : throw new GemmaModelFormatException($"'{Source}': '{key}' is {number:N0}, which no Gemma 2 model has. The file is damaged; download or convert it again.");

    /// <summary>A number of any type.</summary>
    public double? GetNumber(string key) => !Find(key, out GgufValue value) ? null : value.Type switch
    {
        GgufType.Float32 => Unsafe.ReadUnaligned<float>(data + value.Offset),
        GgufType.Float64 => Unsafe.ReadUnaligned<double>(data + value.Offset),
        _ => TryInteger(value.Type, data + value.Offset, out long number) ? number : throw WrongType(key, value, "a number"),
    };

    /// <summary>Elements of an array; 0 where the key is absent.</summary>
    public long GetCount(string key) => Find(key, out GgufValue value) ? value.Type == GgufType.Array ? value.Count : throw WrongType(key, value, "an array") : 0;

    /// <summary>An array of strings as their UTF-8 bytes.</summary>
    public byte[][]? GetStrings(string key)
    {
        if (!FindArray(key, GgufType.String, "an array of strings", out GgufValue value))
        {
            return null;
        }

        byte[][] strings = new byte[value.Count][];
        byte* at = data + value.Offset + ArrayHeader;
        for (int i = 0; i < strings.Length; i++)
        {
            int bytes = (int)Unsafe.ReadUnaligned<ulong>(at);
            strings[i] = new ReadOnlySpan<byte>(at + sizeof(ulong), bytes).ToArray();
            at += sizeof(ulong) + bytes;
        }

        return strings;
    }

    public float[]? GetSingles(string key) => GetArray<float>(key, GgufType.Float32, "an array of float32");

    /// <summary>An array of 32-bit whole numbers, signed or not.</summary>
    public int[]? GetInt32s(string key) => Find(key, out GgufValue value) && value is { Type: GgufType.Array, ElementType: GgufType.UInt32 }
        ? GetArray<int>(key, GgufType.UInt32, "an array of 32-bit integers")
        : GetArray<int>(key, GgufType.Int32, "an array of 32-bit integers");

    /// <summary>An array of flags.</summary>
    public bool[]? GetBooleans(string key) => GetArray<byte>(key, GgufType.Bool, "an array of flags") is { } flags ? Array.ConvertAll(flags, flag => flag != 0) : null;

    /// <summary>A whole number that fits 32 bits, or an array of them that are all alike, as converters write what may differ by layer.</summary>
    /// <exception cref="GemmaModelFormatException">The numbers differ, which Gemma 2's do not.</exception>
    public int? GetUniformInt32(string key)
    {
        if (!Find(key, out GgufValue value) || value.Type != GgufType.Array)
        {
            return GetInt32(key);
        }

        int[] numbers = GetInt32s(key)!;
        return numbers.Length > 0 && numbers.All(number => number == numbers[0])
            ? numbers[0]
            : throw new GemmaModelFormatException($"'{Source}': '{key}' is {ErrorText.Printable($"[{string.Join(", ", numbers)}]")}, which is not supported: expected one number for all layers, as in all Gemma 2 models.");
    }

    private T[]? GetArray<T>(string key, GgufType type, string expected) where T : unmanaged => FindArray(key, type, expected, out GgufValue value)
        ? System.Runtime.InteropServices.MemoryMarshal.Cast<byte, T>(new ReadOnlySpan<byte>(data + value.Offset + ArrayHeader, checked((int)value.Count * sizeof(T)))).ToArray()
        : null;

    private bool Find(string key, out GgufValue value) => _values.TryGetValue(key, out value);

    private bool FindArray(string key, GgufType elementType, string expected, out GgufValue value)
    {
        if (!Find(key, out value))
        {
            return false;
        }

        // Nothing that is asked for has more elements than a vocabulary may have (GemmaConfig.Validate).
        return value.Type == GgufType.Array && value.ElementType == elementType && value.Count <= 1 << 24 ? true : throw WrongType(key, value, expected);
    }

    private string StringAt(long offset) =>
        Encoding.UTF8.GetString(new ReadOnlySpan<byte>(data + offset + sizeof(ulong), checked((int)Unsafe.ReadUnaligned<ulong>(data + offset))));

    private static bool TryInteger(GgufType type, byte* at, out long number)
    {
        (bool ok, number) = type switch
        {
            GgufType.UInt8 => (true, *at),
            GgufType.Int8 => (true, (sbyte)*at),
            GgufType.UInt16 => (true, Unsafe.ReadUnaligned<ushort>(at)),
            GgufType.Int16 => (true, Unsafe.ReadUnaligned<short>(at)),
            GgufType.UInt32 => (true, Unsafe.ReadUnaligned<uint>(at)),
            GgufType.Int32 => (true, Unsafe.ReadUnaligned<int>(at)),
            GgufType.Int64 => (true, Unsafe.ReadUnaligned<long>(at)),
            GgufType.UInt64 => Unsafe.ReadUnaligned<ulong>(at) is var wide && wide <= long.MaxValue ? (true, (long)wide) : (false, 0L),
            _ => (false, 0L),
        };
        return ok;
    }

    [DoesNotReturn]
    private GemmaModelFormatException WrongType(string key, GgufValue value, string expected)
    {
        string found = value.Type == GgufType.Array ? $"an array of {value.Count:N0} {value.ElementType}" : $"a value of type {value.Type}";
        throw new GemmaModelFormatException($"'{Source}': '{key}' is {found}, expected {expected}. The file is damaged; download or convert it again.");
    }
}
