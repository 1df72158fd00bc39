using System.ComponentModel.DataAnnotations;
using System.Reflection;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.SemanticKernel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>What validation attributes ask of a value holds for what is generated, also where Microsoft.Extensions.AI's schema does not say it.</summary>
public sealed class ValidationAttributeTests
{
    private const int Draws = 60;

    private static readonly NullabilityInfoContext s_nullability = new();

    private static GemmaTokenizer Tokenizer => TinyModel.Model.Tokenizer;

    public static TheoryData<string> Properties => [.. typeof(Everything).GetProperties().Select(static property => property.Name)];

    /// <summary>Each property of the class is drawn as the answer that has only it, and .NET's own validator looks at what is read.</summary>
    [Theory]
    [MemberData(nameof(Properties))]
    public void AnswersAreValid(string name)
    {
        PropertyInfo property = typeof(Everything).GetProperty(name)!;
        JsonObject root = JsonObject.Create(AIJsonUtilities.CreateJsonSchema(typeof(Everything)))!;
        string key = JsonNamingPolicy.CamelCase.ConvertName(name);
        root["properties"] = new JsonObject { [key] = root["properties"]![key]!.DeepClone() };
        root["required"] = new JsonArray(key);
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonSerializer.SerializeToElement(root)) };
        List<object?> values = [.. Draw(options, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(Everything))).Select(text => property.GetValue(JsonSerializer.Deserialize<Everything>(text, AIJsonUtilities.DefaultOptions)))];
        AssertValid(values, [.. property.GetCustomAttributes<ValidationAttribute>()], name, s_nullability.Create(property).WriteState == NullabilityState.Nullable);
    }

    /// <summary>The same attributes at the parameters of a function and of a kernel function.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ArgumentsAreValid(bool kernel)
    {
        MethodInfo method = typeof(ValidationAttributeTests).GetMethod(nameof(Function), BindingFlags.Static | BindingFlags.NonPublic)!;
        AIFunction function = kernel ? KernelFunctionFactory.CreateFromMethod(method, target: null, "f") : AIFunctionFactory.Create(method, target: null, "f");
        JsonElement schema = DotNetParameters.SchemaOf(function);
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema) };
        JsonElement[] arguments = [.. Draw(options, null).Select(static text => JsonElement.Parse(text))];
        foreach (ParameterInfo parameter in method.GetParameters())
        {
            List<object?> values = [.. arguments.Where(arguments => arguments.TryGetProperty(parameter.Name!, out _)).Select(arguments => arguments.GetProperty(parameter.Name!).Deserialize(parameter.ParameterType, AIJsonUtilities.DefaultOptions))];
            AssertValid(values, [.. parameter.GetCustomAttributes<ValidationAttribute>()], parameter.Name!, mayBeNull: false);
        }
    }

    /// <summary>Attributes of a record stand at the parameters of its constructor.</summary>
    [Fact]
    public void RecordsAreLimitedByTheirParameters()
    {
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema<Share>() };
        Share[] shares = [.. Draw(options, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(Share))).Select(static text => JsonSerializer.Deserialize<Share>(text, AIJsonUtilities.DefaultOptions)!)];
        Assert.All(shares, static share => Assert.True(share.Part is > 0 and <= 1 && share.Code is "ab" or "cd" && share.Whole is > -3 and < 3, share.ToString()));
        Assert.True(shares.Length > Draws / 2 && shares.DistinctBy(static share => share.Part).Count() > 3);
    }

    [Theory]
    [InlineData(nameof(Everything.Chance), """{"type":"number","maximum":1,"exclusiveMinimum":0.0}""")]
    [InlineData(nameof(Everything.Below), """{"type":"integer","exclusiveMaximum":10,"exclusiveMinimum":-5}""")]
    [InlineData(nameof(Everything.Letters), """{"type":"string","pattern":"^(?:[a-c]+|xy)$"}""")]
    [InlineData(nameof(Everything.FreeDays), """{"type":"string","enum":["Saturday","Sunday"]}""")]
    [InlineData(nameof(Everything.Few), """{"type":["integer","null"],"enum":[1,2,null]}""")]
    [InlineData(nameof(Everything.Optional), """{"type":["string","null"],"enum":["a",null]}""")]
    [InlineData(nameof(Everything.Something), """{"type":["string"]}""")]
    [InlineData(nameof(Everything.Endless), """{"type":"string"}""")]
    [InlineData(nameof(Everything.Name), """{"type":"string","pattern":"[^\\s\\u0085]"}""")]
    [InlineData(nameof(Everything.Blank), """{"type":["string"]}""")]
    public void SchemasSayWhatIsAsked(string name, string expected)
    {
        JsonElement schema = AIJsonUtilities.CreateJsonSchema(typeof(Everything));
        JsonElement narrowed = DotNetParameters.AnswerOf(schema, null, AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(Everything)), lenient: false);
        JsonObject property = JsonObject.Create(narrowed.GetProperty("properties").GetProperty(JsonNamingPolicy.CamelCase.ConvertName(name)))!;
        if (property["type"]!.ToString() == "integer")
        {
            property.Remove("minimum"); // of an int
        }

        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), property), property.ToJsonString());
    }

    /// <summary>How Microsoft.Extensions.AI writes [MaxLength] without a number: as much as a database takes.</summary>
    [Fact]
    public void ALengthOfMinusOneIsNone()
    {
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","properties":{"a":{"type":"string","maxLength":-1},"b":{"type":"array","items":{"type":"boolean"},"maxItems":-1}},"required":["a","b"]}""")) };
        Assert.Contains(Draw(options, null), static text => JsonElement.Parse(text).GetProperty("a").GetString()!.Length > 2);
        ChatOptions wrong = new() { ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"string","maxLength":-2}""")) };
        Assert.Throws<ArgumentException>(() => Constraints.Create(Tokenizer, wrong, [Tokenizer.EndOfTurnId]));
    }

    private static IEnumerable<string> Draw(ChatOptions options, System.Text.Json.Serialization.Metadata.JsonTypeInfo? type)
    {
        GrammarWalk walk = new(Tokenizer);
        for (int seed = 0; seed < Draws; seed++)
        {
            ITokenConstraint constraint = Constraints.Create(Tokenizer, options, [Tokenizer.EndOfTurnId], answerType: type)!;
            if (walk.Draw(constraint, new Random(seed)) is { } text)
            {
                yield return text;
            }
        }
    }

    private static void AssertValid(List<object?> values, ValidationAttribute[] attributes, string name, bool mayBeNull)
    {
        Assert.NotEmpty(attributes);
        Assert.True(values.Count > Draws / 3, $"{name}: only {values.Count} came to their end");
        Assert.All(values, value => Assert.All(attributes, attribute =>
            Assert.True(attribute.IsValid(value) || (value is null && mayBeNull && !attributes.OfType<RequiredAttribute>().Any()), $"{name}: {JsonSerializer.Serialize(value)} is not valid for {attribute.GetType().Name}")));
        if (name is not ("Some" or "some"))
        {
            Assert.True(values.Distinct().Count() > 1, $"{name}: always {JsonSerializer.Serialize(values[0])}");
        }
    }

    private static void Function(
        [Range(0.0, 1.0, MinimumIsExclusive = true)] double chance, [Length(2, 3)] int[] list, [MinLength(2)] byte[] bytes, [RegularExpression("[a-c]+|xy")] string letters, [AllowedValues(DayOfWeek.Monday, DayOfWeek.Friday)] DayOfWeek day,
        [DeniedValues(1, 2)] int number, [Url] string address, [Required] string text, [EmailAddress] string mail, [Base64String] string data)
    {
        _ = (chance, list, bytes, letters, day, number, address, text, mail, data);
    }

    internal sealed record Share([Range(0.0, 1.0, MinimumIsExclusive = true)] double Part, [property: RegularExpression("ab|cd")] string Code, [Range(-3, 3, MinimumIsExclusive = true, MaximumIsExclusive = true)] short Whole);

    internal sealed class Everything
    {
        [Range(0.0, 1.0, MinimumIsExclusive = true)]
        public double Chance { get; set; }

        [Range(-5, 10, MinimumIsExclusive = true, MaximumIsExclusive = true)]
        public int Below { get; set; }

        [Range(-1.5, 0, MinimumIsExclusive = true)]
        public float? Negative { get; set; }

        [Range(typeof(decimal), "0", "9.5", MinimumIsExclusive = true)]
        public decimal Price { get; set; }

        [Range(-0.5, 10.0, MinimumIsExclusive = true, MaximumIsExclusive = true)]
        public decimal Discount { get; set; }

        [Range(0.0, 65504.0, MinimumIsExclusive = true, MaximumIsExclusive = true)]
        public float Weight { get; set; }

        [Range(typeof(long), "-5", "5000000000", MinimumIsExclusive = true)]
        public long Count { get; set; }

        [Range(1.5, 3.7)]
        public int Between { get; set; }

        [Length(2, 4), RegularExpression("[ -~]*")]
        public string Word { get; set; } = "";

        [Length(2, 4)]
        public List<bool> List { get; set; } = [];

        [Length(1, 2)]
        public Dictionary<string, bool> Map { get; set; } = [];

        [Length(2, 4)]
        public byte[] Bytes { get; set; } = [];

        [MinLength(3)]
        public List<int> Many { get; set; } = [];

        [MaxLength]
        public string Endless { get; set; } = "";

        [StringLength(9, MinimumLength = 7), RegularExpression("[ -~]*")]
        public string Text { get; set; } = "";

        [RegularExpression("[a-c]+|xy")]
        public string Letters { get; set; } = "";

        [RegularExpression(@"^\d{2}$"), StringLength(2)]
        public string Digits { get; set; } = "";

        [AllowedValues("a", "b")]
        public string Choice { get; set; } = "";

        [AllowedValues(1, 2, null)]
        public int? Few { get; set; }

        [AllowedValues("a", null)]
        public string? Optional { get; set; }

        [AllowedValues(1.5, 2)]
        public double Some { get; set; }

        [AllowedValues(DayOfWeek.Saturday, DayOfWeek.Sunday)]
        public DayOfWeek FreeDays { get; set; }

        [DeniedValues("", "a", "b")]
        public string Other { get; set; } = "";

        [DeniedValues(0, 1, 2)]
        public byte Number { get; set; }

        [DeniedValues(DayOfWeek.Monday)]
        public DayOfWeek WorkDays { get; set; }

        [DeniedValues((string?)null)]
        public string? Something { get; set; }

        [Base64String, MaxLength(8)]
        public string Data { get; set; } = "";

        [EmailAddress]
        public string Mail { get; set; } = "";

        [Url]
        public string Address { get; set; } = "";

        [Url]
        public Uri? Link { get; set; }

        [Phone]
        public string Phone { get; set; } = "";

        [FileExtensions(Extensions = "png, .jpg"), RegularExpression(@"\w{1,3}\.[a-z]{3}")]
        public string Picture { get; set; } = "";

        [EnumDataType(typeof(DayOfWeek))]
        public string Day { get; set; } = "";

        [Required]
        public string Name { get; set; } = "";

        [Required]
        public DayOfWeek? SomeDay { get; set; }

        [Required]
        public int? SomeNumber { get; set; }

        [Required]
        public List<bool>? SomeList { get; set; }

        [Required(AllowEmptyStrings = true)]
        public string? Blank { get; set; }
    }
}
