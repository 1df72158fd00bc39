using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Benchmarks.Types;
using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.SemanticKernel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Whatever a model would rather say, .NET can read what it says for a .NET type.</summary>
public sealed class DotNetParameterTests
{
    private const int Draws = 6;

    /// <summary>Types that System.Text.Json does not read, or of which nobody knows what it reads.</summary>
    private static readonly string[] s_refused =
    [
        "ConcurrentBag<DateOnly>", "BigInteger", "(int, string)", "Complex", "struct with a converter", "record with a converter", "interface", "Type", "nint", "FrozenSet<int>",
        "ReadOnlyCollection<int>", "ReadOnlyDictionary<string, int>", "IPAddress", "Dictionary<object, int>", "Dictionary<Uri, int>", "Dictionary<byte[], int>", "int[,]", "ArraySegment<int>", "CultureInfo",
    ];

    /// <summary>Types whose schema alone says what is read.</summary>
    private static readonly string[] s_clear =
    [
        "sbyte", "byte", "int", "uint", "UInt128", "Half", "float", "decimal", "char", "byte[]", "TimeOnly", "TimeOnly?", "TimeSpan", "TimeSpan?", "Version", "Guid", "DateTime", "DateTimeOffset", "DateOnly",
        "enumeration", "enumeration with member names", "IEnumerable<TimeOnly>", "Queue<TimeSpan>", "ImmutableHashSet<Version>", "record with TimeOnly", "record with TimeSpan", "recursive list",
        "class with ranges of dates", "JsonElement", "JsonValue",
    ];

    private static GemmaTokenizer Tokenizer => TinyModel.Model.Tokenizer;

    [Fact]
    public Task ArgumentsOfFunctionsCanBeBound() => AllAsync(type => type.FunctionAsync(Tokenizer, Draws), s_refused);

    [Fact] // The culture of the kernel is what a kernel function's CultureInfo is, whatever the model says.
    public Task ArgumentsOfKernelFunctionsCanBeBound() => AllAsync(type => type.KernelFunctionAsync(Tokenizer, Draws), [.. s_refused.Except(["CultureInfo"])]);

    [Fact]
    public Task AnswersCanBeReadWhereTheirTypeIsKnown() => AllAsync(type => type.AnswerAsync(Tokenizer, Draws, typed: true), s_refused);

    [Fact]
    public async Task AnswersCanBeReadWhereTheirSchemaSaysEnough()
    {
        foreach (TypeCase type in DotNetTypeTable.All.Where(type => s_clear.Contains(type.Name)))
        {
            TypeResult result = await type.AnswerAsync(Tokenizer, 4 * Draws, typed: false);
            Assert.True(result.Failures is [] && result.Drawn > Draws, $"{type.Name}: {result.Refusal ?? result.Failures.FirstOrDefault() ?? $"only {result.Drawn} drawn"}");
        }
    }

    /// <summary>What the schema alone leaves open, another type reads whose schema is the same: no grammar can tell them apart.</summary>
    [Fact]
    public async Task WhatASchemaLeavesOpenAnotherTypeOfTheSameSchemaReads()
    {
        foreach (TypeCase type in DotNetTypeTable.All.Where(type => !s_refused.Contains(type.Name)))
        {
            string? twins = type.LooseParts();
            Assert.True(twins?.Contains("none", StringComparison.Ordinal) == false, $"{type.Name}: {twins}");
            TypeResult result = await type.AnswerAsync(Tokenizer, 2, typed: false);
            Assert.True(result.Failures is [] || twins!.Length > 0, $"{type.Name}: {result.Failures.FirstOrDefault()}");
        }
    }

    private static async Task AllAsync(Func<TypeCase, Task<TypeResult>> draw, string[] refused)
    {
        Assert.Distinct(DotNetTypeTable.All.Select(static type => type.Name));
        Assert.True(DotNetTypeTable.All.Count > 120 + refused.Length);
        foreach (TypeCase type in DotNetTypeTable.All)
        {
            TypeResult result = await draw(type);
            Assert.True(result.Failures is [], $"{type.Name}: {result.Failures.FirstOrDefault()}");
            Assert.True((result.Refusal is not null) == refused.Contains(type.Name), $"{type.Name} was {(result.Refusal is null ? "not refused" : "refused: " + result.Refusal)}");
            Assert.True(result.Refusal is not null || result.Drawn >= Draws / 3, $"{type.Name}: only {result.Drawn} of {2 * Draws} came to their end");
        }
    }

    [Fact]
    public void WhatTheSchemaSaysItselfStays()
    {
        AIFunction function = AIFunctionFactory.Create((([Range(1, 9)] int a, string b, Node c) => a), "f");
        JsonElement schema = DotNetParameters.SchemaOf(function).GetProperty("properties");
        Assert.Equal((1, 9), (schema.GetProperty("a").GetProperty("minimum").GetInt32(), schema.GetProperty("a").GetProperty("maximum").GetInt32()));
        Assert.Equal(function.JsonSchema.GetProperty("properties").GetProperty("b").GetRawText(), schema.GetProperty("b").GetRawText());
        Assert.Equal(-32768, schema.GetProperty("c").GetProperty("properties").GetProperty("value").GetProperty("minimum").GetInt32());
        AIFunctionDeclaration declared = function.AsDeclarationOnly();
        Assert.Equal(declared.JsonSchema.GetRawText(), DotNetParameters.SchemaOf(declared).GetRawText());
    }

    [Fact]
    public void OfTwoBoundsTheTighterOneCounts()
    {
        JsonElement schema = DotNetParameters.SchemaOf(AIFunctionFactory.Create((Annotated x) => 1, "f")).GetProperty("properties").GetProperty("x").GetProperty("properties");
        Assert.Equal(("0", "255"), (schema.GetProperty("a").GetProperty("minimum").ToString(), schema.GetProperty("a").GetProperty("maximum").ToString()));
        Assert.Equal(("0", "79228162514264337593543950335"), (schema.GetProperty("b").GetProperty("minimum").ToString(), schema.GetProperty("b").GetProperty("maximum").ToString()));
        Assert.Equal(("1", "9"), (schema.GetProperty("l").GetProperty("exclusiveMinimum").ToString(), schema.GetProperty("l").GetProperty("exclusiveMaximum").ToString()));
        Assert.Equal((1, 3), (schema.GetProperty("k").GetProperty("minProperties").GetInt32(), schema.GetProperty("k").GetProperty("maxProperties").GetInt32()));
    }

    /// <summary>What was narrowed is kept by the type; another schema for it is another one.</summary>
    [Fact]
    public void ATypeIsNarrowedOnceForEachSchema()
    {
        System.Text.Json.Serialization.Metadata.JsonTypeInfo type = AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(Node));
        JsonElement schema = AIJsonUtilities.CreateJsonSchema(typeof(Node)), own = JsonElement.Parse("""{"type":"object","properties":{"value":{"type":"integer","minimum":5}}}""");
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal("-32768", Minimum(DotNetParameters.AnswerOf(schema, null, type, lenient: false)));
            Assert.Equal("5", Minimum(DotNetParameters.AnswerOf(own, null, type, lenient: false)));
        }

        static string Minimum(JsonElement schema) => schema.GetProperty("properties").GetProperty("value").GetProperty("minimum").ToString();
    }

    /// <summary>Lengths of arrays of bytes count bytes, not characters of base64; what is read has them.</summary>
    [Theory]
    [InlineData(0, 4, "", "AA==", "AAA=", "AAAA", "AAAAAA==")]
    [InlineData(2, 3, "AAA=", "AAAA")]
    [InlineData(3, 3, "AAAA")]
    [InlineData(5, 5, "AAAAAAA=")]
    public void LengthsOfBytesCountBytes(int min, int max, params string[] expected)
    {
        System.Text.Json.Nodes.JsonObject schema = new() { ["type"] = "string", ["minLength"] = min, ["maxLength"] = max };
        Assert.True(DotNetScalars.TryNarrow(schema, typeof(byte[])));
        Regex pattern = new(schema["pattern"]!.ToString(), RegexOptions.ECMAScript);
        string[] all = ["", "AA==", "AAA=", "AAAA", "AAAAAA==", "AAAAAAA=", "AAAAAAAA", "AAAAAAAAAA==", "A", "AA", "AB==", "AAB="];
        Assert.Equal(expected, all.Where(text => pattern.IsMatch(text)));
        Assert.All(expected, text => Assert.InRange(Convert.FromBase64String(text).Length, min, max));
    }

    [Fact]
    public void AddressesAreThoseThatUriReads()
    {
        System.Text.Json.Nodes.JsonObject schema = new() { ["type"] = "string" };
        Assert.True(DotNetScalars.TryNarrow(schema, typeof(Uri)));
        Regex pattern = new(schema["pattern"]!.ToString(), RegexOptions.ECMAScript);
        string[] rests = ["", "/", "a", "/a", "//", "///a", "//a", "//a/", "//a.b:80/c?d#e", "//a:99999/", "//a..b/", "//%41/", "//u@/", "//!$/", "//[::1]/", "//-a/", "?q", "#f", "/?", "//a?x", "//a:/"];
        string[] all = [.. from scheme in (string[])["http", "https", "ftp", "file", "mailto", "urn", "ws", "net.tcp", "news", "ldap", "x", "abc", new string('s', 2_000)] from rest in rests select $"{scheme}:{rest}"];
        string[] allowed = [.. all.Where(text => pattern.IsMatch(text))];
        Assert.True(allowed.Length > 70 && allowed.Contains("https://a.b:80/c?d#e") && allowed.Contains("mailto:a") && allowed.Contains("file:///a"), string.Join(' ', allowed));
        Assert.All(allowed, text => Assert.True(Uri.TryCreate(text, UriKind.RelativeOrAbsolute, out _), text));
    }

    [Theory]
    [InlineData("0", "9")]
    [InlineData("0", "10")]
    [InlineData("-128", "127")]
    [InlineData("-1", "1")]
    [InlineData("-100", "999")]
    [InlineData("0", "1000")]
    public void RangesOfNumbersAsTextAreExact(string min, string max)
    {
        Regex pattern = new("^" + DecimalRanges.Between(min, max) + "$");
        for (int i = -1_500; i <= 1_500; i++)
        {
            string text = i.ToString(CultureInfo.InvariantCulture);
            Assert.True(pattern.IsMatch(text) == (i >= int.Parse(min, CultureInfo.InvariantCulture) && i <= int.Parse(max, CultureInfo.InvariantCulture)), text);
        }

        Assert.DoesNotMatch(pattern, "-0");
        Assert.DoesNotMatch(pattern, "01");
    }

    /// <summary>Semantic Kernel makes a parameter's schema as if it stood alone: its references mean the parameter, not the arguments.</summary>
    [Fact]
    public void ReferencesOfKernelFunctionsMeanTheirParameter()
    {
        KernelFunction one = KernelFunctionFactory.CreateFromMethod((Node node, int other) => other, "f"), list = KernelFunctionFactory.CreateFromMethod((List<Node> nodes) => 1, "f");
        Assert.Contains("\"$ref\":\"#/properties/node\"", DotNetParameters.SchemaOf(one).GetRawText(), StringComparison.Ordinal);
        Assert.Contains("\"$ref\":\"#/properties/nodes/items\"", DotNetParameters.SchemaOf(list).GetRawText(), StringComparison.Ordinal);
        AIFunction known = AIFunctionFactory.Create((Node node, int other) => other, "f");
        Assert.Contains("\"$ref\":\"#/properties/node\"", DotNetParameters.SchemaOf(known).GetRawText(), StringComparison.Ordinal);
        Assert.DoesNotContain("#/properties/node/properties/node", DotNetParameters.SchemaOf(known).GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public void TypesThatCannotBeReadAreRefusedByPlaceAndReason()
    {
        AIFunction function = AIFunctionFactory.Create((Holder holder) => 1, "keep");
        ChatOptions options = new() { Tools = [function] };
        NotSupportedException e = Assert.Throws<NotSupportedException>(() => Constraints.Create(Tokenizer, options, [Tokenizer.EndOfTurnId]));
        Assert.Contains("'keep'", e.Message, StringComparison.Ordinal);
        Assert.Contains("'/properties/holder/properties/inner/items' is a IComparable", e.Message, StringComparison.Ordinal);
        Assert.NotNull(Constraints.Create(Tokenizer, options, [Tokenizer.EndOfTurnId], schemaOptions: new JsonSchemaOptions { Lenient = true }));
    }

    internal sealed record Node(short Value, List<Node>? Children);

    internal sealed record Holder(List<IComparable> Inner);
}
