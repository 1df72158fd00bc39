using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// Writes a GGUF file of version 3: metadata and tensors are declared first, and the tensors' bytes produced one tensor at a time when the file is
/// saved. The file appears under its name only when it is complete.
/// </summary>
internal sealed class GgufWriter
{
    private const int Alignment = 32;
    private readonly OrderedDictionary<string, (GgufType Type, byte[] Bytes)> _metadata = new(StringComparer.Ordinal);
    private readonly OrderedDictionary<string, (BlockFormat Format, long[] Shape, Action<Stream> Write)> _tensors = new(StringComparer.Ordinal);

    /// <summary>Bytes of all tensors with padding.</summary>
    public long DataBytes => _tensors.Values.Sum(t => Align(TensorBytes(t.Format, t.Shape)));

    public void Set(string key, string value) => _metadata[key] = (GgufType.String, Prefixed(Encoding.UTF8.GetBytes(value)));

    public void Set(string key, bool value) => _metadata[key] = (GgufType.Bool, [value ? (byte)1 : (byte)0]);

    public void Set(string key, uint value) => _metadata[key] = (GgufType.UInt32, BitConverter.GetBytes(value));

    public void Set(string key, int value) => _metadata[key] = (GgufType.Int32, BitConverter.GetBytes(value));

    public void Set(string key, float value) => _metadata[key] = (GgufType.Float32, BitConverter.GetBytes(value));

    public void Set(string key, IEnumerable<byte[]> strings)
    {
        using MemoryStream buffer = new();
        foreach (byte[] text in strings)
        {
            buffer.Write(Prefixed(text));
        }

        SetArray(key, GgufType.String, strings.Count(), buffer.ToArray());
    }

    public void Set(string key, ReadOnlySpan<float> values) => SetArray(key, GgufType.Float32, values.Length, MemoryMarshal.AsBytes(values));

    public void Set(string key, ReadOnlySpan<int> values) => SetArray(key, GgufType.Int32, values.Length, MemoryMarshal.AsBytes(values));

    /// <summary>Takes a value over from another file as it is.</summary>
    public void Copy(string key, GgufMetadata source) => _metadata[key] = (source.Values[key].Type, source.RawValue(key).ToArray());

    public void Remove(string key) => _metadata.Remove(key);

    /// <summary>Declares a tensor, sizes slowest first, whose bytes <paramref name="write"/> produces.</summary>
    public void Add(string name, BlockFormat format, ReadOnlySpan<long> shape, Action<Stream> write)
    {
        if (shape.Length is 0 or > 4 || shape[^1] % format.BlockElements != 0)
        {
            throw new ArgumentException($"Tensor '{name}' of shape [{string.Join(", ", shape.ToArray())}] cannot be stored as {format.Name}: rows must be whole blocks of {format.BlockElements}.", nameof(shape));
        }

        if (!_tensors.TryAdd(name, (format, shape.ToArray(), write)))
        {
            throw new ArgumentException($"There is a tensor '{name}' already.", nameof(name));
        }
    }

    /// <summary>Writes the file, as <see cref="WholeFile"/> does.</summary>
    public void Save(string path) => WholeFile.Write(path, Save);

    /// <summary>Writes the file to a stream that can tell its position.</summary>
    public void Save(Stream stream)
    {
        long start = stream.Position;
        WriteHeader(stream);
        Pad(stream, start);
        foreach ((string name, (BlockFormat format, long[] shape, Action<Stream> write)) in _tensors)
        {
            long before = stream.Position;
            write(stream);
            long expected = TensorBytes(format, shape);
            if (stream.Position - before != expected)
            {
                throw new InvalidOperationException($"Tensor '{name}' takes {expected:N0} bytes but {stream.Position - before:N0} were written.");
            }

            Pad(stream, start);
        }
    }

    private void WriteHeader(Stream stream)
    {
        stream.Write("GGUF"u8);
        Write32(stream, 3);
        Write64(stream, _tensors.Count);
        Write64(stream, _metadata.Count);
        foreach ((string key, (GgufType type, byte[] bytes)) in _metadata)
        {
            stream.Write(Prefixed(Encoding.UTF8.GetBytes(key)));
            Write32(stream, (uint)type);
            stream.Write(bytes);
        }

        long offset = 0;
        foreach ((string name, (BlockFormat format, long[] shape, _)) in _tensors)
        {
            stream.Write(Prefixed(Encoding.UTF8.GetBytes(name)));
            Write32(stream, (uint)shape.Length);
            foreach (long size in shape.Reverse())
            {
                Write64(stream, size);
            }

            Write32(stream, (uint)format.Type);
            Write64(stream, offset);
            offset += Align(TensorBytes(format, shape));
        }
    }

    private void SetArray(string key, GgufType elementType, int count, ReadOnlySpan<byte> elements)
    {
        byte[] bytes = new byte[12 + elements.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, (uint)elementType);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(4), count);
        elements.CopyTo(bytes.AsSpan(12));
        _metadata[key] = (GgufType.Array, bytes);
    }

    private static long TensorBytes(BlockFormat format, long[] shape) => format.ByteLength(shape.Aggregate(1L, (a, b) => a * b));

    private static long Align(long offset) => (offset + Alignment - 1) / Alignment * Alignment;

    private static byte[] Prefixed(byte[] text)
    {
        byte[] bytes = new byte[8 + text.Length];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, text.Length);
        text.CopyTo(bytes, 8);
        return bytes;
    }

    private static void Pad(Stream stream, long start)
    {
        Span<byte> zeros = stackalloc byte[Alignment];
        zeros.Clear();
        long used = stream.Position - start;
        stream.Write(zeros[..(int)(Align(used) - used)]);
    }

    private static void Write32(Stream stream, uint value)
    {
        Span<byte> bytes = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        stream.Write(bytes);
    }

    private static void Write64(Stream stream, long value)
    {
        Span<byte> bytes = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, value);
        stream.Write(bytes);
    }
}
