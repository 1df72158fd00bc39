using System.Collections.Concurrent;
using System.Collections.Frozen;
using System.Collections.Immutable;
using System.Collections.ObjectModel;
using System.Numerics;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>The .NET types of which answers and arguments are drawn.</summary>
internal static class DotNetTypeTable
{
    private static readonly JsonSerializerOptions s_snakeCase = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.KebabCaseLower) },
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    private static readonly JsonSerializerOptions s_numbers = new()
    {
        NumberHandling = JsonNumberHandling.AllowReadingFromString | JsonNumberHandling.AllowNamedFloatingPointLiterals,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        RespectNullableAnnotations = true,
        RespectRequiredConstructorParameters = true,
        TypeInfoResolver = new DefaultJsonTypeInfoResolver(),
    };

    public static IReadOnlyList<TypeCase> All { get; } =
    [
        // Numbers.
        Of<sbyte>("sbyte"), Of<byte>("byte"), Of<short>("short"), Of<ushort>("ushort"), Of<int>("int"), Of<uint>("uint"), Of<long>("long"), Of<ulong>("ulong"),
        Of<Int128>("Int128"), Of<UInt128>("UInt128"), Of<Half>("Half"), Of<float>("float"), Of<double>("double"), Of<decimal>("decimal"), Of<bool>("bool"),
        Of<byte?>("byte?"), Of<int?>("int?"), Of<long?>("long?"), Of<uint?>("uint?"), Of<UInt128?>("UInt128?"), Of<decimal?>("decimal?"), Of<float?>("float?"), Of<bool?>("bool?"),

        // Texts.
        Of<string>("string"), Of<char>("char"), Of<char?>("char?"), Of<Guid>("Guid"), Of<Guid?>("Guid?"), Of<Uri>("Uri"), Of<Version>("Version"),
        Of<DateTime>("DateTime"), Of<DateTime?>("DateTime?"), Of<DateTimeOffset>("DateTimeOffset"), Of<DateTimeOffset?>("DateTimeOffset?"), Of<DateOnly>("DateOnly"), Of<DateOnly?>("DateOnly?"),
        Of<TimeOnly>("TimeOnly"), Of<TimeOnly?>("TimeOnly?"), Of<TimeSpan>("TimeSpan"), Of<TimeSpan?>("TimeSpan?"),
        Of<byte[]>("byte[]"), Of<Memory<byte>>("Memory<byte>"), Of<ReadOnlyMemory<byte>>("ReadOnlyMemory<byte>"), Of<byte[][]>("byte[][]"),

        // Enumerations.
        Of<Colour>("enumeration"), Of<Colour?>("enumeration?"), Of<DayOfWeek>("DayOfWeek"), Of<Access>("flags"), Of<Access?>("flags?"), Of<FileAttributes>("FileAttributes"),
        Of<FileAttributes?>("FileAttributes?"), Of<Status>("enumeration with member names"), Of<Status?>("enumeration? with member names"), Of<Right>("flags with member names"),
        Of<Right?>("flags? with member names"), Of<Small>("enumeration of sbyte"), Of<Colour[]>("enumeration[]"), Of<Access[]>("flags[]"), Of<List<Status?>>("List<enumeration? with member names>"),
        new TypeCase<Colour>("enumeration, kebab case") { Options = s_snakeCase }, new TypeCase<Colour>("enumeration, numbers") { Options = s_numbers },
        new TypeCase<Access>("flags, numbers") { Options = s_numbers }, new TypeCase<Small?>("enumeration? of sbyte, numbers") { Options = s_numbers },

        // Lists.
        Of<int[]>("int[]"), Of<int[][]>("int[][]"), Of<byte?[]>("byte?[]"), Of<List<short>>("List<short>"), Of<List<string>>("List<string>"), Of<IEnumerable<TimeOnly>>("IEnumerable<TimeOnly>"),
        Of<IReadOnlyList<decimal>>("IReadOnlyList<decimal>"), Of<ICollection<char>>("ICollection<char>"), Of<HashSet<Guid>>("HashSet<Guid>"), Of<ISet<ulong>>("ISet<ulong>"),
        Of<SortedSet<uint>>("SortedSet<uint>"), Of<Queue<TimeSpan>>("Queue<TimeSpan>"), Of<Stack<sbyte>>("Stack<sbyte>"), Of<LinkedList<Half>>("LinkedList<Half>"),
        Of<ImmutableArray<int>>("ImmutableArray<int>"), Of<ImmutableList<TimeOnly>>("ImmutableList<TimeOnly>"), Of<ImmutableHashSet<Version>>("ImmutableHashSet<Version>"),
        Of<ConcurrentBag<DateOnly>>("ConcurrentBag<DateOnly>"), Of<ObservableCollection<Uri>>("ObservableCollection<Uri>"), Of<Collection<Point>>("Collection<record struct>"),
        Of<Memory<int>>("Memory<int>"), Of<ReadOnlyMemory<float>>("ReadOnlyMemory<float>"), Of<List<List<uint[]>>>("List<List<uint[]>>"), Of<List<UInt128>>("List<UInt128>"),
        Of<List<Dictionary<string, TimeOnly>>>("List<Dictionary<string, TimeOnly>>"), Of<IAsyncEnumerable<int>>("IAsyncEnumerable<int>"),

        // Dictionaries.
        Of<Dictionary<string, int>>("Dictionary<string, int>"), Of<Dictionary<string, byte[]>>("Dictionary<string, byte[]>"), Of<Dictionary<string, object>>("Dictionary<string, object>"),
        Of<Dictionary<Colour, int>>("Dictionary<enumeration, int>"), Of<Dictionary<Access, string>>("Dictionary<flags, string>"), Of<Dictionary<Status, string>>("Dictionary<enumeration with member names, string>"),
        Of<Dictionary<int, string>>("Dictionary<int, string>"), Of<Dictionary<byte, TimeOnly>>("Dictionary<byte, TimeOnly>"), Of<Dictionary<ulong, bool>>("Dictionary<ulong, bool>"),
        Of<Dictionary<UInt128, bool>>("Dictionary<UInt128, bool>"), Of<Dictionary<Half, bool>>("Dictionary<Half, bool>"), Of<Dictionary<double, int>>("Dictionary<double, int>"),
        Of<Dictionary<decimal, int>>("Dictionary<decimal, int>"), Of<Dictionary<bool, string>>("Dictionary<bool, string>"), Of<Dictionary<char, string>>("Dictionary<char, string>"),
        Of<Dictionary<Guid, string>>("Dictionary<Guid, string>"), Of<Dictionary<DateTime, string>>("Dictionary<DateTime, string>"), Of<Dictionary<DateTimeOffset, int>>("Dictionary<DateTimeOffset, int>"),
        Of<Dictionary<DateOnly, int>>("Dictionary<DateOnly, int>"), Of<Dictionary<TimeOnly, int>>("Dictionary<TimeOnly, int>"), Of<Dictionary<TimeSpan, int>>("Dictionary<TimeSpan, int>"),
        Of<Dictionary<Version, int>>("Dictionary<Version, int>"), Of<IReadOnlyDictionary<long, short>>("IReadOnlyDictionary<long, short>"), Of<SortedDictionary<int, Item>>("SortedDictionary<int, record>"),
        Of<ImmutableDictionary<Guid, uint>>("ImmutableDictionary<Guid, uint>"), Of<ConcurrentDictionary<Colour, Half>>("ConcurrentDictionary<enumeration, Half>"),
        Of<Dictionary<int, Dictionary<bool, sbyte>>>("Dictionary<int, Dictionary<bool, sbyte>>"), Of<KeyValuePair<int, TimeOnly>>("KeyValuePair<int, TimeOnly>"),

        // Objects.
        Of<Appointment>("record with TimeOnly"), Of<Duration>("record with TimeSpan"), Of<Permission>("record with flags"), Of<Item>("record with int, decimal?, DateOnly"), Of<Person>("record of records"),
        Of<Point>("record struct"), Of<Size>("struct"), Of<Size?>("struct?"), Of<Required>("class with required and init"), Of<Built>("class bound by its constructor"), Of<Tuple<byte, TimeOnly>>("Tuple<byte, TimeOnly>"),
        Of<Node>("recursive record"), Of<List<Node>>("List<recursive record>"), Of<Node[]>("recursive record[]"), Of<Dictionary<string, Node>>("Dictionary<string, recursive record>"), Of<Tree>("recursive list"),
        Of<Animal>("polymorphic, abstract"), Of<List<Animal>>("List<polymorphic, abstract>"), Of<Shape>("polymorphic, numbers"), Of<Page<Item>>("generic record"), Of<Page<byte>>("generic record of byte"),
        Of<Extended>("class with extension data"), Of<Named>("class with names"), Of<Spelt>("class with number handling"), Of<Converted>("class with converters of enumerations"),
        Of<Annotated>("class with annotations"), Of<Dated>("class with ranges of dates"), Of<Defaults>("record with defaults"), Of<Empty>("empty record"), Of<Empty[]>("empty record[]"),
        new TypeCase<Person>("record of records, snake case") { Options = s_snakeCase }, new TypeCase<Permission>("record with flags, kebab case") { Options = s_snakeCase },
        new TypeCase<Item>("record, strict options") { Options = s_numbers }, new TypeCase<Page<float>>("generic record of float, strict options") { Options = s_numbers },

        // Any JSON.
        Of<object>("object"), Of<JsonElement>("JsonElement"), Of<JsonNode>("JsonNode"), Of<JsonValue>("JsonValue"), Of<JsonObject>("JsonObject"), Of<JsonArray>("JsonArray"), Of<JsonDocument>("JsonDocument"),
        Of<Anything>("record with any JSON"), Of<List<JsonElement>>("List<JsonElement>"),

        // What cannot be enforced.
        Of<BigInteger>("BigInteger"), Of<(int, string)>("(int, string)"), Of<Complex>("Complex"), Of<Money>("struct with a converter"), Of<Invoice>("record with a converter"), Of<IShape>("interface"),
        Of<Type>("Type"), Of<nint>("nint"), Of<FrozenSet<int>>("FrozenSet<int>"), Of<ReadOnlyCollection<int>>("ReadOnlyCollection<int>"), Of<ReadOnlyDictionary<string, int>>("ReadOnlyDictionary<string, int>"),
        Of<System.Net.IPAddress>("IPAddress"), Of<Dictionary<object, int>>("Dictionary<object, int>"), Of<Dictionary<Uri, int>>("Dictionary<Uri, int>"), Of<Dictionary<byte[], int>>("Dictionary<byte[], int>"),
        Of<int[,]>("int[,]"), Of<ArraySegment<int>>("ArraySegment<int>"), Of<System.Globalization.CultureInfo>("CultureInfo"),
    ];

    private static TypeCase Of<T>(string name) => new TypeCase<T>(name);
}
