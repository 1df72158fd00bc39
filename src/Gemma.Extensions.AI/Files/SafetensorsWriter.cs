using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// Writes a safetensors file: tensors are declared first and produced one at a time when the file is saved. The file appears under its name only when
/// it is complete.
/// </summary>
internal sealed class SafetensorsWriter
{
    private readonly List<(string Name, string DType, long[] Shape, long Bytes, Action<Stream> Write)> _tensors = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    /// <summary>Text stored as <c>__metadata__</c>.</summary>
    public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

    /// <summary>Declares a tensor whose little-endian bytes <paramref name="write"/> produces.</summary>
    public void Add(string name, string dtype, ReadOnlySpan<long> shape, long byteLength, Action<Stream> write)
    {
        if (name == "__metadata__" || !_names.Add(name))
        {
            throw new ArgumentException($"The tensor name '{name}' is reserved or already taken.", nameof(name));
        }

        _tensors.Add((name, dtype, shape.ToArray(), byteLength, write));
    }

    public void AddSingles(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<float> values)
    {
        CheckCount(name, shape, values.Length);
        Add(name, "F32", shape, 4L * values.Length, stream =>
        {
            const int Piece = 1 << 24; // a span of bytes ends at 2 GB: less than the embedding of Gemma 2
            for (int i = 0; i < values.Length; i += Math.Min(Piece, values.Length - i))
            {
                stream.Write(MemoryMarshal.AsBytes(values.Span.Slice(i, Math.Min(Piece, values.Length - i))));
            }
        });
    }

    /// <summary>Rounds to the nearest bfloat16, ties to even.</summary>
    public void AddBFloat16(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<float> values)
    {
        CheckCount(name, shape, values.Length);
        Add(name, "BF16", shape, 2L * values.Length, stream => WriteBFloat16(stream, values.Span));
    }

    public void AddInt32s(string name, ReadOnlySpan<long> shape, ReadOnlyMemory<int> values)
    {
        CheckCount(name, shape, values.Length);
        Add(name, "I32", shape, 4L * values.Length, stream => stream.Write(MemoryMarshal.AsBytes(values.Span)));
    }

    /// <summary>Writes the file, as <see cref="WholeFile"/> does.</summary>
    public void Save(string path) => WholeFile.Write(path, Save);

    /// <summary>Writes the file to a stream that can tell its position.</summary>
    public void Save(Stream stream)
    {
        byte[] header = Header();
        Span<byte> length = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, header.Length);
        stream.Write(length);
        stream.Write(header);
        foreach ((string name, _, _, long bytes, Action<Stream> write) in _tensors)
        {
            long start = stream.Position;
            write(stream);
            if (stream.Position - start != bytes)
            {
                throw new InvalidOperationException($"Tensor '{name}' was declared with {bytes:N0} bytes but {stream.Position - start:N0} were written.");
            }
        }
    }

    private byte[] Header()
    {
        using MemoryStream buffer = new();
        using (Utf8JsonWriter json = new(buffer))
        {
            json.WriteStartObject();
            if (Metadata.Count > 0)
            {
                json.WriteStartObject("__metadata__");
                foreach ((string key, string value) in Metadata)
                {
                    json.WriteString(key, value);
                }

                json.WriteEndObject();
            }

            long offset = 0;
            foreach ((string name, string dtype, long[] shape, long bytes, _) in _tensors)
            {
                json.WriteStartObject(name);
                json.WriteString("dtype", dtype);
                json.WriteStartArray("shape");
                foreach (long size in shape)
                {
                    json.WriteNumberValue(size);
                }

                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                json.WriteNumberValue(offset + bytes);
                json.WriteEndArray();
                json.WriteEndObject();
                offset += bytes;
            }

            json.WriteEndObject();
        }

        // The data starts at a multiple of eight bytes, as the format's own library pads it.
        while (buffer.Length % 8 != 0)
        {
            buffer.WriteByte((byte)' ');
        }

        return buffer.ToArray();
    }

    private static void WriteBFloat16(Stream stream, ReadOnlySpan<float> values)
    {
        Span<ushort> chunk = stackalloc ushort[1024];
        for (int i = 0; i < values.Length; i += chunk.Length)
        {
            int count = Math.Min(chunk.Length, values.Length - i);
            for (int j = 0; j < count; j++)
            {
                chunk[j] = HalfBits.BFloat16FromSingle(values[i + j]);
            }

            stream.Write(MemoryMarshal.AsBytes(chunk[..count]));
        }
    }

    private static void CheckCount(string name, ReadOnlySpan<long> shape, int count)
    {
        long expected = 1;
        foreach (long size in shape)
        {
            expected *= size;
        }

        if (expected != count)
        {
            throw new ArgumentException($"Tensor '{name}' of shape [{string.Join(", ", shape.ToArray())}] takes {expected:N0} values, got {count:N0}.", nameof(shape));
        }
    }
}
