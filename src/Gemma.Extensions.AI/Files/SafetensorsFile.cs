using System.Text.Json;
using System.Text.Unicode;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Files;

/// <summary>A tensor of a safetensors file, of any element type.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="DType">Element type as the file states it: <c>F32</c>, <c>BF16</c>, <c>I32</c>.</param>
/// <param name="Shape">Sizes, slowest first; empty for a scalar.</param>
/// <param name="Offset">First byte in the file.</param>
/// <param name="ByteLength">Bytes of the whole tensor.</param>
internal sealed record SafetensorsTensor(string Name, string DType, long[] Shape, long Offset, long ByteLength)
{
    public long ElementCount => Shape.Aggregate(1L, (a, b) => a * b);
}

/// <summary>Any safetensors file: named tensors over a memory map.</summary>
internal sealed unsafe class SafetensorsFile : IDisposable
{
    /// <summary>The limit of the format's own library.</summary>
    private const long MaxHeaderBytes = 100_000_000;
    private readonly Dictionary<string, SafetensorsTensor> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _metadata = new(StringComparer.Ordinal);
    private readonly long _length;
    private readonly byte* _data;
    private MappedFile? _map;

    private SafetensorsFile(byte* data, long length, string path)
    {
        _data = data;
        _length = length;
        Path = path;
        ReadHeader();
        CheckOverlaps();
    }

    /// <summary>Full path.</summary>
    public string Path { get; }

    /// <summary>Tensors by name.</summary>
    public IReadOnlyDictionary<string, SafetensorsTensor> Tensors => _tensors;

    /// <summary>The file's <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata => _metadata;

    /// <summary>Where private memory lies under the map.</summary>
    public IReadOnlyList<MemoryArea> PrivateAreas => _map?.PrivateAreas ?? [];

    private SafetensorsTensor this[string name] => _tensors.TryGetValue(name, out SafetensorsTensor? tensor)
        ? tensor
        : throw new GemmaModelFormatException($"'{Path}' has no tensor '{name}'. It is not the file that was expected here.");

    /// <summary>Maps a file.</summary>
    /// <exception cref="GemmaModelFormatException">The file is missing, damaged or incomplete.</exception>
    public static SafetensorsFile Open(string path)
    {
        MappedFile map = new(path);
        try
        {
            return new SafetensorsFile(map.Data, map.Length, map.Path) { _map = map };
        }
        catch
        {
            map.Dispose();
            throw;
        }
    }

    /// <summary>Parses a file in memory, which must stay where it is as long as the result is used.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged or incomplete.</exception>
    public static SafetensorsFile Parse(byte* data, long length, string source) => new(data, length, source);

    /// <summary>The bytes of a tensor, at most 2 GiB.</summary>
    public ReadOnlySpan<byte> Bytes(string name)
    {
        SafetensorsTensor tensor = this[name];
        return new ReadOnlySpan<byte>(_data + tensor.Offset, checked((int)tensor.ByteLength));
    }

    /// <summary>The tensor as weights under another name.</summary>
    /// <exception cref="GemmaModelFormatException">The element type is not one of F32, F16, BF16.</exception>
    public TensorView View(string name, string canonicalName)
    {
        SafetensorsTensor tensor = this[name];
        BlockFormat format = WeightFormat(tensor);
        return new TensorView(canonicalName, format, tensor.Shape, _data + tensor.Offset, tensor.ByteLength, Path);
    }

    /// <summary>The elements of a F32, F16 or BF16 tensor as float32.</summary>
    public float[] ReadSingles(string name)
    {
        SafetensorsTensor tensor = this[name];
        float[] values = new float[tensor.ElementCount];
        fixed (float* destination = values)
        {
            WeightFormat(tensor).Decode(_data + tensor.Offset, destination, values.Length);
        }

        return values;
    }

    /// <summary>The elements of an I32 or I64 tensor.</summary>
    public int[] ReadInt32s(string name)
    {
        SafetensorsTensor tensor = this[name];
        byte* data = _data + tensor.Offset;
        int[] values = new int[tensor.ElementCount];
        for (int i = 0; i < values.Length; i++)
        {
            values[i] = tensor.DType switch
            {
                "I32" => ((int*)data)[i],
                "I64" => checked((int)((long*)data)[i]),
                _ => throw Bad($"tensor '{name}' has the element type {tensor.DType}, expected I32 or I64"),
            };
        }

        return values;
    }

    /// <summary>Moves what is mapped to private memory in pages of 2 MB, as far as the system has any. Returns how many bytes lie there.</summary>
    public long MoveToHugePages(CancellationToken cancellationToken) => _map?.MoveToHugePages(cancellationToken) ?? 0;

    public void Dispose()
    {
        _map?.Dispose();
        _map = null;
    }

    private BlockFormat WeightFormat(SafetensorsTensor tensor) => tensor.DType switch
    {
        "F32" => BlockFormat.Get(TensorType.F32),
        "F16" => BlockFormat.Get(TensorType.F16),
        "BF16" => BlockFormat.Get(TensorType.BF16),
        _ => throw new GemmaModelFormatException($"'{Path}': tensor '{tensor.Name}' has the element type {tensor.DType}; F32, F16 and BF16 are supported. Take an unquantised checkpoint, or a GGUF file."),
    };

    private void ReadHeader()
    {
        if (_length < 8)
        {
            throw Truncated($"the header length takes 8 bytes");
        }

        ulong headerBytes = *(ulong*)_data;
        if (headerBytes > MaxHeaderBytes)
        {
            throw Bad($"the first eight bytes claim a header of {headerBytes:N0} bytes, at most {MaxHeaderBytes:N0} are possible; it is not a safetensors file, or");
        }

        if ((long)headerBytes > _length - 8)
        {
            throw Truncated($"the header has {headerBytes:N0} bytes at offset 8");
        }

        if (!Utf8.IsValid(new ReadOnlySpan<byte>(_data + 8, (int)headerBytes)))
        {
            throw Bad("the header is not text in UTF-8");
        }

        long dataStart = 8 + (long)headerBytes;
        try
        {
            using UnmanagedBytes memory = new(_data + 8, (int)headerBytes);
            using JsonDocument header = JsonDocument.Parse(memory.Memory);
            if (header.RootElement.ValueKind != JsonValueKind.Object)
            {
                throw Bad($"the header is a JSON {header.RootElement.ValueKind}, expected an object");
            }

            foreach (JsonProperty entry in header.RootElement.EnumerateObject())
            {
                if (entry.NameEquals("__metadata__"))
                {
                    ReadMetadata(entry.Value);
                }
                else
                {
                    ReadTensor(entry, dataStart);
                }
            }
        }
        catch (JsonException e)
        {
            throw new GemmaModelFormatException($"'{Path}': the header is not valid JSON: {ErrorText.Printable(e.Message)} It is not a safetensors file, or is damaged; download it again.", e);
        }
        catch (InvalidOperationException e)
        {
            // Escaped halves of a surrogate pair in names.
            throw new GemmaModelFormatException($"'{Path}': the header holds invalid text: {ErrorText.Printable(e.Message)} The file is damaged; download it again.", e);
        }
    }

    private void ReadMetadata(JsonElement metadata)
    {
        if (metadata.ValueKind != JsonValueKind.Object)
        {
            throw Bad($"'__metadata__' is a JSON {metadata.ValueKind}, expected an object");
        }

        foreach (JsonProperty entry in metadata.EnumerateObject())
        {
            if (entry.Value.ValueKind == JsonValueKind.String)
            {
                _metadata[entry.Name] = entry.Value.GetString()!;
            }
        }
    }

    private void ReadTensor(JsonProperty entry, long dataStart)
    {
        string name = entry.Name;
        if (entry.Value.ValueKind != JsonValueKind.Object
            || !entry.Value.TryGetProperty("dtype", out JsonElement dtype) || dtype.ValueKind != JsonValueKind.String
            || !entry.Value.TryGetProperty("shape", out JsonElement shapeElement) || shapeElement.ValueKind != JsonValueKind.Array
            || !entry.Value.TryGetProperty("data_offsets", out JsonElement offsets) || offsets.ValueKind != JsonValueKind.Array || offsets.GetArrayLength() != 2)
        {
            throw Bad($"tensor '{ErrorText.Printable(name)}' has no valid dtype, shape and data_offsets");
        }

        string type = dtype.GetString()!;
        if (shapeElement.GetArrayLength() > 8)
        {
            throw Bad($"tensor '{ErrorText.Printable(name)}' has {shapeElement.GetArrayLength():N0} dimensions");
        }

        long elements = 1;
        long[] shape = new long[shapeElement.GetArrayLength()];
        for (int i = 0; i < shape.Length; i++)
        {
            shape[i] = Size(shapeElement[i], name);
            if (shape[i] > 0 && elements > long.MaxValue / 64 / shape[i])
            {
                throw Bad($"tensor '{ErrorText.Printable(name)}' has an impossible number of elements");
            }

            elements *= shape[i];
        }

        long begin = Size(offsets[0], name), end = Size(offsets[1], name);
        if (end < begin)
        {
            throw Bad($"tensor '{ErrorText.Printable(name)}' ends at {end:N0}, before it begins at {begin:N0}");
        }

        if (end > _length - dataStart)
        {
            throw new GemmaModelFormatException($"Tensor '{ErrorText.Printable(name)}' has {end - begin:N0} bytes at offset {(UInt128)dataStart + (ulong)begin:N0} but '{Path}' ends at {_length:N0}. The download is probably incomplete; run 'gemma pull' again.");
        }

        // Widths of the types that the format defines; a type that is not known here is only rejected when it is used.
        int bits = type switch
        {
            "F64" or "I64" or "U64" or "C64" => 64,
            "F32" or "I32" or "U32" => 32,
            "F16" or "BF16" or "I16" or "U16" => 16,
            "I8" or "U8" or "BOOL" or "F8_E4M3" or "F8_E5M2" => 8,
            _ => 0,
        };
        if (bits > 0 && end - begin != elements * bits / 8)
        {
            throw Bad($"tensor '{ErrorText.Printable(name)}' of type {type} and shape [{string.Join(", ", shape)}] has {end - begin:N0} bytes, expected {elements * bits / 8:N0}");
        }

        if (!_tensors.TryAdd(name, new SafetensorsTensor(name, type, shape, dataStart + begin, end - begin)))
        {
            throw Bad($"tensor '{ErrorText.Printable(name)}' appears twice");
        }
    }

    private long Size(JsonElement element, string name) => element.ValueKind == JsonValueKind.Number && element.TryGetInt64(out long size) && size >= 0
        ? size
        : throw Bad($"tensor '{ErrorText.Printable(name)}' has a size or offset that is not a whole number");

    private void CheckOverlaps()
    {
        SafetensorsTensor[] sorted = [.. _tensors.Values.Where(t => t.ByteLength > 0).OrderBy(t => t.Offset)];
        for (int i = 1; i < sorted.Length; i++)
        {
            if (sorted[i].Offset < sorted[i - 1].Offset + sorted[i - 1].ByteLength)
            {
                throw Bad($"tensors '{ErrorText.Printable(sorted[i - 1].Name)}' and '{ErrorText.Printable(sorted[i].Name)}' overlap at byte {sorted[i].Offset:N0}");
            }
        }
    }

    private GemmaModelFormatException Truncated(string what) =>
        new($"'{Path}': {what}, but the file ends at {_length:N0}. The download is probably incomplete; run 'gemma pull' again.");

    private GemmaModelFormatException Bad(string what) => new($"'{Path}': {what}. The file is damaged; download it again.");
}
