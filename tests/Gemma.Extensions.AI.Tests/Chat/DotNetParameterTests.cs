using System.Text.Json;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Whatever a model would rather say, .NET can bind the arguments with which it calls a .NET method.</summary>
public sealed class DotNetParameterTests
{
    private const int Seeds = 60;

    public static TheoryData<string, Delegate> Methods => new()
    {
        { "integers", (sbyte a, byte b, short c, ushort d, int e, uint f, long g, ulong h) => a + b + c + d + e + f + g + (long)(h & 1) },
        { "fractions", (decimal a, double b, Half c, float d) => $"{a} {b} {c} {d}" },
        { "nullable", (int? a, byte? b, TimeOnly? c, bool? d, Colour? e) => $"{a} {b} {c} {d} {e}" },
        { "times", (DateTime a, DateTimeOffset b, DateOnly c, TimeOnly d, TimeSpan e) => $"{a:o} {b:o} {c} {d} {e}" },
        { "texts", (char a, Guid b, Version c, byte[] d) => $"{a} {b} {c} {d.Length}" },
        { "enumerations", (Colour a, Access b, Colour[] c) => $"{a} {b} {c.Length}" },
        { "nested", (Order order) => order.ToString() },
        { "collections", (int[] a, List<short> b, Dictionary<string, byte> c, HashSet<TimeOnly> d) => a.Length + b.Count + c.Count + d.Count },
        { "defaults", (int a = 3, TimeOnly b = default, Colour c = Colour.Green, string? d = null) => $"{a} {b} {c} {d}" },
    };

    [Theory]
    [MemberData(nameof(Methods))]
    public async Task Arguments_can_always_be_bound(string name, Delegate method)
    {
        GemmaTokenizer tokenizer = TinyModel.Model.Tokenizer;
        AIFunction function = AIFunctionFactory.Create(method, "f", "Does " + name);
        ChatOptions options = new() { Tools = [function], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false };
        int bound = 0;
        for (int seed = 0; seed < Seeds; seed++)
        {
            (string text, bool ended) = ToolCallPropertyTests.Generate(tokenizer, options, new Random(seed));
            if (!ended)
            {
                continue;
            }

            List<AIContent> contents = [];
            new ToolCallParser().Append(text, contents);
            FunctionCallContent call = Assert.IsType<FunctionCallContent>(Assert.Single(contents));
            Exception? failure = await Record.ExceptionAsync(async () => await function.InvokeAsync(new AIFunctionArguments(call.Arguments)));
            Assert.True(failure is null, $"{name}, seed {seed}: {failure?.Message} {JsonSerializer.Serialize(call.Arguments)}");
            bound++;
        }

        Assert.True(bound > Seeds / 3, $"only {bound} of {Seeds} calls came to an end");
    }

    [Fact]
    public void What_the_schema_says_itself_stays()
    {
        AIFunction function = AIFunctionFactory.Create((([System.ComponentModel.DataAnnotations.Range(1, 9)] int a, string b, Node c) => a), "f");
        JsonElement schema = DotNetParameters.SchemaOf(function).GetProperty("properties");
        Assert.Equal((1, 9), (schema.GetProperty("a").GetProperty("minimum").GetInt32(), schema.GetProperty("a").GetProperty("maximum").GetInt32()));
        Assert.Equal(function.JsonSchema.GetProperty("properties").GetProperty("b").GetRawText(), schema.GetProperty("b").GetRawText());
        Assert.Equal(-32768, schema.GetProperty("c").GetProperty("properties").GetProperty("value").GetProperty("minimum").GetInt32());
        AIFunctionDeclaration declared = function.AsDeclarationOnly();
        Assert.Equal(declared.JsonSchema.GetRawText(), DotNetParameters.SchemaOf(declared).GetRawText());
    }

    internal enum Colour
    {
        Red,
        Green,
    }

    [Flags]
    internal enum Access
    {
        None = 0,
        Read = 1,
        Write = 2,
    }

    internal sealed record Node(short Value, List<Node>? Children);

    internal sealed record Order(int Count, Line? First, List<Line> More, TimeOnly At);

    internal sealed record Line(byte Code, decimal? Price);
}
