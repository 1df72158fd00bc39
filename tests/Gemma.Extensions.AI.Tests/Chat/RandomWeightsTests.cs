using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Tests.Grammar;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>2,000 random schemas and 2,000 random tool sets on a model of random weights at temperature 2, through the client as it is used.</summary>
public sealed class RandomWeightsTests
{
    private const int Requests = 2_000;
    private const int AtOnce = 16;

    [Fact]
    public async Task RandomSchemasGiveOnlyValidAnswers()
    {
        using IChatClient client = TinyModel.Client();
        int seed = 0, answered = 0, complete = 0;
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(async _ =>
        {
            while (Volatile.Read(ref answered) < Requests)
            {
                int drawn = Interlocked.Increment(ref seed);
                JsonElement schema = JsonElement.Parse(new RandomSchema(new Random(drawn)).Next());
                ChatResponse response;
                try
                {
                    response = await client.GetResponseAsync("Hi", new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema), Temperature = 2, TopP = 1, TopK = 0, Seed = drawn, MaxOutputTokens = 48 });
                }
                catch (Exception e) when (e is NotSupportedException or ArgumentException)
                {
                    continue; // Refused up front.
                }

                Interlocked.Increment(ref answered);
                if (response.FinishReason == ChatFinishReason.Stop)
                {
                    Interlocked.Increment(ref complete);
                    using JsonDocument document = JsonDocument.Parse(response.Text, new JsonDocumentOptions { MaxDepth = 512, AllowDuplicateProperties = false });
                    Assert.True(SchemaOracle.IsValid(schema, document.RootElement), $"Seed {drawn}: {response.Text} under {schema}");
                }
            }
        }));
        TestContext.Current.TestOutputHelper?.WriteLine($"{answered} schemas, {seed - answered} refused, {complete} answers complete");
        Assert.True(answered >= Requests && complete > Requests / 2, $"{complete} of {answered} answers were complete.");
    }

    [Fact]
    public async Task RandomToolSetsGiveOnlyValidCalls()
    {
        using IChatClient client = TinyModel.Client();
        int seed = 0, calls = 0;
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(async _ =>
        {
            for (int drawn = Interlocked.Increment(ref seed); drawn <= Requests; drawn = Interlocked.Increment(ref seed))
            {
                Random random = new(drawn);
                AIFunctionDeclaration[] tools = [.. Enumerable.Range(0, random.Next(1, 4)).Select(i => Tool(random, i))];
                ChatOptions options = new()
                {
                    Tools = [.. tools],
                    ToolMode = random.Next(3) == 0 ? ChatToolMode.RequireSpecific(tools[0].Name) : ChatToolMode.RequireAny,
                    AllowMultipleToolCalls = random.Next(2) == 0,
                    Temperature = 2, TopP = 1, TopK = 0, Seed = drawn, MaxOutputTokens = 100,
                };
                ChatResponse response = await client.GetResponseAsync("Hi", options);
                FunctionCallContent[] found = [.. response.Messages.SelectMany(m => m.Contents).OfType<FunctionCallContent>()];
                Assert.Equal("", response.Text);
                Assert.True(found.Length > 0 || response.FinishReason == ChatFinishReason.Length, $"Seed {drawn} ended without a call.");
                Assert.True(found.Length <= 1 || options.AllowMultipleToolCalls is true);
                foreach (FunctionCallContent call in found)
                {
                    AIFunctionDeclaration tool = Assert.Single(tools, t => t.Name == call.Name);
                    Assert.True(options.ToolMode is not RequiredChatToolMode { RequiredFunctionName: { } name } || name == call.Name);
                    JsonElement arguments = JsonSerializer.SerializeToElement(call.Arguments);
                    Assert.True(SchemaOracle.IsValid(tool.JsonSchema, arguments), $"Seed {drawn}: {arguments} under {tool.JsonSchema}");
                    Interlocked.Increment(ref calls);
                }
            }
        }));
        TestContext.Current.TestOutputHelper?.WriteLine($"{Requests} tool sets, {calls} complete calls");
        Assert.True(calls > Requests / 2, $"Only {calls} calls were complete.");
    }

    private static AIFunctionDeclaration Tool(Random random, int index)
    {
        JsonObject properties = [];
        string[] types =
        [
            """{"type":"string","maxLength":3}""", """{"type":"integer","minimum":-9,"maximum":99}""", """{"type":"boolean"}""", """{"enum":["x",7,null,"\"ü"]}""",
            """{"type":"array","items":{"type":"boolean"},"maxItems":2}""", """{"type":"object","properties":{"x":{"const":1}},"required":["x"],"additionalProperties":false}""",
            """{"anyOf":[{"type":"null"},{"type":"string","pattern":"^[ab]{1,2}$"}]}""", """{"type":"number","multipleOf":0.5,"minimum":0,"maximum":9}""",
        ];
        for (int i = random.Next(3); i > 0; i--)
        {
            properties["p" + i] = JsonNode.Parse(types[random.Next(types.Length)]);
        }

        JsonObject schema = new() { ["type"] = "object", ["properties"] = properties, ["required"] = new JsonArray([.. properties.Select(p => (JsonNode)p.Key).Where(_ => random.Next(2) == 0)]) };
        return AIFunctionFactory.CreateDeclaration($"t{index}", "Does.", JsonSerializer.SerializeToElement(schema));
    }
}
