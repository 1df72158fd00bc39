using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Cli.Serve;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Cli;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Connections.Security;
using Orleans.Hosting;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary><c>gemma serve --cluster</c>: models of other processes by the APIs of the server.</summary>
public class GatewayTests
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
            await RefusedAsync(HttpStatusCode.NotFound, "small@law", "v1/chat/completions", $$"""{"model":"small@law",{{Asked}}}""");
            await RefusedAsync(HttpStatusCode.BadRequest, "has no way to do this", "v1/completions", """{"model":"small","prompt":"A river","max_tokens":4}""");
            await RefusedAsync(HttpStatusCode.BadRequest, "has no way to do this", "v1/messages/count_tokens", $$"""{"model":"small",{{Asked}}}""");
            Assert.Contains("gemma_cluster_calls", await server.Http.GetStringAsync("metrics"), StringComparison.Ordinal);
            Assert.Equal(0, await server.StopAsync());

            async Task RefusedAsync(HttpStatusCode status, string reason, string path, string json)
            {
                using HttpResponseMessage response = await server.Http.PostAsync(path, new StringContent(json, Encoding.UTF8, "application/json"));
                string body = await response.Content.ReadAsStringAsync();
                Assert.True(response.StatusCode == status && body.Contains(reason, StringComparison.Ordinal), $"{response.StatusCode} {body}");
            }
        }

        await host.StopAsync();
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
        Environment.SetEnvironmentVariable(ClusterGateway.RedisVariable, cluster.StoreAddress["redis:".Length..]);
        await using Served second = await Served.StartAsync(["--cluster", "redis", .. names]);
        Environment.SetEnvironmentVariable(ClusterGateway.RedisVariable, null);
        string id;
        await using (Served first = await Served.StartAsync(["--cluster", cluster.StoreAddress, .. names]))
        {
            id = (await first.PostAsync("v1/responses", """{"model":"model","input":"3 rivers?","max_output_tokens":4}""")).GetProperty("id").GetString()!;
        }

        JsonElement followed = await second.PostAsync("v1/responses", $$"""{"model":"model","input":"And?","max_output_tokens":4,"previous_response_id":"{{id}}"}""");
        Assert.Equal(id, followed.GetProperty("previous_response_id").GetString());
        Assert.Equal(id, (await second.Http.GetFromJsonAsync<JsonElement>($"v1/responses/{id}")).GetProperty("id").GetString());
    }

    [Theory]
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
    public async Task AClusterThatIsNotThereIsSaidInTime(string address)
    {
        string[] arguments = ["serve", "--port", "0", "--cluster", string.Format(CultureInfo.InvariantCulture, address, ClusterProcesses.FreePort()), "--cluster-wait", "1s", "--model", "a"];
        string said = await CliRun.FailAsync(arguments);
        Assert.Contains("answered within 1 s: ", said, StringComparison.Ordinal);
        Assert.Contains("Start a node first", said, StringComparison.Ordinal);
    }
}
