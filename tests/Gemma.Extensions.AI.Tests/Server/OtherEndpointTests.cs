using System.Buffers.Binary;
using System.Net;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Text;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The endpoints beside chat and responses.</summary>
public class OtherEndpointTests
{
    [Fact]
    public async Task EmbeddingsComeAsNumbersAndAsBase64()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (_, JsonElement numbers) = await server.AskAsync("v1/embeddings", """{"model":"x","input":["A cat","A dog"]}""");
        (_, JsonElement base64) = await server.AskAsync("v1/embeddings", """{"model":"x","input":["A cat","A dog"],"encoding_format":"base64"}""");
        GeneratedEmbeddings<Embedding<float>> same = await server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!.AsIEmbeddingGenerator().GenerateAsync(["A cat", "A dog"]);
        for (int i = 0; i < 2; i++)
        {
            JsonElement item = numbers.GetProperty("data")[i];
            Assert.Equal((i, "embedding"), (item.GetProperty("index").GetInt32(), item.GetProperty("object").GetString()));
            Assert.Equal(same[i].Vector.ToArray(), item.GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle()));
            byte[] bytes = Convert.FromBase64String(base64.GetProperty("data")[i].GetProperty("embedding").GetString()!);
            Assert.Equal(same[i].Vector.ToArray(), bytes.Chunk(4).Select(chunk => BinaryPrimitives.ReadSingleLittleEndian(chunk)));
        }

        Assert.Equal(same.Usage!.InputTokenCount, numbers.GetProperty("usage").GetProperty("total_tokens").GetInt64());
        (_, JsonElement tokens) = await server.AskAsync("v1/tokenize", """{"content":"A cat"}""");
        (_, JsonElement ofTokens) = await server.AskAsync("v1/embeddings", $$"""{"input":{{tokens.GetProperty("tokens").GetRawText()}}}""");
        Assert.Equal(numbers.GetProperty("data")[0].GetProperty("embedding").GetRawText(), ofTokens.GetProperty("data")[0].GetProperty("embedding").GetRawText());
        (_, JsonElement ofLists) = await server.AskAsync("v1/embeddings", $$"""{"input":[{{tokens.GetProperty("tokens").GetRawText()}},[5]]}""");
        Assert.Equal(2, ofLists.GetProperty("data").GetArrayLength());
    }

    [Theory]
    [InlineData("""{}""")]
    [InlineData("""{"input":[]}""")]
    [InlineData("""{"input":""}""")]
    [InlineData("""{"input":["a",""]}""")]
    [InlineData("""{"input":["a",1]}""")]
    [InlineData("""{"input":[1.5]}""")]
    [InlineData("""{"input":[-1]}""")]
    [InlineData("""{"input":[99999999]}""")]
    [InlineData("""{"input":[[]]}""")]
    [InlineData("""{"input":{"a":1}}""")]
    [InlineData("""{"input":"a","encoding_format":"int8"}""")]
    [InlineData("""{"input":"a","dimensions":0}""")]
    [InlineData("""{"input":"a","dimensions":1000000}""")]
    [InlineData("""{"input":"a","input_type":"poem"}""")]
    public async Task WhatCannotBeEmbeddedIsRefused(string body)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, _) = await server.AskAsync("v1/embeddings", body);
        Assert.Equal(400, status);
    }

    [Fact]
    public async Task ACompletionGoesOnFromTextsAndTokensAsTheyStand()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        GemmaModel model = server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;
        ChatResponse same = await model.CompleteAsync("The weather in", new ChatOptions { Temperature = 0, MaxOutputTokens = 8 });
        (int status, JsonElement body) = await server.AskAsync("v1/completions", """{"model":"x","prompt":"The weather in","temperature":0,"max_tokens":8}""");
        Assert.Equal((200, "text_completion"), (status, body.GetProperty("object").GetString()));
        Assert.Equal(same.Text, body.GetProperty("choices")[0].GetProperty("text").GetString());
        Assert.Equal(same.Usage!.InputTokenCount, body.GetProperty("usage").GetProperty("prompt_tokens").GetInt64());

        (_, JsonElement tokens) = await server.AskAsync("v1/tokenize", """{"prompt":"The weather in"}"""); // with bos
        (_, JsonElement ofTokens) = await server.AskAsync("v1/completions", $$"""{"prompt":{{tokens.GetProperty("tokens").GetRawText()}},"temperature":0,"max_tokens":8}""");
        Assert.Equal(same.Text, ofTokens.GetProperty("choices")[0].GetProperty("text").GetString());

        (_, JsonElement many) = await server.AskAsync("v1/completions", """{"prompt":["The weather in","My name is"],"n":2,"temperature":0,"max_tokens":8,"echo":true}""");
        string[] texts = [.. many.GetProperty("choices").EnumerateArray().Select(choice => choice.GetProperty("text").GetString()!)];
        Assert.Equal(4, texts.Length);
        Assert.Equal("The weather in" + same.Text, texts[0]);
        Assert.Equal(texts[0], texts[1]);
        Assert.StartsWith("My name is", texts[2], StringComparison.Ordinal);
        Assert.True(many.GetProperty("usage").GetProperty("prompt_tokens").GetInt64() > same.Usage.InputTokenCount);

        string[] streamed = ["", ""];
        List<System.Net.ServerSentEvents.SseItem<string>> events = await server.StreamAsync(
            "v1/completions", """{"prompt":["The weather in","My name is"],"temperature":0,"max_tokens":8,"echo":true,"stream":true,"stream_options":{"include_usage":true},"user":"a"}""");
        foreach (JsonElement choice in events.SkipLast(1).SelectMany(item => JsonElement.Parse(item.Data).GetProperty("choices").EnumerateArray()))
        {
            streamed[choice.GetProperty("index").GetInt32()] += choice.GetProperty("text").GetString();
        }

        Assert.Equal([texts[0], texts[2]], streamed);
        Assert.Equal(0, JsonElement.Parse(events[^2].Data).GetProperty("choices").GetArrayLength());
    }

    [Fact]
    public async Task LogProbabilitiesOfACompletionStandSideBySide()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (_, JsonElement body) = await server.AskAsync("v1/completions", """{"prompt":"The weather in","temperature":0,"max_tokens":6,"logprobs":2}""");
        JsonElement choice = body.GetProperty("choices")[0];
        JsonElement found = choice.GetProperty("logprobs");
        string[] tokens = [.. found.GetProperty("tokens").EnumerateArray().Select(token => token.GetString()!)];
        Assert.Equal(choice.GetProperty("text").GetString(), string.Concat(tokens));
        Assert.All(found.GetProperty("token_logprobs").EnumerateArray(), value => Assert.InRange(value.GetDouble(), -100, 0));
        int offset = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            Assert.Equal(offset, found.GetProperty("text_offset")[i].GetInt32());
            Assert.Equal(found.GetProperty("token_logprobs")[i].GetDouble(), found.GetProperty("top_logprobs")[i].GetProperty(tokens[i]).GetDouble()); // greedy: the drawn one is the likeliest
            offset += tokens[i].Length;
        }
    }

    [Theory]
    [InlineData("""{"prompt":"a","suffix":"b"}""", "suffix")]
    [InlineData("""{"prompt":"a","echo":true,"logprobs":1}""", "echo")]
    [InlineData("""{"prompt":"a","best_of":3}""", "best_of")]
    [InlineData("""{"prompt":"a","logprobs":21}""", "logprobs")]
    [InlineData("""{"prompt":""}""", "prompt")]
    [InlineData("""{}""", "prompt")]
    public async Task WhatACompletionCannotDoIsSaid(string body, string parameter)
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        (int status, JsonElement answer) = await server.AskAsync("v1/completions", body);
        Assert.Equal((400, parameter), (status, answer.GetProperty("error").GetProperty("param").GetString()));
    }

    /// <summary>What is refused for its members alone costs no load of a model.</summary>
    [Fact]
    public async Task ACompletionThatIsRefusedLoadsNoModel()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        Assert.Equal(400, (await server.AskAsync("v1/completions", """{"prompt":"a","suffix":"b"}""")).Status);
        Assert.Null(server.Services.GetRequiredService<ModelCatalog>().Models[0].Reference!.Loaded);
        Assert.Equal(400, (await server.AskAsync("v1/completions", """{"prompt":[99999999],"echo":true}""")).Status); // and this one asks the model
        Assert.NotNull(server.Services.GetRequiredService<ModelCatalog>().Models[0].Reference!.Loaded);
    }

    [Theory]
    [InlineData("v1/completions", """{"prompt":"a"}""")]
    [InlineData("v1/tokenize", """{"content":"a"}""")]
    [InlineData("v1/responses/input_tokens", """{"input":"a"}""")]
    public async Task WhatOnlyAGemmaModelCanDoIsRefusedForOthers(string path, string body)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (int status, JsonElement answer) = await server.AskAsync(path, body);
        Assert.Equal((400, "model"), (status, answer.GetProperty("error").GetProperty("param").GetString()));
    }

    [Fact]
    public async Task TokensAndTextsBecomeEachOther()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        GemmaTokenizer tokenizer = server.Services.GetRequiredService<IChatClient>().GetService<GemmaTokenizer>()!;
        const string Text = "Grüße, 世界! <start_of_turn>";
        (_, JsonElement letters) = await server.AskAsync("v1/tokenize", JsonSerializer.Serialize(new { content = Text, parse_special = false }));
        (_, JsonElement marked) = await server.AskAsync("v1/tokenize", JsonSerializer.Serialize(new { content = Text }));
        Assert.Equal(tokenizer.EncodeContent(Text), Ids(letters));
        Assert.Contains(tokenizer.StartOfTurnId, Ids(marked));
        Assert.DoesNotContain(tokenizer.StartOfTurnId, Ids(letters));
        (_, JsonElement text) = await server.AskAsync("v1/detokenize", $$"""{"tokens":{{letters.GetProperty("tokens").GetRawText()}}}""");
        Assert.Equal(Text, text.GetProperty("content").GetString());
        (_, JsonElement pieces) = await server.AskAsync("v1/tokenize", """{"content":"Hello","with_pieces":true}""");
        Assert.All(pieces.GetProperty("pieces").EnumerateArray(), piece => Assert.True(piece.GetProperty("id").GetInt32() >= 0));
        (int status, _) = await server.AskAsync("v1/detokenize", """{"tokens":[99999999]}""");
        Assert.Equal(400, status);
    }

    [Fact]
    public async Task APromptIsWhatTheModelReads()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync();
        const string Messages = """{"messages":[{"role":"user","content":"Hello! Who are you?"}],"temperature":0,"max_tokens":20}""";
        (_, JsonElement prompt) = await server.AskAsync("v1/apply-template", Messages);
        Assert.Equal("<bos><start_of_turn>user\nHello! Who are you?<end_of_turn>\n<start_of_turn>model\n", prompt.GetProperty("prompt").GetString());
        (_, JsonElement chat) = await server.AskAsync("v1/chat/completions", Messages);
        (_, JsonElement raw) = await server.AskAsync("v1/completions", JsonSerializer.Serialize(new { prompt = prompt.GetProperty("prompt").GetString(), temperature = 0, max_tokens = 20 }));
        Assert.Equal(chat.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString(), raw.GetProperty("choices")[0].GetProperty("text").GetString());
        (_, JsonElement tokens) = await server.AskAsync("v1/tokenize", Messages);
        (_, JsonElement count) = await server.AskAsync("v1/responses/input_tokens", """{"input":"Hello! Who are you?"}""");
        int expected = chat.GetProperty("usage").GetProperty("prompt_tokens").GetInt32();
        Assert.Equal((expected, expected), (tokens.GetProperty("count").GetInt32(), count.GetProperty("input_tokens").GetInt32()));
    }

    [Fact]
    public async Task DocumentsAreOrderedByTheirSimilarityToTheQuestion()
    {
        await using ModelServer server = await ModelServer.StartAsync(services => services.AddEmbeddingGenerator(new LetterEmbeddings()));
        (int status, JsonElement body) = await server.AskAsync(
            "v1/rerank", """{"model":"x","query":"aab","documents":["bbb",{"text":"aab"},"ccc"],"top_n":2,"return_documents":true}""");
        Assert.Equal(200, status);
        JsonElement[] results = [.. body.GetProperty("results").EnumerateArray()];
        Assert.Equal([1, 0], results.Select(result => result.GetProperty("index").GetInt32()));
        Assert.Equal(1, results[0].GetProperty("relevance_score").GetDouble(), 4);
        Assert.Equal(1 / Math.Sqrt(5), results[1].GetProperty("relevance_score").GetDouble(), 4);
        Assert.Equal("aab", results[0].GetProperty("document").GetProperty("text").GetString());
        foreach (string bad in (string[])["""{"documents":["a"]}""", """{"query":"a","documents":[]}""", """{"query":"a","documents":[5]}""", """{"query":"a"}""", """{"query":"a","documents":["a"],"top_n":0}"""])
        {
            (status, _) = await server.AskAsync("v1/rerank", bad);
            Assert.Equal(400, status);
        }
    }

    /// <summary>The judge of the Rag package, as the application registers it: the scores are its own.</summary>
    [Fact]
    public async Task DocumentsAreOrderedByTheJudgeOfTheApplication()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(services => services.AddGemmaReranker(
            provider => new Gemma.Extensions.AI.Rag.GemmaReranker(provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!).ScoreAsync));
        string[] documents = ["The pump is serviced in May.", "Bees like clover.", "The river is deep."];
        Gemma.Extensions.AI.Rag.GemmaReranker judge = new(server.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!);
        IReadOnlyList<double> expected = await judge.ScoreAsync("When is the pump serviced?", documents);
        (int status, JsonElement body) = await server.AskAsync("v1/rerank", JsonSerializer.Serialize(new { query = "When is the pump serviced?", documents }));
        Assert.True(status == 200, body.GetRawText());
        JsonElement[] results = [.. body.GetProperty("results").EnumerateArray()];
        Assert.Equal(expected.Index().OrderByDescending(score => score.Item).Select(score => score.Index), results.Select(result => result.GetProperty("index").GetInt32()));
        Assert.All(results, result => Assert.Equal(expected[result.GetProperty("index").GetInt32()], result.GetProperty("relevance_score").GetDouble(), 1e-3));
        Assert.False(body.TryGetProperty("usage", out _));
    }

    [Fact]
    public async Task TextsAreModeratedByTheGuardOfTheApplication()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(services => services.AddSingleton(
            provider => new ShieldGemma(provider.GetRequiredService<IChatClient>(), new ShieldGemmaOptions { Thresholds = { ["harassment"] = 1e-12 } })));
        (int status, JsonElement body) = await server.AskAsync("v1/moderations", """{"model":"omni-moderation-latest","input":["Hello",{"type":"text","text":"Go away"}]}""");
        Assert.True(status == 200, body.GetRawText());
        JsonElement[] results = [.. body.GetProperty("results").EnumerateArray()];
        Assert.Equal(2, results.Length);
        GuardVerdict verdict = await server.Services.GetRequiredService<ShieldGemma>().CheckPromptAsync("Go away");
        foreach (GuardScore score in verdict.Scores)
        {
            Assert.Equal(score.Probability, results[1].GetProperty("category_scores").GetProperty(score.Policy).GetDouble(), 1e-6);
            Assert.Equal(score.IsViolation, results[1].GetProperty("categories").GetProperty(score.Policy).GetBoolean());
        }

        Assert.True(results[0].GetProperty("flagged").GetBoolean());
        (status, body) = await server.AskAsync("v1/moderations", """{"input":"Hello"}""");
        Assert.Equal((200, 1), (status, body.GetProperty("results").GetArrayLength()));
        foreach (string bad in (string[])["""{}""", """{"input":[]}""", """{"input":5}""", """{"input":[{"type":"image_url","image_url":{"url":"x"}}]}"""])
        {
            (status, _) = await server.AskAsync("v1/moderations", bad);
            Assert.Equal(400, status);
        }
    }

    [Theory]
    [InlineData("POST", "v1/moderations", HttpStatusCode.NotFound)]
    [InlineData("GET", "v1/files", HttpStatusCode.NotFound)]
    [InlineData("GET", "v1/chat/completions", HttpStatusCode.MethodNotAllowed)]
    [InlineData("PUT", "v1/responses/resp_1", HttpStatusCode.MethodNotAllowed)]
    public async Task WhatIsNotThereIsSaidInJsonAndOnlyBelowThePrefix(string method, string path, HttpStatusCode expected)
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        using HttpResponseMessage response = await server.Http.SendAsync(new HttpRequestMessage(new HttpMethod(method), path));
        Assert.Equal(expected, response.StatusCode);
        Assert.Contains($"/{path}", JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
        Assert.Equal(expected == HttpStatusCode.MethodNotAllowed, response.Content.Headers.Allow.Count > 0);
        foreach (string outside in (string[])["models", "chat/completions", "v2/models"])
        {
            using HttpResponseMessage none = await server.Http.GetAsync(outside);
            Assert.Equal((HttpStatusCode.NotFound, 0), (none.StatusCode, none.Content.Headers.ContentLength ?? 0)); // the application's own
        }
    }

    [Fact]
    public async Task TheDocumentDescribesEveryRoute()
    {
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]));
        (_, JsonElement document) = await server.GetAsync("v1/openapi.json");
        Assert.StartsWith("3.1", document.GetProperty("openapi").GetString(), StringComparison.Ordinal);
        Assert.Equal("/v1", document.GetProperty("servers")[0].GetProperty("url").GetString());
        string[] described = [.. document.GetProperty("paths").EnumerateObject().SelectMany(path => path.Value.EnumerateObject().Select(method => $"{method.Name} {path.Name}")).Order()];
        string[] mapped = [.. server.Services.GetRequiredService<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Select(endpoint => (endpoint.Metadata.GetMetadata<HttpMethodMetadata>(), endpoint.RoutePattern.RawText![3..]))
            .Where(endpoint => endpoint.Item1 is not null && endpoint.Item2 != "/openapi.json")
            .Select(endpoint => $"{endpoint.Item1!.HttpMethods.Single().ToLowerInvariant()} {endpoint.Item2.Replace("**", "", StringComparison.Ordinal)}").Order()];
        Assert.Equal(mapped, described);
        int references = 0;
        foreach (string target in References(document))
        {
            references++;
            JsonElement at = document;
            foreach (string step in target[2..].Split('/').Select(step => Uri.UnescapeDataString(step).Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal)))
            {
                at = at.ValueKind == JsonValueKind.Array ? at[int.Parse(step, System.Globalization.CultureInfo.InvariantCulture)] : at.GetProperty(step); // throws where there is no such place
            }
        }

        Assert.True(references > 20);
        Assert.True(document.GetProperty("components").GetProperty("schemas").GetProperty("ChatCompletionRequest").GetProperty("properties").TryGetProperty("max_completion_tokens", out _));
    }

    private static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object => element.EnumerateObject().SelectMany(member => member is { Name: "$ref", Value.ValueKind: JsonValueKind.String } ? [member.Value.GetString()!] : References(member.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };

    private static IEnumerable<int> Ids(JsonElement list) => list.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32());

    /// <summary>Embeds a text as how often it has a, b and c.</summary>
    private sealed class LetterEmbeddings : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, Microsoft.Extensions.AI.EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(text => new Embedding<float>("abc".Select(letter => (float)text.Count(c => c == letter)).ToArray()))));

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
