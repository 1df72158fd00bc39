using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Files;

/// <summary>A GGUF file of version 2 or 3 (little endian), or the files that one was split into: metadata and tensors over memory maps.</summary>
internal sealed unsafe partial class GgufFile : IDisposable
{
    private const uint Magic = 0x46554747;
    private const int MaxKeyBytes = ushort.MaxValue;
    private const int MaxTensorNameBytes = 1024;

    private readonly List<MappedFile> _maps = [];
    private readonly Dictionary<string, TensorView> _tensors = new(StringComparer.Ordinal);

    private GgufFile(string path) => Path = path;

    /// <summary>Full path of the file, of the first one of a split.</summary>
    public string Path { get; }

    /// <summary>Metadata of the (first) file.</summary>
    public GgufMetadata Metadata { get; private set; } = null!;

    /// <summary>All tensors, in the order of the file, by the names it gives them.</summary>
    public IReadOnlyDictionary<string, TensorView> Tensors => _tensors;

    /// <summary>Where private memory lies under the maps.</summary>
    public IEnumerable<MemoryArea> PrivateAreas => _maps.SelectMany(map => map.PrivateAreas);

    /// <summary>Opens a file, or all files of a split given any one of them.</summary>
    /// <exception cref="GemmaModelFormatException">The file is missing, damaged, incomplete or not supported.</exception>
    public static GgufFile Open(string path)
    {
        path = System.IO.Path.GetFullPath(path);
        Match split = SplitName().Match(path);
        string first = split.Success ? PartName(split, 1) : path;
        GgufFile file = new(first);
        try
        {
            file.Metadata = file.AddMap(first);
            int count = SplitCount(file.Metadata);
            if (count > 1)
            {
                file.OpenRest(count);
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The files of a model, given any one of them: the parts of a split one that are there, by their names.</summary>
    public static string[] FilesOf(string path) => SplitName().Match(path) is { Success: true } split
        ? [.. Enumerable.Range(1, int.Parse(split.Groups["count"].Value, CultureInfo.InvariantCulture)).Select(i => PartName(split, i)).Where(File.Exists)] : [path];

    /// <summary>True if a file stands for a model: it is not a later part of a split one.</summary>
    public static bool IsFirstOrOnly(string path) => SplitName().Match(path) is not { Success: true } split || split.Groups["no"].Value == "00001";

    /// <summary>Parses one file in memory, which must stay where it is as long as the result is used.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, incomplete or not supported.</exception>
    public static GgufFile Parse(byte* data, long length, string source)
    {
        GgufFile file = new(source);
        file.Metadata = file.Add(data, length, source, part: 0);
        return file;
    }

    /// <summary>Moves what is mapped to private memory in pages of 2 MB, as far as the system has any. Returns how many bytes lie there.</summary>
    public long MoveToHugePages(CancellationToken cancellationToken) => _maps.Sum(map => map.MoveToHugePages(cancellationToken));

    public void Dispose()
    {
        foreach (MappedFile map in _maps)
        {
            map.Dispose();
        }

        _maps.Clear();
    }

    private void OpenRest(int count)
    {
        Match split = SplitName().Match(Path);
        if (!split.Success || split.Groups["count"].Value != count.ToString("D5"))
        {
            throw new GemmaModelFormatException($"'{Path}' is the first of {count:N0} files, but its name does not end in '-00001-of-{count:D5}.gguf', so the others cannot be found. Rename it as it was when it was split.");
        }

        for (int i = 2; i <= count; i++)
        {
            string part = PartName(split, i);
            if (!File.Exists(part))
            {
                throw new GemmaModelFormatException($"'{part}' is missing: the model was split into {count:N0} files. Download all of them into the same directory; 'gemma pull' does.");
            }

            AddMap(part, i - 1);
        }

        if (Metadata.GetInt32("split.tensors.count") is { } tensors && tensors != _tensors.Count)
        {
            throw new GemmaModelFormatException($"'{Path}' and its {count - 1} further files hold {_tensors.Count:N0} tensors, expected {tensors:N0}. The files were mixed up; download them again.");
        }
    }

    private static string PartName(Match split, int number) => $"{split.Groups["stem"].Value}-{number:D5}-of-{split.Groups["count"].Value}.gguf";

    private static int SplitCount(GgufMetadata metadata)
    {
        int count = metadata.GetInt32("split.count") ?? 1;
        return count is >= 0 and <= 99999
            ? count
            : throw new GemmaModelFormatException($"'{metadata.Source}' says that it was split into {count:N0} files. The file is damaged; download it again.");
    }

    private GgufMetadata AddMap(string path, int part = 0)
    {
        MappedFile map = new(path);
        _maps.Add(map);
        return Add(map.Data, map.Length, map.Path, part);
    }

    private GgufMetadata Add(byte* data, long length, string source, int part)
    {
        GgufReader reader = new(data, length, source);
        CheckVersion(ref reader, source);
        ulong tensorCount = reader.UInt64("the tensor count");
        ulong valueCount = reader.UInt64("the metadata count");

        // The smallest entry has 8 bytes of key length and 4 of type and 1 of value; the smallest tensor 8 + 4 + 8 + 4 + 8.
        CheckCount(reader, valueCount, 13, "metadata entries");
        CheckCount(reader, tensorCount, 32, "tensors");

        GgufMetadata metadata = new(data, source);
        for (ulong i = 0; i < valueCount; i++)
        {
            string key = reader.String("a metadata key", MaxKeyBytes);
            if (!metadata.TryAdd(key, ReadValue(ref reader, key)))
            {
                throw reader.Bad($"the metadata key '{ErrorText.Printable(key)}' appears twice");
            }
        }

        if (metadata.GetInt32("split.no") is { } number && number != part)
        {
            throw new GemmaModelFormatException($"'{source}' says that it is file {number + 1L:N0} of a split model, expected file {part + 1:N0}. The files were mixed up; download them again.");
        }

        List<TensorInfo> infos = new();
        for (ulong i = 0; i < tensorCount; i++)
        {
            infos.Add(ReadTensorInfo(ref reader, source));
        }

        AddTensors(data, length, source, reader, metadata, infos);
        return metadata;
    }

    private static void CheckVersion(ref GgufReader reader, string source)
    {
        uint magic = reader.UInt32("the magic number");
        if (magic != Magic)
        {
            string hint = magic is 0x67676d6c or 0x67676a74 or 0x67676d66 or 0x67676c61
                ? "It is a file of the time before GGUF; convert the model again."
                : "It is not a GGUF file, or its start is damaged; download it again.";
            throw new GemmaModelFormatException($"'{source}' starts with the bytes {magic & 0xFF:X2} {magic >> 8 & 0xFF:X2} {magic >> 16 & 0xFF:X2} {magic >> 24:X2}, expected 47 47 55 46 ('GGUF'). {hint}");
        }

        uint version = reader.UInt32("the version");
        if (version is not (2 or 3))
        {
            throw new GemmaModelFormatException(version is 0x02000000 or 0x03000000
                ? $"'{source}' is a big-endian GGUF file; only little-endian ones are supported. Convert the model for a little-endian machine."
                : $"'{source}' is GGUF version {version}; versions 2 and 3 are supported. Convert or download the model again.");
        }
    }

    private static void CheckCount(in GgufReader reader, ulong count, long smallest, string what)
    {
        if (count > (ulong)(reader.Remaining / smallest))
        {
            throw reader.Truncated($"the header claims {count:N0} {what}, which take {smallest} bytes each at least");
        }
    }

    private static GgufValue ReadValue(ref GgufReader reader, string key)
    {
        GgufType type = (GgufType)reader.UInt32("a metadata type");
        long start = reader.Position;
        (GgufType elementType, long count) = SkipValue(ref reader, type, key, depth: 0);
        return new GgufValue(type, elementType, count, start, reader.Position - start);
    }

    private static (GgufType ElementType, long Count) SkipValue(ref GgufReader reader, GgufType type, string key, int depth)
    {
        if (type != GgufType.Array)
        {
            SkipScalars(ref reader, type, 1, key);
            return (type, 1);
        }

        if (depth > 3)
        {
            throw reader.Bad($"the metadata value '{ErrorText.Printable(key)}' is an array of arrays, {depth} levels deep");
        }

        GgufType elementType = (GgufType)reader.UInt32("an array's element type");
        ulong count = reader.UInt64("an array's length");
        if (count > (ulong)reader.Remaining)
        {
            throw reader.Truncated($"the metadata array '{ErrorText.Printable(key)}' at byte {reader.Position:N0} claims {count:N0} elements");
        }

        if (elementType == GgufType.Array)
        {
            for (ulong i = 0; i < count; i++)
            {
                SkipValue(ref reader, GgufType.Array, key, depth + 1);
            }
        }
        else
        {
            SkipScalars(ref reader, elementType, (long)count, key);
        }

        return (elementType, (long)count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // good from the first call: it runs over the whole vocabulary
    private static void SkipScalars(ref GgufReader reader, GgufType type, long count, string key)
    {
        if (type == GgufType.String)
        {
            for (long i = 0; i < count; i++)
            {
                ulong bytes = reader.UInt64($"a string of a metadata value");
                if (bytes > (ulong)Math.Min(reader.Remaining, int.MaxValue))
                {
                    throw reader.Truncated($"a string of the metadata value '{ErrorText.Printable(key)}' at byte {reader.Position:N0} takes {bytes:N0} bytes");
                }

                reader.Take((long)bytes, "a string");
            }

            return;
        }

        int size = type switch
        {
            GgufType.UInt8 or GgufType.Int8 or GgufType.Bool => 1,
            GgufType.UInt16 or GgufType.Int16 => 2,
            GgufType.UInt32 or GgufType.Int32 or GgufType.Float32 => 4,
            GgufType.UInt64 or GgufType.Int64 or GgufType.Float64 => 8,
            _ => throw reader.Bad($"the metadata value '{ErrorText.Printable(key)}' has the unknown type {(uint)type}"),
        };
        if (count > reader.Remaining / size)
        {
            throw reader.Truncated($"the metadata value '{ErrorText.Printable(key)}' at byte {reader.Position:N0} has {count:N0} elements of {size} bytes");
        }

        reader.Take(count * size, "a metadata value");
    }

    private static TensorInfo ReadTensorInfo(ref GgufReader reader, string source)
    {
        string name = ErrorText.Printable(reader.String("a tensor name", MaxTensorNameBytes));
        uint dimensions = reader.UInt32("a dimension count");
        if (dimensions is 0 or > 4)
        {
            throw reader.Bad($"tensor '{name}' has {dimensions:N0} dimensions, expected 1 to 4");
        }

        // GGUF lists the fastest dimension first.
        long[] shape = new long[dimensions];
        long elements = 1;
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            ulong size = reader.UInt64("a dimension");
            if (size == 0 || size > (ulong)(long.MaxValue / 8 / elements))
            {
                throw reader.Bad($"tensor '{name}' has a dimension of {size:N0} elements");
            }

            shape[i] = (long)size;
            elements *= (long)size;
        }

        uint type = reader.UInt32("a tensor type");
        if (!BlockFormat.TryGet(type, out BlockFormat? format))
        {
            throw new GemmaModelFormatException($"'{source}': tensor '{name}' is stored as {TypeName(type)}, which is not supported. Supported are {string.Join(", ", BlockFormat.All)}; take a file with one of them, or convert the original checkpoint with 'gemma convert'.");
        }

        if (shape[^1] % format.BlockElements != 0)
        {
            throw reader.Bad($"tensor '{name}' has rows of {shape[^1]:N0} elements, but {format.Name} packs blocks of {format.BlockElements}");
        }

        return new TensorInfo(name, format, shape, format.ByteLength(elements), reader.UInt64("a tensor offset"));
    }

    private void AddTensors(byte* data, long length, string source, in GgufReader reader, GgufMetadata metadata, List<TensorInfo> infos)
    {
        long alignment = metadata.GetInteger("general.alignment") ?? 32;
        if (alignment is < 1 or > 1 << 20 || !long.IsPow2(alignment))
        {
            throw reader.Bad($"'general.alignment' is {alignment:N0}, expected a power of two up to 1,048,576");
        }

        long dataStart = (reader.Position + alignment - 1) / alignment * alignment;
        foreach (TensorInfo info in infos)
        {
            if (info.Offset % (ulong)alignment != 0)
            {
                throw reader.Bad($"tensor '{info.Name}' is at offset {info.Offset:N0} of the data, which is not a multiple of {alignment}");
            }

            if (dataStart > length || info.Offset > (ulong)(length - dataStart) || info.Bytes > length - dataStart - (long)info.Offset)
            {
                throw new GemmaModelFormatException($"Tensor '{info.Name}' has {info.Bytes:N0} bytes at offset {(UInt128)dataStart + info.Offset:N0} but '{source}' ends at {length:N0}. The download is probably incomplete; run 'gemma pull' again.");
            }

            long offset = dataStart + (long)info.Offset;
            if (!_tensors.TryAdd(info.Name, new TensorView(info.Name, info.Format, info.Shape, data + offset, info.Bytes, source)))
            {
                throw reader.Bad($"tensor '{info.Name}' appears twice");
            }
        }

        infos.Sort((a, b) => a.Offset.CompareTo(b.Offset));
        for (int i = 1; i < infos.Count; i++)
        {
            if (infos[i].Offset < infos[i - 1].Offset + (ulong)infos[i - 1].Bytes)
            {
                throw reader.Bad($"tensors '{infos[i - 1].Name}' and '{infos[i].Name}' overlap at byte {(ulong)dataStart + infos[i].Offset:N0}");
            }
        }
    }

    /// <summary>Names of types that exist and are not supported.</summary>
    private static string TypeName(uint type) => type switch
    {
        9 => "Q8_1", 15 => "Q8_K", 24 => "I8", 25 => "I16", 26 => "I32", 27 => "I64", 28 => "F64", 40 => "NVFP4",
        _ => $"type {type}",
    };

    [GeneratedRegex(@"^(?<stem>.*)-(?<no>\d{5})-of-(?<count>\d{5})\.gguf$", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex SplitName();

    private readonly record struct TensorInfo(string Name, BlockFormat Format, long[] Shape, long Bytes, ulong Offset);
}
