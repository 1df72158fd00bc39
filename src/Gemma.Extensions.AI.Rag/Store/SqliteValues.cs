using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>Storage of .NET values: the one table of types, used for records, filters and results alike.</summary>
internal static class SqliteValues
{
    public const string SupportedKeys = "string, int, long, Guid";

    public const string SupportedData =
        "string, bool, byte, short, int, long, float, double, Guid, DateTime, DateTimeOffset, DateOnly, TimeOnly, enumerations (also nullable), byte[], and arrays or lists of string, int, long, double";

    public const string SupportedVectors = "ReadOnlyMemory<float>, float[], Embedding<float>, ReadOnlyMemory<Half>, Half[], Embedding<Half>";

    /// <summary>The text of a stored value that is searched by words; null where it has none.</summary>
    /// <param name="value">The value as it is stored.</param>
    /// <param name="isList">Whether it is stored as a JSON array, whose elements are lines then.</param>
    public static string? FullText(object? value, bool isList) => value switch
    {
        null or DBNull => null,
        string json when isList => JsonElement.Parse(json) is { ValueKind: JsonValueKind.Array } list
            ? string.Join('\n', list.EnumerateArray().Select(e => e.ToString())) : throw new InvalidDataException("A stored list is no JSON array."),
        _ => Convert.ToString(value, CultureInfo.InvariantCulture),
    };

    public static bool IsKey(Type type) => type == typeof(string) || type == typeof(int) || type == typeof(long) || type == typeof(Guid);

    public static bool IsData(Type type) => ColumnType(type) is not null;

    /// <summary>Declared type of the column; null where the type can't be stored.</summary>
    public static string? ColumnType(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(string) || type == typeof(Guid) || type == typeof(DateTime) || type == typeof(DateTimeOffset) ||
            type == typeof(DateOnly) || type == typeof(TimeOnly))
        {
            return "TEXT";
        }

        if (type == typeof(bool) || type == typeof(byte) || type == typeof(short) || type == typeof(int) || type == typeof(long) || type.IsEnum)
        {
            return "INTEGER";
        }

        if (type == typeof(float) || type == typeof(double))
        {
            return "REAL";
        }

        if (type == typeof(byte[]))
        {
            return "BLOB";
        }

        return ElementType(type) is not null ? "JSON" : null;
    }

    /// <summary>Element type of an array or list that is stored as a JSON array; null for all else.</summary>
    public static Type? ElementType(Type type)
    {
        Type? element = type.IsArray ? type.GetElementType()
            : type.IsGenericType && type.GetGenericTypeDefinition() is { } g &&
                (g == typeof(List<>) || g == typeof(IList<>) || g == typeof(IReadOnlyList<>) || g == typeof(IEnumerable<>) ||
                 g == typeof(ICollection<>) || g == typeof(IReadOnlyCollection<>))
                ? type.GetGenericArguments()[0]
            : null;
        return element == typeof(string) || element == typeof(int) || element == typeof(long) || element == typeof(double) ? element : null;
    }

    /// <summary>The value as SQLite stores it.</summary>
    /// <exception cref="ArgumentException">The value has no stored form.</exception>
    public static object ToSql(object? value) => value switch
    {
        null => DBNull.Value,
        string or byte[] => value,
        bool b => b ? 1L : 0L,
        byte or short or int or long or Enum => Convert.ToInt64(value, CultureInfo.InvariantCulture),
        float or double => Finite(Convert.ToDouble(value, CultureInfo.InvariantCulture)),
        Guid g => g.ToString("D"),
        // Fixed-width ISO 8601 sorts as text. Offsets are stored as the instant in UTC, which is what they are compared by.
        DateTime d => d.ToString("O", CultureInfo.InvariantCulture),
        DateTimeOffset d => d.UtcDateTime.ToString("O", CultureInfo.InvariantCulture),
        DateOnly d => d.ToString("O", CultureInfo.InvariantCulture),
        TimeOnly t => t.ToString("O", CultureInfo.InvariantCulture),
        IEnumerable<string> list => JsonSerializer.Serialize(list, StoredListsContext.Default.IEnumerableString),
        IEnumerable<int> list => JsonSerializer.Serialize(list, StoredListsContext.Default.IEnumerableInt32),
        IEnumerable<long> list => JsonSerializer.Serialize(list, StoredListsContext.Default.IEnumerableInt64),
        IEnumerable<double> list => JsonSerializer.Serialize(list, StoredListsContext.Default.IEnumerableDouble),
        _ => throw new ArgumentException($"A value of type {value.GetType()} can't be stored. Supported are {SupportedData}."),
    };

    private static object Finite(double value) =>
        double.IsNaN(value) ? throw new ArgumentException("NaN can't be stored: SQLite turns it into NULL. Store null or a number.") : value;

    /// <summary>The value of a column as the type of its property.</summary>
    public static object? FromSql(SqliteDataReader reader, int column, Type type)
    {
        if (reader.IsDBNull(column))
        {
            return null;
        }

        type = Nullable.GetUnderlyingType(type) ?? type;
        if (type == typeof(string))
        {
            return reader.GetString(column);
        }

        if (type == typeof(bool))
        {
            return reader.GetInt64(column) != 0;
        }

        if (type == typeof(byte) || type == typeof(short) || type == typeof(int) || type == typeof(long))
        {
            return Convert.ChangeType(reader.GetInt64(column), type, CultureInfo.InvariantCulture);
        }

        if (type.IsEnum)
        {
            return Enum.ToObject(type, reader.GetInt64(column));
        }

        if (type == typeof(float))
        {
            return (float)reader.GetDouble(column);
        }

        if (type == typeof(double))
        {
            return reader.GetDouble(column);
        }

        if (type == typeof(byte[]))
        {
            return reader.GetFieldValue<byte[]>(column);
        }

        return FromText(reader.GetString(column), type);
    }

    /// <summary>A value of a type that SQLite has no storage class for.</summary>
    private static object? FromText(string text, Type type)
    {
        if (type == typeof(Guid))
        {
            return Guid.Parse(text);
        }

        if (type == typeof(DateTime))
        {
            return DateTime.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
        }

        if (type == typeof(DateTimeOffset))
        {
            return DateTimeOffset.Parse(text, CultureInfo.InvariantCulture, DateTimeStyles.RoundtripKind);
        }

        if (type == typeof(DateOnly))
        {
            return DateOnly.Parse(text, CultureInfo.InvariantCulture);
        }

        if (type == typeof(TimeOnly))
        {
            return TimeOnly.Parse(text, CultureInfo.InvariantCulture);
        }

        return ListFromJson(text, type);
    }

    private static object? ListFromJson(string json, Type type)
    {
        Type? element = ElementType(type);
        return element == typeof(string) ? Shape(JsonSerializer.Deserialize(json, StoredListsContext.Default.ListString))
            : element == typeof(int) ? Shape(JsonSerializer.Deserialize(json, StoredListsContext.Default.ListInt32))
            : element == typeof(long) ? Shape(JsonSerializer.Deserialize(json, StoredListsContext.Default.ListInt64))
            : Shape(JsonSerializer.Deserialize(json, StoredListsContext.Default.ListDouble));

        object? Shape<T>(List<T>? list) => type.IsArray ? list?.ToArray() : list;
    }

    public static bool IsVector(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        return type == typeof(ReadOnlyMemory<float>) || type == typeof(float[]) || type == typeof(Embedding<float>) || IsHalf(type);
    }

    /// <summary>True if the vector is stored as float16; all others are stored as float32.</summary>
    public static bool IsHalf(Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        return type == typeof(ReadOnlyMemory<Half>) || type == typeof(Half[]) || type == typeof(Embedding<Half>);
    }

    /// <summary>The vector as float32; null where there is none.</summary>
    /// <exception cref="ArgumentException">The length is not the property's, or an element is not finite.</exception>
    public static float[]? ToFloats(object? value, string property, int dimensions)
    {
        float[]? floats = value switch
        {
            null => null,
            ReadOnlyMemory<float> m => m.ToArray(),
            float[] a => a,
            Embedding<float> e => e.Vector.ToArray(),
            ReadOnlyMemory<Half> m => ToSingle(m.Span),
            Half[] a => ToSingle(a),
            Embedding<Half> e => ToSingle(e.Vector.Span),
            _ => throw new ArgumentException($"A {value.GetType()} is not a vector. Supported are {SupportedVectors}."),
        };
        if (floats is null)
        {
            return null;
        }

        if (floats.Length != dimensions)
        {
            throw new ArgumentException($"The vector for '{property}' has {floats.Length:N0} dimensions, but the collection was defined with {dimensions:N0}. Use one embedding model for a collection, or ask the generator for {dimensions:N0} dimensions.");
        }

        return TensorPrimitives.IsFiniteAll<float>(floats)
            ? floats
            : throw new ArgumentException($"The vector for '{property}' holds NaN or infinity.");
    }

    /// <summary>Little-endian float32 or float16.</summary>
    public static byte[] ToBlob(ReadOnlySpan<float> vector, bool half)
    {
        if (!half)
        {
            return MemoryMarshal.AsBytes(vector).ToArray();
        }

        Half[] halves = new Half[vector.Length];
        TensorPrimitives.ConvertToHalf(vector, halves);
        return MemoryMarshal.AsBytes<Half>(halves).ToArray();
    }

    /// <exception cref="InvalidDataException">The blob has another length than the vector.</exception>
    public static void FromBlob(ReadOnlySpan<byte> blob, bool half, Span<float> vector)
    {
        CheckLength(blob, half, vector.Length);
        if (half)
        {
            TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<byte, Half>(blob), vector);
        }
        else
        {
            MemoryMarshal.Cast<byte, float>(blob).CopyTo(vector);
        }
    }

    public static void CheckLength(ReadOnlySpan<byte> blob, bool half, int dimensions)
    {
        if (blob.Length != dimensions * (half ? 2 : 4))
        {
            throw new InvalidDataException($"A stored vector has {blob.Length:N0} bytes, expected {dimensions * (half ? 2 : 4):N0}.");
        }
    }

    /// <summary>The vector as the type of its property.</summary>
    public static object ToProperty(float[] vector, Type type)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        return type == typeof(float[]) ? vector
            : type == typeof(ReadOnlyMemory<float>) ? new ReadOnlyMemory<float>(vector)
            : type == typeof(Embedding<float>) ? new Embedding<float>(vector)
            : type == typeof(Half[]) ? ToHalf(vector)
            : type == typeof(ReadOnlyMemory<Half>) ? new ReadOnlyMemory<Half>(ToHalf(vector))
            : new Embedding<Half>(ToHalf(vector));
    }

    private static float[] ToSingle(ReadOnlySpan<Half> values)
    {
        float[] result = new float[values.Length];
        TensorPrimitives.ConvertToSingle(values, result);
        return result;
    }

    private static Half[] ToHalf(ReadOnlySpan<float> values)
    {
        Half[] result = new Half[values.Length];
        TensorPrimitives.ConvertToHalf(values, result);
        return result;
    }
}

/// <summary>Lists of values as JSON, without reflection.</summary>
[JsonSerializable(typeof(IEnumerable<string>))]
[JsonSerializable(typeof(IEnumerable<int>))]
[JsonSerializable(typeof(IEnumerable<long>))]
[JsonSerializable(typeof(IEnumerable<double>))]
[JsonSerializable(typeof(List<string>))]
[JsonSerializable(typeof(List<int>))]
[JsonSerializable(typeof(List<long>))]
[JsonSerializable(typeof(List<double>))]
internal sealed partial class StoredListsContext : JsonSerializerContext;
