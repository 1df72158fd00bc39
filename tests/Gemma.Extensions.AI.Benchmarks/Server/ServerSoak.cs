using System.Diagnostics;
using System.Net;
using System.Net.ServerSentEvents;
using System.Numerics.Tensors;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Benchmarks.Engine;
using Gemma.Extensions.AI.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>What a soak of the server found.</summary>
/// <param name="Right">Answers that are, text and end, what the model says in process.</param>
/// <param name="Left">Connections that were closed while the answer came.</param>
/// <param name="Wrong">Answers that are another text, or have no end.</param>
/// <param name="Lost">Requests that got no answer, or an error.</param>
/// <param name="Leftovers">Requests and blocks that the engine still holds.</param>
/// <param name="Took">Time of the run.</param>
/// <param name="Memory">The memory of the process meanwhile.</param>
internal sealed record ServerSoakReport(int Right, int Left, int Wrong, int Lost, int Leftovers, TimeSpan Took, SoakMemory Memory)
{
    public bool Clean => Wrong + Lost + Leftovers == 0 && Memory.IsFlat;
}

/// <summary>Many requests by all APIs at once, streamed and whole, of which some leave in the middle; every answer has to be what the model says in process.</summary>
internal sealed class ServerSoak : IAsyncDisposable
{
    private const int Questions = 20;
    private const int MaxTokens = 10;

    private static readonly string[] s_subjects = ["river", "house", "garden", "winter", "letter"];

    private readonly WebApplication _app;
    private readonly HttpClient _http;
    private readonly ModelReference _model;
    private readonly string[] _expected = new string[Questions];
    private readonly float[][] _vectors = new float[Questions][];
    private int _right, _left, _wrong, _lost;

    private ServerSoak(WebApplication app)
    {
        _app = app;
        _http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1000 }) { BaseAddress = new Uri(app.Urls.Single()), Timeout = TimeSpan.FromMinutes(5) };
        _model = app.Services.GetRequiredService<ModelCatalog>().Models[0].Reference!;
    }

    public static async Task<ServerSoak> StartAsync(string model)
    {
        WebApplication app = ServerHost.Build(new ServerHostSettings { Port = 0 }, builder =>
        {
            builder.Services.AddKeyedGemmaChatClient("soak", model);
            builder.Services.AddGemmaServer(options => options.StoredResponsesBytes = 100_000); // full after a few dozen, and what is old makes room from then on
        });
        await app.StartAsync();
        ServerSoak soak = new(app);
        IChatClient client = app.Services.GetRequiredKeyedService<IChatClient>("soak");
        for (int i = 0; i < Questions; i++)
        {
            soak._expected[i] = (await client.GetResponseAsync(Question(i), new ChatOptions { Temperature = 0, MaxOutputTokens = MaxTokens })).Text;
            soak._vectors[i] = (await soak._model.Loaded!.AsIEmbeddingGenerator().GenerateAsync(Question(i))).Vector.ToArray();
        }

        return soak;
    }

    /// <summary>Runs requests and looks at the memory ten times.</summary>
    public async Task<ServerSoakReport> RunAsync(int requests, int concurrent)
    {
        Stopwatch clock = Stopwatch.StartNew();
        SoakMemory memory = await SoakLoop.RunAsync(requests, concurrent, (random, _) => AskAsync(random));
        return new(_right, _left, _wrong, _lost, await LeftoversAsync(), clock.Elapsed, memory);
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        await _app.DisposeAsync();
    }

    private static string Question(int number) => $"Question {number}: tell me about the {s_subjects[number % s_subjects.Length]}.";

    /// <summary>What left is noticed within a step; until then the engine may be at it.</summary>
    private async Task<int> LeftoversAsync()
    {
        using ModelLease lease = await _model.LeaseAsync(CancellationToken.None);
        int Count() => lease.Model.Engine.Status is { } status ? status.Running + status.Waiting + status.UsedBlocks : 0;
        for (int i = 0; i < 3000 && Count() > 0; i++)
        {
            await Task.Delay(10);
        }

        return Count();
    }

    private async Task AskAsync(Random random)
    {
        int question = random.Next(Questions);
        Api api = Api.All[random.Next(Api.All.Count)];
        bool isStreaming = random.Next(3) > 0 && !api.IsEmbedding;
        int leaveAfter = random.Next(5) == 0 ? random.Next(0, 4) : int.MaxValue;
        try
        {
            using HttpRequestMessage request = new(HttpMethod.Post, api.Path) { Content = new StringContent(api.Body(Question(question), isStreaming), Encoding.UTF8, "application/json") };
            using CancellationTokenSource leave = new();
            if (leaveAfter == 0)
            {
                leave.CancelAfter(random.Next(1, 20)); // at any time, also before the first piece
            }

            try
            {
                using HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, leave.Token);
                if (response.StatusCode != HttpStatusCode.OK)
                {
                    Interlocked.Increment(ref _lost);
                    return;
                }

                await using Stream body = await response.Content.ReadAsStreamAsync(leave.Token);
                string? text = isStreaming ? await api.ReadAsync(body, leaveAfter == 0 ? int.MaxValue : leaveAfter, leave.Token) : api.ReadWhole((await JsonDocument.ParseAsync(body, default, leave.Token)).RootElement);
                if (text is null)
                {
                    Interlocked.Increment(ref _left);
                }
                else
                {
                    Interlocked.Increment(ref IsRight(api, question, text) ? ref _right : ref _wrong);
                }
            }
            catch (OperationCanceledException) when (leave.IsCancellationRequested)
            {
                Interlocked.Increment(ref _left);
            }
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException or JsonException or TaskCanceledException)
        {
            Interlocked.Increment(ref _lost);
        }
    }

    /// <summary>Whether an answer is the model's own: its text; of a vector the direction, since the last bits depend on what is computed beside it.</summary>
    private bool IsRight(Api api, int question, string text) => api.IsEmbedding
        ? TensorPrimitives.CosineSimilarity(_vectors[question], JsonSerializer.Deserialize<float[]>(text)) > 0.9999f
        : text == _expected[question];

    /// <summary>How one API is asked and read.</summary>
    private sealed record Api(string Path, Func<string, bool, string> Body, Func<Stream, CancellationToken, IAsyncEnumerable<string>> Pieces, Func<string, (string Text, bool IsEnd)> ReadPiece, Func<JsonElement, string> ReadWhole,
        bool IsEmbedding = false)
    {
        public static IReadOnlyList<Api> All { get; } =
        [
            new("v1/chat/completions", OpenAIBody, Events, OpenAIPiece, static whole => whole.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!),
            new("chat/completions", OpenAIBody, Events, OpenAIPiece, static whole => whole.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!),
            new("api/chat", static (question, isStreaming) => JsonSerializer.Serialize(new { messages = new[] { new { role = "user", content = question } }, stream = isStreaming, options = new { temperature = 0, num_predict = MaxTokens } }),
                Lines, static line => (JsonElement.Parse(line).GetProperty("message").GetProperty("content").GetString()!, JsonElement.Parse(line).GetProperty("done").GetBoolean()),
                static whole => whole.GetProperty("message").GetProperty("content").GetString()!),
            new("api/generate", static (question, isStreaming) => JsonSerializer.Serialize(new { prompt = question, stream = isStreaming, options = new { temperature = 0, num_predict = MaxTokens } }),
                Lines, static line => (JsonElement.Parse(line).GetProperty("response").GetString()!, JsonElement.Parse(line).GetProperty("done").GetBoolean()), static whole => whole.GetProperty("response").GetString()!),
            new("v1/messages", static (question, isStreaming) => JsonSerializer.Serialize(new { max_tokens = MaxTokens, temperature = 0, messages = new[] { new { role = "user", content = question } }, stream = isStreaming }),
                Events, AnthropicPiece, static whole => whole.GetProperty("content").GetArrayLength() > 0 ? whole.GetProperty("content")[0].GetProperty("text").GetString()! : ""),
            new("v1/responses", static (question, isStreaming) => JsonSerializer.Serialize(new { input = question, max_output_tokens = MaxTokens, temperature = 0, stream = isStreaming }),
                Events, ResponsePiece, static whole => whole.GetProperty("output").GetArrayLength() > 0 ? whole.GetProperty("output")[0].GetProperty("content")[0].GetProperty("text").GetString()! : ""),
            new("v1/completions", static (question, isStreaming) => JsonSerializer.Serialize(
                    new { prompt = $"<bos><start_of_turn>user\n{question}<end_of_turn>\n<start_of_turn>model\n", max_tokens = MaxTokens, temperature = 0, stream = isStreaming }),
                Events, static data => data == "[DONE]" ? ("", true) : (JsonElement.Parse(data).GetProperty("choices")[0].GetProperty("text").GetString()!, false),
                static whole => whole.GetProperty("choices")[0].GetProperty("text").GetString()!),
            new("v1/embeddings", static (question, _) => JsonSerializer.Serialize(new { input = question }), Events, OpenAIPiece, static whole => whole.GetProperty("data")[0].GetProperty("embedding").GetRawText(), IsEmbedding: true),
            new("api/embed", static (question, _) => JsonSerializer.Serialize(new { input = question }), Lines, OpenAIPiece, static whole => whole.GetProperty("embeddings")[0].GetRawText(), IsEmbedding: true),
        ];

        /// <summary>The text of a stream that has an end; null where it was left after so many pieces.</summary>
        public async Task<string?> ReadAsync(Stream body, int leaveAfter, CancellationToken cancellation)
        {
            StringBuilder text = new();
            bool hasEnded = false;
            int pieces = 0;
            await foreach (string piece in Pieces(body, cancellation))
            {
                if (pieces++ >= leaveAfter)
                {
                    return null;
                }

                (string more, bool isEnd) = ReadPiece(piece);
                text.Append(more);
                hasEnded |= isEnd;
            }

            return hasEnded ? text.ToString() : throw new IOException("The stream has no end.");
        }

        private static string OpenAIBody(string question, bool isStreaming) =>
            JsonSerializer.Serialize(new { messages = new[] { new { role = "user", content = question } }, max_tokens = MaxTokens, temperature = 0, stream = isStreaming });

        private static (string Text, bool IsEnd) OpenAIPiece(string data)
        {
            if (data == "[DONE]")
            {
                return ("", true);
            }

            JsonElement delta = JsonElement.Parse(data).GetProperty("choices")[0].GetProperty("delta");
            return (delta.TryGetProperty("content", out JsonElement content) ? content.GetString()! : "", false);
        }

        private static (string Text, bool IsEnd) AnthropicPiece(string data)
        {
            JsonElement item = JsonElement.Parse(data);
            string type = item.GetProperty("type").GetString()!;
            return (type == "content_block_delta" ? item.GetProperty("delta").GetProperty("text").GetString()! : "", type == "message_stop");
        }

        private static (string Text, bool IsEnd) ResponsePiece(string data)
        {
            JsonElement item = JsonElement.Parse(data);
            string type = item.GetProperty("type").GetString()!;
            return (type == "response.output_text.delta" ? item.GetProperty("delta").GetString()! : "", type is "response.completed" or "response.incomplete");
        }

        private static async IAsyncEnumerable<string> Events(Stream body, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
        {
            await foreach (SseItem<string> item in SseParser.Create(body).EnumerateAsync(cancellation))
            {
                yield return item.Data;
            }
        }

        private static async IAsyncEnumerable<string> Lines(Stream body, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
        {
            using StreamReader reader = new(body);
            while (await reader.ReadLineAsync(cancellation) is { } line)
            {
                yield return line;
            }
        }
    }
}
