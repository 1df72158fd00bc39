using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Cli.Serve;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Cli;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Npgsql;
using Orleans.Connections.Security;
using Orleans.Hosting;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary><c>gemma serve --cluster</c>: models of other processes by the APIs of the server.</summary>
public partial class GatewayTests
{
    /// <summary>Time for nodes that are there, but on a busy machine.</summary>
    private static readonly string[] s_patient = ["--cluster-wait", "2m"];

    [Fact]
    public async Task TheModelsOfAClusterAreServedByEveryApi()
    {
        (int silo, int gateway) = (ClusterProcesses.FreePort(), ClusterProcesses.FreePort());
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(node => node.UseLocalhostClustering(silo, gateway).AddGemmaNode(options => options.AddModel("small", TinyModel.Path).Threads = 1));
        using IHost host = builder.Build();
        await host.StartAsync();
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1 });
        string expected = (await model.AsIChatClient().GetResponseAsync("3 rivers?", new ChatOptions { Temperature = 0, MaxOutputTokens = 24 })).Text;
        await using (Served server = await Served.StartAsync(["--cluster", $"localhost:{gateway}", "--model", "small", "--model", "other=small", .. s_patient]))
        {
            Assert.StartsWith($"Serving small, other of the cluster localhost:{gateway} at http", server.Greeting, StringComparison.Ordinal);
            const string Asked = """ "temperature":0,"max_tokens":24,"messages":[{"role":"user","content":"3 rivers?"}] """;
            JsonElement openAI = await server.PostAsync("v1/chat/completions", $$"""{"model":"small",{{Asked}}}""");
            Assert.Equal(expected, openAI.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString());
            JsonElement reported = await server.PostAsync("v1/chat/completions", $$"""{"model":"small","logprobs":true,"top_logprobs":2,{{Asked}}}""");
            Assert.Equal(expected, string.Concat(reported.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("content").EnumerateArray().Select(token => token.GetProperty("token").GetString())));
            JsonElement held = await server.PostAsync("v1/chat/completions", $$"""{"model":"small","regex":"[a-c]{3}",{{Asked}}}""");
            Assert.Matches("^[a-c]{3}$", held.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString());
            JsonElement anthropic = await server.PostAsync("v1/messages", $$"""{"model":"other",{{Asked}}}""");
            Assert.Equal(expected, anthropic.GetProperty("content")[0].GetProperty("text").GetString());
            JsonElement ollama = await server.PostAsync("api/chat", """{"model":"small","stream":false,"options":{"num_predict":24,"temperature":0},"messages":[{"role":"user","content":"3 rivers?"}]}""");
            Assert.Equal(expected, ollama.GetProperty("message").GetProperty("content").GetString());
            JsonElement vectors = await server.PostAsync("v1/embeddings", """{"model":"small","input":"a river"}""");
            float[] own = (await model.AsIEmbeddingGenerator().GenerateAsync("a river")).Vector.ToArray();
            Assert.Equal(own, vectors.GetProperty("data")[0].GetProperty("embedding").EnumerateArray().Select(value => value.GetSingle()));
            Assert.Equal(["small", "other"], (await server.Http.GetFromJsonAsync<JsonElement>("v1/models")).GetProperty("data").EnumerateArray().Select(each => each.GetProperty("id").GetString()!));
            Assert.Contains("gemma_cluster_calls", await server.Http.GetStringAsync("metrics"), StringComparison.Ordinal);
            Assert.Equal(0, await server.StopAsync());
        }

        await host.StopAsync();
    }

    /// <summary>What needs a model in the process elsewhere is asked of a node: adapters by name, prompts without turns, tokens.</summary>
    [Fact]
    public async Task AdaptersRawPromptsAndTokensAreAskedOfTheNodes()
    {
        using TempDirectory folder = new();
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        string law = new RandomAdapter(file.Config).WriteGguf(folder.File("law.gguf"));
        int gateway = ClusterProcesses.FreePort();
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(node => node.UseLocalhostClustering(ClusterProcesses.FreePort(), gateway).AddGemmaNode(options =>
        {
            GemmaOptions small = options.AddModel("small", TinyModel.Path);
            (small.Threads, small.Adapters["law"]) = (1, law);
            options.AddModel("other", TestData.Local("gguf/tiny-Q8_0.gguf")).Threads = 1; // that a name may mean any model where there is one does not hide mistakes here
        }));
        using IHost host = builder.Build();
        await host.StartAsync();
        await using (Served served = await Served.StartAsync(["--cluster", $"localhost:{gateway}", "--model", "small", "--model", "other", .. s_patient]))
        await using (Served own = await Served.StartAsync(["--model", $"small={TinyModel.Path}", "--model", $"other={TestData.Local("gguf/tiny-Q8_0.gguf")}", "--lora", $"small@law={law}", "--threads", "1"]))
        {
            foreach ((string path, string json) in ((string, string)[])
            [
                ("v1/chat/completions", """{"model":"small@law","temperature":0,"max_tokens":24,"messages":[{"role":"user","content":"3 rivers?"}]}"""),
                ("v1/embeddings", """{"model":"small@law","input":"a river"}"""),
                ("v1/completions", """{"model":"small","prompt":["A river","Two"],"n":2,"seed":3,"temperature":1,"max_tokens":6,"logprobs":1,"echo":false}"""),
                ("v1/completions", """{"model":"small@law","prompt":[2,300,301],"echo":true,"temperature":0,"max_tokens":4}"""),
                ("api/generate", """{"model":"small","prompt":"A <start_of_turn>river","raw":true,"stream":false,"options":{"num_predict":4,"temperature":0}}"""),
                ("v1/messages/count_tokens", """{"model":"small","system":"Be brief.","messages":[{"role":"user","content":"3 rivers?"}],"tools":[{"name":"f","description":"Finds.","input_schema":{"type":"object","properties":{"a":{"type":"string"}}}}]}"""),
                ("v1/tokenize", """{"model":"small@law","content":"A river <end_of_turn>","add_special":true}"""),
                ("v1/tokenize", """{"model":"small","content":"A river <end_of_turn>","with_pieces":true,"parse_special":false}"""),
                ("v1/tokenize", """{"model":"small","messages":[{"role":"user","content":"3 rivers?"}]}"""),
                ("v1/detokenize", """{"model":"small","tokens":[300,301,302]}"""),
                ("v1/apply-template", """{"model":"small","messages":[{"role":"user","content":"3 rivers?"}]}"""),
                ("v1/completions", """{"model":"small","prompt":[99999999],"max_tokens":4}"""),
                ("v1/detokenize", """{"model":"small","tokens":[-1]}"""),
                ("v1/messages/count_tokens", """{"model":"small","messages":[]}"""),
                ("v1/tokenize", """{"model":"none","content":"a"}"""),
                ("v1/tokenize", """{"model":"small@","content":"a"}"""),
            ])
            {
                (HttpStatusCode expected, string expectedBody) = await AskAsync(own, path, json);
                (HttpStatusCode status, string body) = await AskAsync(served, path, json);
                Assert.True(expected == status && expectedBody == body, $"{path} {json}: {status} {body}, not {expected} {expectedBody}");
            }

            // An adapter that no node has is for the nodes to refuse, who may have got it a moment ago.
            (HttpStatusCode refused, string reason) = await AskAsync(served, "v1/tokenize", """{"model":"small@tax","content":"a"}""");
            Assert.True(refused == HttpStatusCode.BadRequest && reason.Contains("only these are loaded: law", StringComparison.Ordinal), reason);
            await Eventually.IsTrueAsync(async () => (await served.Http.GetStringAsync("v1/models")).Contains("small@law", StringComparison.Ordinal));
        }

        await host.StopAsync();

        // Without what differs between two answers to the same.
        static async Task<(HttpStatusCode, string)> AskAsync(Served server, string path, string json)
        {
            using HttpResponseMessage response = await server.Http.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));
            return (response.StatusCode, Changing().Replace(await response.Content.ReadAsStringAsync(), ""));
        }
    }

    /// <summary>Nodes that ask for a certificate, and a gateway with it and without.</summary>
    [Fact]
    public async Task NodesWithTlsAreAskedWithTheCertificateThatTheyHaveToo()
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using X509Certificate2 certificate = new CertificateRequest("CN=gemma.internal", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        using TempDirectory folder = new();
        File.WriteAllText(folder.File("node.pem"), $"{certificate.ExportCertificatePem()}\n{key.ExportPkcs8PrivateKeyPem()}\n");
        int gateway = ClusterProcesses.FreePort();
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(node => node.UseLocalhostClustering(ClusterProcesses.FreePort(), gateway)
            .UseTls(certificate, tls =>
            {
                tls.RemoteCertificateMode = tls.ClientCertificateMode = RemoteCertificateMode.RequireCertificate;
                tls.RemoteCertificateValidation = (other, _, _) => other.Thumbprint == certificate.Thumbprint;
                tls.OnAuthenticateAsClient = (_, client) => client.TargetHost = "gemma.internal";
            })
            .AddGemmaNode(options => options.AddModel("small", TinyModel.Path).Threads = 1));
        using IHost host = builder.Build();
        await host.StartAsync();
        string[] arguments = ["--cluster", $"localhost:{gateway}", "--model", "small"];
        await using (Served server = await Served.StartAsync([.. arguments, "--cluster-certificate", folder.File("node.pem"), .. s_patient]))
        {
            JsonElement answer = await server.PostAsync("v1/chat/completions", """{"model":"small","max_tokens":4,"messages":[{"role":"user","content":"Hello"}]}""");
            Assert.NotEqual("", answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString());
        }

        Assert.Contains("answered within 2 s", await CliRun.FailAsync(["serve", "--port", "0", .. arguments, "--cluster-wait", "2s"]), StringComparison.Ordinal);
        await host.StopAsync();
    }

    /// <summary>A conversation that began at one gateway goes on at another, and so it does when the first is gone.</summary>
    [Fact]
    public async Task GatewaysKeepNothing()
    {
        Assert.SkipUnless(MembershipStore.OfRedis.IsInstalled, "redis-server is not installed (Debian: redis-server); it keeps the membership of the cluster.");
        await using ClusterProcesses cluster = new(KilledNodeTests.Program(), TinyModel.Path);
        await cluster.StartAsync(1);
        string[] names = ["--cluster-id", cluster.Id, "--model", "model", .. s_patient];
        Environment.SetEnvironmentVariable(ClusterStore.RedisVariable, cluster.StoreAddress["redis:".Length..]);
        await using Served second = await Served.StartAsync(["--cluster", "redis", .. names]);
        Environment.SetEnvironmentVariable(ClusterStore.RedisVariable, null);
        string id;
        await using (Served first = await Served.StartAsync(["--cluster", cluster.StoreAddress, .. names]))
        {
            id = (await first.PostAsync("v1/responses", """{"model":"model","input":"3 rivers?","max_output_tokens":4}""")).GetProperty("id").GetString()!;
        }

        JsonElement followed = await second.PostAsync("v1/responses", $$"""{"model":"model","input":"And?","max_output_tokens":4,"previous_response_id":"{{id}}"}""");
        Assert.Equal(id, followed.GetProperty("previous_response_id").GetString());
        Assert.Equal(id, (await second.Http.GetFromJsonAsync<JsonElement>($"v1/responses/{id}")).GetProperty("id").GetString());
    }

    /// <summary>The same with PostgreSQL. The membership needs only to be read for it; where the role may not make the table of responses either, that is said, and all else works.</summary>
    [Fact]
    public async Task WithPostgreSqlAGatewayNeedsOnlyToReadUntilItKeepsResponses()
    {
        Assert.SkipUnless(MembershipStore.OfPostgres.IsInstalled, "PostgreSQL is not installed (Debian: postgresql); it keeps the membership of the cluster.");
        await using ClusterProcesses cluster = new(KilledNodeTests.Program(), TinyModel.Path, store: new MembershipStore.OfPostgres());
        await cluster.StartAsync(1);
        string connection = cluster.StoreAddress["postgresql:".Length..];
        await ExecuteAsync(connection, "CREATE ROLE reader LOGIN; GRANT SELECT ON OrleansQuery, OrleansMembershipTable TO reader");
        string[] names = ["--cluster-id", cluster.Id, "--model", "model", .. s_patient];
        Environment.SetEnvironmentVariable(ClusterStore.PostgresVariable, connection.Replace("Username=gemma", "Username=reader", StringComparison.Ordinal));
        await using Served reader = await Served.StartAsync(["--cluster", "postgresql", .. names]);
        Environment.SetEnvironmentVariable(ClusterStore.PostgresVariable, null);
        const string Question = """ "model":"model","input":"3 rivers?","max_output_tokens":4 """;
        Assert.Contains("of the cluster in PostgreSQL 127.0.0.1:", reader.Greeting, StringComparison.Ordinal);
        await reader.PostAsync("v1/responses", $$"""{"store":false,{{Question}}}""");
        using (HttpResponseMessage refused = await reader.Http.PostAsync("v1/responses", new StringContent($"{{{Question}}}", Encoding.UTF8, "application/json")))
        {
            Assert.Equal(HttpStatusCode.InternalServerError, refused.StatusCode);
            Assert.Contains("the role may not make it", reader.Errors, StringComparison.Ordinal);
        }

        string id;
        await using (Served owner = await Served.StartAsync(["--cluster", cluster.StoreAddress, .. names]))
        {
            id = (await owner.PostAsync("v1/responses", $"{{{Question}}}")).GetProperty("id").GetString()!;
        }

        await ExecuteAsync(connection, "GRANT SELECT, INSERT, UPDATE, DELETE ON gemma_responses TO reader");
        JsonElement followed = await reader.PostAsync("v1/responses", $$"""{"model":"model","input":"And?","max_output_tokens":4,"previous_response_id":"{{id}}"}""");
        Assert.Equal(id, followed.GetProperty("previous_response_id").GetString());
        await ExpireAsync(connection);
    }

    private static async Task ExpireAsync(string connection)
    {
        await using PostgresResponses responses = new(NpgsqlDataSource.Create(connection));
        DistributedCacheEntryOptions hour = new() { SlidingExpiration = TimeSpan.FromHours(1) };
        await responses.SetAsync("kept", [1, 2], hour);
        await responses.SetAsync("kept", [3, 0, 255], hour);
        Assert.Equal([3, 0, 255], await responses.GetAsync("kept"));
        await responses.SetAsync("old", [4], hour);
        await ExecuteAsync(connection, "UPDATE gemma_responses SET expires = now() - interval '1 second' WHERE key = 'old'");
        Assert.Null(await responses.GetAsync("old"));
        await responses.SetAsync("other", [5], hour);
        Assert.Equal(0, await ExecuteAsync(connection, "UPDATE gemma_responses SET value = '' WHERE key = 'old'")); // taken away, not only hidden
        await responses.RemoveAsync("kept");
        Assert.Null(await responses.GetAsync("kept"));
    }

    private static async Task<int> ExecuteAsync(string connection, string sql)
    {
        await using NpgsqlDataSource database = NpgsqlDataSource.Create(connection);
        await using NpgsqlCommand command = database.CreateCommand(sql);
        return await command.ExecuteNonQueryAsync();
    }

    [Theory]
    [InlineData("--cluster postgresql --model a", "variable ConnectionStrings__postgresql is not set")]
    [InlineData("--cluster postgresql: --model a", "cannot be read (it names no host)")]
    [InlineData("--cluster postgresql://gateway:secret@10.0.0.5/orleans --model a", "--cluster postgresql cannot be read")]
    [InlineData("--cluster postgresql:Host=10.0.0.5;Passwrod=secret --model a", "--cluster postgresql cannot be read")]
    [InlineData("--cluster postgresql:Host=10.0.0.5;Port=secret --model a", "--cluster postgresql cannot be read")]
    [InlineData("--cluster postgres:Host=10.0.0.5;Password=secret --model a", "--cluster is 'postgres', expected localhost")]
    [InlineData("--cluster localhost:0 --model a", "--cluster is 'localhost:0', expected localhost")]
    [InlineData("--cluster 10.0.0.5:30000 --model a", "--cluster is '10.0.0.5:30000', expected localhost")]
    [InlineData("--cluster redis --model a", "variable ConnectionStrings__redis is not set")]
    [InlineData("--cluster redis: --model a", "cannot be read")]
    [InlineData("--cluster redis://:secret@10.0.0.5 --model a", "cannot be read")]
    [InlineData("--cluster redis:10.0.0.5,passwrod=secret --model a", "cannot be read")]
    [InlineData("--cluster localhost", "--cluster needs --model")]
    [InlineData("--cluster localhost --model a --model a=b", "--model is 'a=b', expected with --cluster")]
    [InlineData("--cluster localhost --model a --threads 2", "--threads is for models that this process loads")]
    [InlineData("--cluster localhost --model a --parallel 8", "--parallel is for models that this process loads")]
    [InlineData("--cluster localhost --model a --cluster-id a/b/c", "--cluster-id is 'a/b/c', expected")]
    [InlineData("--cluster-id a --model a", "there is no --cluster")]
    [InlineData("--cluster-wait 5s --model a", "there is no --cluster")]
    [InlineData("--cluster-certificate node.pem --model a", "there is no --cluster")]
    [InlineData("--cluster localhost --model a --cluster-certificate none.pem", "--cluster-certificate is 'none.pem', which cannot be read")]
    [InlineData("--cluster localhost --model a --cluster-wait soon", "--cluster-wait is 'soon', expected")]
    public async Task MistakesAreNamed(string line, string expected)
    {
        string said = await CliRun.FailAsync(["serve", .. line.Split(' ')]);
        Assert.Contains(expected, said, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("localhost:{0}")]
    [InlineData("redis:127.0.0.1:{0},connectTimeout=500,connectRetry=1")]
    [InlineData("postgresql:Host=127.0.0.1;Port={0};Username=gemma;Database=orleans")]
    public async Task AClusterThatIsNotThereIsSaidInTime(string address)
    {
        string[] arguments = ["serve", "--port", "0", "--cluster", string.Format(CultureInfo.InvariantCulture, address, ClusterProcesses.FreePort()), "--cluster-wait", "1s", "--model", "a"];
        string said = await CliRun.FailAsync(arguments);
        Assert.Contains("answered within 1 s: ", said, StringComparison.Ordinal);
        Assert.Contains("Start a node first", said, StringComparison.Ordinal);
    }

    [GeneratedRegex("""("(id|created|created_at|[a-z_]*_duration)":("[^"]*"|[0-9]+),?)|("cached_tokens":[0-9]+)|("system_fingerprint":"[^"]*",?)""")]
    private static partial Regex Changing();
}
