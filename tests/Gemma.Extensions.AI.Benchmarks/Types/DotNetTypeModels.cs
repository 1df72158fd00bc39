using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;

namespace Gemma.Extensions.AI.Benchmarks.Types;

internal enum Colour
{
    Red,
    Green,
    DarkBlue,
}

[Flags]
internal enum Access
{
    None = 0,
    Read = 1,
    Write = 2,
    All = 3,
}

[JsonConverter(typeof(JsonStringEnumConverter<Status>))]
internal enum Status
{
    [JsonStringEnumMemberName("in-progress")]
    InProgress,

    [JsonStringEnumMemberName("done!")]
    Done,
}

[Flags]
[JsonConverter(typeof(JsonStringEnumConverter<Right>))]
internal enum Right : byte
{
    [JsonStringEnumMemberName("may read")]
    Read = 1,

    [JsonStringEnumMemberName("may.write+")]
    Write = 2,
}

internal enum Small : sbyte
{
    Less = -5,
    More = 100,
}

internal sealed record Appointment(string Title, TimeOnly At);

internal sealed record Duration(TimeSpan For, TimeSpan? Pause);

internal sealed record Permission(Access Access, Access? More, Right Right);

internal sealed record Item(string Name, int Count, decimal? Price, DateOnly Day);

internal sealed record Node(short Value, List<Node>? Children, Node? Next);

internal sealed class Tree : List<Tree>;

internal sealed record Person(string Name, string? Nick, Colour Favourite, Status? Status, Address? Home, IReadOnlyList<Address> Others);

internal sealed record Address(string Street, ushort Number, byte[] Key);

internal readonly record struct Point(double X, double Y);

internal struct Size
{
    public int Width { get; set; }

    public uint? Height { get; init; }
}

internal sealed class Required
{
    public required Guid Id { get; init; }

    public required char Sign { get; set; }

    public DateTimeOffset? At { get; init; }
}

internal sealed class Built(sbyte low, ulong high)
{
    public sbyte Low { get; } = low;

    public ulong High { get; } = high;
}

[JsonPolymorphic(TypeDiscriminatorPropertyName = "kind")]
[JsonDerivedType(typeof(Dog), "dog")]
[JsonDerivedType(typeof(Cat), "cat")]
internal abstract record Animal(string Name);

internal sealed record Dog(string Name, byte Legs, Access Access) : Animal(Name);

internal sealed record Cat(string Name, TimeOnly? Wakes, Animal? Prey) : Animal(Name);

[JsonDerivedType(typeof(Circle), 1)]
[JsonDerivedType(typeof(Square), 2)]
internal record Shape(Half Line);

internal sealed record Circle(Half Line, uint Radius) : Shape(Line);

internal sealed record Square(Half Line, uint Side) : Shape(Line);

internal sealed class Extended
{
    public int A { get; set; }

    [JsonExtensionData]
    public Dictionary<string, JsonElement>? More { get; set; }
}

internal sealed class Named
{
    [JsonPropertyName("the number")]
    public byte Number { get; set; }

    [JsonPropertyName("$price")]
    public decimal Price { get; set; }

    [JsonIgnore]
    public Uri? Hidden { get; set; }

    [Description("When it is open.")]
    public TimeOnly[]? Open { get; set; }
}

internal sealed class Spelt
{
    [JsonNumberHandling(JsonNumberHandling.AllowReadingFromString | JsonNumberHandling.WriteAsString)]
    public byte A { get; set; }

    [JsonNumberHandling(JsonNumberHandling.AllowNamedFloatingPointLiterals)]
    public float B { get; set; }

    [JsonNumberHandling(JsonNumberHandling.Strict)]
    public int? C { get; set; }
}

internal sealed class Converted
{
    [JsonConverter(typeof(JsonStringEnumConverter<Access>))]
    public Access Access { get; set; }

    [JsonConverter(typeof(JsonStringEnumConverter<Colour>))]
    public Colour? Colour { get; set; }
}

internal sealed class Annotated
{
    [Range(0, 1000)]
    public byte A { get; set; }

    [Range(0.0, double.MaxValue)]
    public decimal B { get; set; }

    [Range(typeof(decimal), "0.01", "99.99")]
    public decimal C { get; set; }

    [StringLength(8, MinimumLength = 2)]
    public string D { get; set; } = "";

    [RegularExpression("^[A-Z]{2}[0-9]{3}$")]
    public string E { get; set; } = "";

    [AllowedValues(1, 2)]
    public byte F { get; set; }

    [DeniedValues("x")]
    public string G { get; set; } = "";

    [EmailAddress]
    public string H { get; set; } = "";

    [Base64String]
    public string I { get; set; } = "";

    [MaxLength(4)]
    public byte[] J { get; set; } = [];

    [Length(1, 3)]
    public Dictionary<string, int> K { get; set; } = [];

    [Range(1, 9, MinimumIsExclusive = true, MaximumIsExclusive = true)]
    public long L { get; set; }

    [DataType(DataType.Date)]
    public DateTime M { get; set; }
}

internal sealed class Dated
{
    [Range(typeof(DateTime), "2020-01-01", "2021-01-01")]
    public DateTime A { get; set; }

    [Range(typeof(DateOnly), "2020-01-01", "2021-01-01")]
    public DateOnly B { get; set; }

    [Range(typeof(TimeSpan), "00:00", "10:00")]
    public TimeSpan C { get; set; }
}

internal sealed record Defaults(int A = 3, Colour C = Colour.Green, decimal E = 1.5m, string? F = "x");

internal sealed record Anything(JsonElement A, JsonNode? B, JsonValue? C, object? D, JsonArray? E, JsonObject? F);

internal sealed record Page<T>(IReadOnlyList<T> Items, int Total, string? Next);

internal sealed record Empty;

internal interface IShape
{
    int Sides { get; }
}

[JsonConverter(typeof(MoneyConverter))]
internal readonly record struct Money(int Cents);

internal sealed record Invoice(string Number, Money Total);

internal sealed class MoneyConverter : JsonConverter<Money>
{
    public override Money Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => new(reader.GetInt32());

    public override void Write(Utf8JsonWriter writer, Money value, JsonSerializerOptions options) => writer.WriteNumberValue(value.Cents);
}
