using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Gemma.Extensions.AI.Benchmarks.Rag;
using Gemma.Extensions.AI.Rag;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>How well <c>/v1/rerank</c> finds the document that answers a question among ten: by embeddings of the model, by its Yes and No, and by vectors of words for comparison.</summary>
internal static class ServerRerankBenchmark
{
    private const int Candidates = 10;

    public static Command Create()
    {
        Option<string> model = new("--model") { DefaultValueFactory = _ => "nano", Description = "Model that embeds and judges." };
        Option<string> corpus = new("--corpus") { DefaultValueFactory = _ => "tests/Gemma.Extensions.AI.Benchmarks/Rag/corpus.txt", Description = "Documents and questions." };
        Command command = new("server-rerank", "Quality and time of /v1/rerank by embeddings, by the judge and by words.") { model, corpus };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            string path = parse.GetValue(model)!;
            RetrievalCorpus documents = RetrievalCorpus.Load(parse.GetValue(corpus)!);
            Console.WriteLine($"{documents.Answerable.Count()} questions, each with the document that answers it and {Candidates - 1} others drawn from {documents.Documents.Count}.");
            Console.WriteLine();
            Console.WriteLine("| by | the right one first | MRR | ms a question |");
            Console.WriteLine("|---|---|---|---|");
            Console.WriteLine($"| lot | {1.0 / Candidates:0.000} | {Enumerable.Range(1, Candidates).Average(static rank => 1.0 / rank):0.000} | |");
            await MeasureAsync("embeddings of the model", documents, services => services.AddGemmaChatClient(path));
            await MeasureAsync("the model's Yes and No", documents, services =>
            {
                services.AddGemmaChatClient(path);
                services.AddGemmaReranker(static provider => new GemmaReranker(provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!).ScoreAsync);
            });
            await MeasureAsync("vectors of words", documents, static services => services.AddEmbeddingGenerator(new WordVectors()));
        });
        return command;
    }

    private static async Task MeasureAsync(string name, RetrievalCorpus corpus, Action<IServiceCollection> register)
    {
        await using WebApplication app = ServerHost.Build(new ServerHostSettings { Port = 0 }, builder => register(builder.Services));
        await app.StartAsync();
        using HttpClient http = new() { BaseAddress = new Uri(app.Urls.Single()), Timeout = TimeSpan.FromMinutes(5) };
        Random random = new(1);
        int first = 0, count = 0;
        double reciprocal = 0;
        Stopwatch clock = new();
        foreach (CorpusQuestion question in corpus.Answerable)
        {
            SourceDocument right = corpus.Documents.Single(document => document.Id == question.DocumentId);
            SourceDocument[] others = [.. corpus.Documents.Where(document => document != right)];
            random.Shuffle(others);
            SourceDocument[] candidates = [right, .. others.Take(Candidates - 1)];
            random.Shuffle(candidates);
            string[] texts = [.. await Task.WhenAll(candidates.Select(static async document => Encoding.UTF8.GetString(await document.ReadAsync(CancellationToken.None))))];
            clock.Start();
            using HttpResponseMessage response = await http.PostAsJsonAsync("v1/rerank", new { query = question.Text, documents = texts });
            clock.Stop();
            response.EnsureSuccessStatusCode();
            JsonElement results = (await response.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("results");
            int rank = 1 + results.EnumerateArray().ToList().FindIndex(result => candidates[result.GetProperty("index").GetInt32()] == right);
            first += rank == 1 ? 1 : 0;
            reciprocal += 1.0 / rank;
            count++;
        }

        Console.WriteLine($"| {name} | {first / (double)count:0.000} | {reciprocal / count:0.000} | {clock.Elapsed.TotalMilliseconds / count:0.0} |");
    }

    /// <summary>How often each word of a text comes, its number found by hashing: what a model has to beat.</summary>
    private sealed class WordVectors : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(static text => new Embedding<float>(Embed(text)))));

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }

        private static float[] Embed(string text)
        {
            float[] vector = new float[4096];
            foreach (string word in text.ToLowerInvariant().Split([' ', '\n', '.', ',', '?', '#', '"'], StringSplitOptions.RemoveEmptyEntries))
            {
                uint hash = 2166136261;
                foreach (char letter in word)
                {
                    hash = (hash ^ letter) * 16777619;
                }

                vector[hash % vector.Length]++;
            }

            for (int i = 0; i < vector.Length; i++)
            {
                vector[i] = MathF.Sqrt(vector[i]); // a word that comes four times says twice as much
            }

            return vector;
        }
    }
}
