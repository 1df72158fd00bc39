using System.IO.Pipelines;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using ModelContextProtocol.Client;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Tests.Text;

public sealed class ToolResultTextTests
{
    private static readonly byte[] s_three = [1, 2, 3];

    public static TheoryData<string, object?> Results => new()
    {
        { "null", null },
        { "\"plain\"", "plain" },
        { "\"plain\"", new TextContent("plain") },
        { "{\"a\":1}", new { a = 1 } },
        { "\"a\\nb\"", new AIContent[] { new TextContent("a"), new TextContent("b") } },
        { "\"Screenshot taken\\n[image/png, 3 bytes: not shown]\"", new List<AIContent> { new TextContent("Screenshot taken"), new DataContent(s_three, "image/png") } },
        { "\"[audio/wav, 3 bytes: not shown]\"", new DataContent(s_three, "audio/wav") },
        { "\"[https://example.com/v.mp4, video/mp4: not shown]\"", new UriContent("https://example.com/v.mp4", "video/mp4") },
        { "\"[file-7: not shown]\"", new HostedFileContent("file-7") },
        { "{\"a\":[1,2]}", new DataContent("{\"a\": [1, 2]}"u8.ToArray(), "application/json; charset=utf-8") },
        { "\"{\\\"a\\\": \"", new DataContent("{\"a\": "u8.ToArray(), "application/json") },
        { "\"x\\n{\\\"a\\\":1}\"", new AIContent[] { new TextContent("x"), new DataContent("{\"a\":1}"u8.ToArray(), "application/ld+json") } },
        { "\"<a/>\"", new DataContent("<a/>"u8.ToArray(), "application/atom+xml") },
        { "\"<svg/>\"", new DataContent("<svg/>"u8.ToArray(), "image/svg+xml") },
        { "\"too slow\"", new ErrorContent("too slow") },
        { "\"done\"", new AIContent[] { new TextReasoningContent("hm"), new TextContent("done"), new UsageContent(new UsageDetails()) } },
        { "\"[Unheard: not shown]\"", new Unheard() },
        { "\"in\\n[image/png, 3 bytes: not shown]\"", new ChatMessage(ChatRole.Assistant, [new TextContent("in"), new DataContent(s_three, "image/png")]) },
        { "\"in\"", new ChatResponse(new ChatMessage(ChatRole.Assistant, "in")) },
        { "\"r\\n[image/png, 3 bytes: not shown]\"", new McpServerToolResultContent("1") { Outputs = [new TextContent("r"), new DataContent(s_three, "image/png")] } },
    };

    [Theory]
    [MemberData(nameof(Results), DisableDiscoveryEnumeration = true)]
    public void TextReachesTheModelAndTheRestIsNamed(string expected, object? result)
    {
        Assert.Equal(expected, Render(result));
        if (result is IEnumerable<AIContent> or (AIContent and not Unheard))
        {
            Assert.Equal(expected, Render(Restored(result))); // as a session gives it back that was stored
        }
    }

    [Theory]
    [InlineData("""{"content":[{"type":"text","text":"a"}]}""", "\"a\"")]
    [InlineData("""{"content":[{"type":"text","text":"a"}],"resultType":"complete","_meta":{"k":"v"}}""", "\"a\"")]
    [InlineData("""{"content":[],"resultType":"complete"}""", "\"\"")]
    [InlineData("""{"content":[],"structuredContent":{"a":1},"isError":false}""", "{\"a\":1}")]
    [InlineData("""{"content":[{"type":"text","text":"{ \"a\": 1 }"}],"structuredContent":{"a":1}}""", "{\"a\":1}")]
    [InlineData("""{"content":[{"type":"text","text":"One a."}],"structuredContent":{"a":1}}""", "{\"content\":\"One a.\",\"structuredContent\":{\"a\":1}}")]
    [InlineData("""{"content":[{"type":"text","text":"gone"}],"isError":true,"_meta":{}}""", "{\"error\":\"gone\"}")]
    [InlineData("""{"content":[{"type":"image","data":"AQID","mimeType":"image/png"}]}""", "\"[image/png, 3 bytes: not shown]\"")]
    [InlineData("""{"content":[{"type":"audio","data":"###","mimeType":"audio/wav"}]}""", "\"[audio/wav: not shown]\"")]
    [InlineData("""{"content":[{"type":"resource_link","uri":"reports://q3","name":"q3","mimeType":"application/pdf","_meta":{"k":1}}]}""", "\"[q3, reports://q3, application/pdf: not shown]\"")]
    [InlineData("""{"content":[{"type":"resource","resource":{"uri":"file:///a","text":"A"}}]}""", "\"A\"")]
    [InlineData("""{"content":[{"type":"resource","resource":{"uri":"file:///a","mimeType":"application/problem+json","blob":"e30="}}]}""", "\"{}\"")]
    [InlineData("""{"content":[{"type":"resource","resource":{"uri":"file:///a","mimeType":"application/zip","blob":"AQID"}}]}""", "\"[file:///a, application/zip, 3 bytes: not shown]\"")]
    [InlineData("""{"content":[{"type":"hologram"}]}""", "\"[hologram: not shown]\"")]
    [InlineData("""{"content":[{"type":"text"}]}""", "\"[text: not shown]\"")]
    // Data of tools that only looks like it:
    [InlineData("""{"content":[]}""", """{"content":[]}""")]
    [InlineData("""{"content":"a","_meta":1}""", """{"content":"a","_meta":1}""")]
    [InlineData("""{"content":[{"type":"text","text":"a"}],"author":"b"}""", """{"content":[{"type":"text","text":"a"}],"author":"b"}""")]
    [InlineData("""{"content":[1]}""", """{"content":[1]}""")]
    [InlineData("""[{"$type":"Cat","name":"Tom"}]""", """[{"$type":"Cat","name":"Tom"}]""")]
    [InlineData("""{"$type":"data","uri":5}""", """{"$type":"data","uri":5}""")]
    [InlineData("""{"$type":"data","uri":"nonsense"}""", """{"$type":"data","uri":"nonsense"}""")]
    public void OfResultsOfMcpTheContentReachesTheModel(string result, string expected)
    {
        Assert.Equal(expected, Render(JsonElement.Parse(result)));
        Assert.Equal(expected, Render(JsonDocument.Parse(result)));
    }

    [Fact]
    public async Task AServerOfMcpIsUnderstood()
    {
        Pipe up = new(), down = new();
        ServiceCollection services = new();
        services.AddMcpServer().WithStreamServerTransport(up.Reader.AsStream(), down.Writer.AsStream()).WithTools<Tools>();
        await using ServiceProvider provider = services.BuildServiceProvider();
        using CancellationTokenSource stop = new();
        Task running = provider.GetRequiredService<McpServer>().RunAsync(stop.Token);
        Dictionary<string, string> seen = [];
        await using (McpClient client = await McpClient.CreateAsync(new StreamClientTransport(up.Writer.AsStream(), down.Reader.AsStream())))
        {
            foreach (McpClientTool tool in await client.ListToolsAsync())
            {
                seen[tool.Name] = Render(await tool.InvokeAsync());
            }
        }

        await stop.CancelAsync();
        await running.ContinueWith(static _ => { }, TaskScheduler.Default);
        Assert.Equal("\"Screenshot taken\\n[image/png, 3 bytes: not shown]\"", seen["image"]);
        Assert.Equal("\"Found report:\\n[q3, reports://q3, application/pdf: not shown]\"", seen["link"]);
        Assert.Equal("\"File:\\n# Hello\"", seen["resource"]);
        Assert.Equal("{\"a\":1}", seen["json"]);
        Assert.Equal("\"plain\"", seen["text"]);
        Assert.Equal("{\"a\":1}", seen["structured"]);
        Assert.Equal("{\"error\":\"no such file\"}", seen["error"]);
        Assert.Equal("{\"content\":\"t\\n[image/png, 3 bytes: not shown]\",\"structuredContent\":{\"a\":1}}", seen["mixed"]);
        Assert.Equal(8, seen.Count);
    }

    [Fact]
    public void WhatStrangersSendNeverThrows()
    {
        Random random = new(5);
        string[] parts = ["{", "}", "[", "]", "\"content\"", "\"type\"", "\"text\"", ":", ",", "\"resource\"", "\"blob\"", "\"A=\"", "1", "null", "\"$type\"", "\"data\"", "\"uri\"", "\"data:,x\"", "\"\\ud800\"", "\"mimeType\"", "\"text/plain\""];
        string[] seeds =
        [
            """{"content":[{"type":"resource","resource":{"uri":"u","mimeType":"text/plain","blob":"AQID"}}],"_meta":{}}""",
            """[{"$type":"data","uri":"data:text/plain;base64,AQID"},{"$type":"text","text":"a"}]""",
        ];
        int valid = 0;
        for (int i = 0; i < 4000; i++)
        {
            string seed = seeds[i % 2];
            int at = random.Next(seed.Length), length = random.Next(Math.Min(12, seed.Length - at));
            string damaged = string.Concat(seed.AsSpan(0, at), parts[random.Next(parts.Length)], seed.AsSpan(at + length));
            JsonElement element;
            try
            {
                element = JsonElement.Parse(damaged);
            }
            catch (JsonException)
            {
                continue;
            }

            valid++;
            JsonElement.Parse(Render(element));
        }

        Assert.True(valid > 100, $"only {valid} were JSON");
    }

    private static string Render(object? result)
    {
        StringBuilder text = new();
        ToolResultText.Append(text, result);
        JsonElement.Parse(text.ToString());
        return text.ToString();
    }

    private static object? Restored(object result)
    {
        string stored = JsonSerializer.Serialize<AIContent>(new FunctionResultContent("1", result), AIJsonUtilities.DefaultOptions);
        return ((FunctionResultContent)JsonSerializer.Deserialize<AIContent>(stored, AIJsonUtilities.DefaultOptions)!).Result;
    }

    private sealed class Unheard : AIContent;

    [McpServerToolType]
    private sealed class Tools
    {
        [McpServerTool(Name = "image")]
        public static IEnumerable<ContentBlock> Image() => [new TextContentBlock { Text = "Screenshot taken" }, ImageContentBlock.FromBytes(s_three, "image/png")];

        [McpServerTool(Name = "link")]
        public static IEnumerable<ContentBlock> Link() => [new TextContentBlock { Text = "Found report:" }, new ResourceLinkBlock { Uri = "reports://q3", Name = "q3", MimeType = "application/pdf" }];

        [McpServerTool(Name = "resource")]
        public static IEnumerable<ContentBlock> Resource() => [new TextContentBlock { Text = "File:" }, new EmbeddedResourceBlock { Resource = new TextResourceContents { Uri = "file:///a.md", MimeType = "text/markdown", Text = "# Hello" } }];

        [McpServerTool(Name = "json")]
        public static IEnumerable<ContentBlock> Json() => [new EmbeddedResourceBlock { Resource = BlobResourceContents.FromBytes("{\"a\": 1}"u8.ToArray(), "file:///a.json", "application/json") }];

        [McpServerTool(Name = "text")]
        public static string Text() => "plain";

        [McpServerTool(Name = "structured", UseStructuredContent = true)]
        public static Dictionary<string, int> Structured() => new() { ["a"] = 1 };

        [McpServerTool(Name = "error")]
        public static CallToolResult Error() => new() { IsError = true, Content = [new TextContentBlock { Text = "no such file" }] };

        [McpServerTool(Name = "mixed")]
        public static CallToolResult Mixed() => new()
        {
            Meta = new() { ["k"] = "secret" },
            StructuredContent = JsonSerializer.SerializeToElement(new { a = 1 }),
            Content = [new TextContentBlock { Text = "t" }, ImageContentBlock.FromBytes(s_three, "image/png")],
        };
    }
}
