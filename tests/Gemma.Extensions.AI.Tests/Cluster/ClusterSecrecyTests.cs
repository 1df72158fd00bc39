using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Orleans.Connections.Security;
using Orleans.Hosting;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>What is said stays between callers and nodes.</summary>
public class ClusterSecrecyTests
{
    /// <summary>In the prompt, in a tool's name, arguments and result, in the answer and in a text to embed.</summary>
    private const string Marker = "MARK7";

    /// <summary>Also where a node is lost, and where a call is wrong, and whatever Orleans itself has to tell.</summary>
    [Fact]
    public async Task NoLogHasAnythingOfWhatIsSaid()
    {
        LogLines log = new();
        await using TinyCluster cluster = await TinyCluster.StartAsync(2, more: builder =>
            builder.ConfigureHost(host => host.Logging.ClearProviders().AddProvider(log).SetMinimumLevel(LogLevel.Trace)));
        using ILoggerFactory logging = LoggerFactory.Create(own => own.AddProvider(log).SetMinimumLevel(LogLevel.Trace));
        GemmaClusterOptions quick = new() { HeartbeatTimeout = TimeSpan.FromSeconds(1), FailoverTimeout = TimeSpan.FromSeconds(60) };
        using GemmaClusterChatClient client = new(cluster.Cluster.Client, "tiny", quick, logging);
        using GemmaClusterEmbeddingGenerator generator = new(cluster.Cluster.Client, "tiny", options: quick, loggerFactory: logging);
        cluster.Faults.CutAfter(1);
        await ConverseAsync(client);
        Assert.NotNull(cluster.Faults.Cut);
        cluster.Faults.Heal();
        await generator.GenerateAsync([$"{Marker} to embed"]);
        await Assert.ThrowsAsync<GemmaContextLengthException>(() => client.GetResponseAsync(string.Concat(Enumerable.Repeat($"{Marker} ", 3000))));
        await Assert.ThrowsAnyAsync<ArgumentException>(() => client.GetResponseAsync("Hello", new ChatOptions { RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = $"({Marker}" } }));
        string[] lines = [.. Enum.GetValues<LogLevel>().SelectMany(log.At)];
        Assert.NotEmpty(log.At(LogLevel.Trace));
        Assert.Contains(lines, line => line.Contains("goes on at another node", StringComparison.Ordinal));
        Assert.DoesNotContain(lines, line => line.Contains(Marker, StringComparison.Ordinal));
    }

    /// <summary>Without TLS all of it can be read between the machines, with it nothing.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WithTlsNothingCanBeReadBetweenTheMachines(bool isEncrypted)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        CertificateRequest request = new("CN=node", key, HashAlgorithmName.SHA256);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        SplitNetwork network = new(keepsBytes: true);
        int side = 0;
        await using TinyCluster cluster = await TinyCluster.StartAsync(2, more: builder =>
        {
            builder.ConfigureClient(client =>
            {
                network.Place(client, side: 2);
                _ = isEncrypted ? client.UseTls(certificate, Trust) : client;
            });
            builder.ConfigureSilo((ports, silo) =>
            {
                network.Place(silo, Interlocked.Increment(ref side) - 1, ports.SiloPort, ports.GatewayPort);
                _ = isEncrypted ? silo.UseTls(certificate, Trust) : silo;
            });
        });
        await ConverseAsync(cluster.Client());
        Assert.True(network.Crossed > 1000);
        Assert.Equal(!isEncrypted, network.HasSeen(Marker));

        // Each asks for the other's certificate, and takes this one alone.
        void Trust(TlsOptions options)
        {
            options.RemoteCertificateMode = options.ClientCertificateMode = RemoteCertificateMode.RequireCertificate;
            options.RemoteCertificateValidation = (other, _, _) => other.Thumbprint == certificate.Thumbprint;
            options.OnAuthenticateAsClient = (_, authentication) => authentication.TargetHost = "node";
        }
    }

    private static async Task ConverseAsync(IChatClient client)
    {
        JsonElement schema = JsonElement.Parse($$"""{"type":"object","properties":{"key":{"enum":["{{Marker}} argument"] } },"required":["key"] }""");
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 200, ToolMode = ChatToolMode.RequireAny, Tools = [AIFunctionFactory.CreateDeclaration($"find_{Marker}", $"Finds {Marker}.", schema)], Instructions = $"Rules of {Marker}." };
        List<ChatMessage> conversation = [new(ChatRole.User, $"What is {Marker}?")];
        conversation.AddMessages(await client.GetStreamingResponseAsync(conversation, options).ToChatResponseAsync());
        FunctionCallContent call = Assert.Single(conversation[^1].Contents.OfType<FunctionCallContent>());
        Assert.Equal($"{Marker} argument", call.Arguments!["key"]!.ToString());
        conversation.Add(new ChatMessage(ChatRole.Tool, [new FunctionResultContent(call.CallId, $"{Marker} result")]));
        options.ToolMode = ChatToolMode.None;
        options.RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = $"{Marker} answer" };
        Assert.Equal($"{Marker} answer", (await client.GetResponseAsync(conversation, options)).Text);
    }
}
