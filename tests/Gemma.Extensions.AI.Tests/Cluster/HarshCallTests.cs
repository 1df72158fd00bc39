using System.Text;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Cli;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Hosting;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Callers that leave, ask for too much, or ask the same at once; adapters that change under an answer.</summary>
public class HarshCallTests(TalkativeNodes nodes) : IClassFixture<TalkativeNodes>
{
    private static readonly ChatOptions s_options = new() { Temperature = 1.4f, TopK = 0, Seed = 4, MaxOutputTokens = 12 };

    /// <summary>Before anything, while a node is chosen, behind each piece: nobody works on it any more, and nothing is wrong with the next call.</summary>
    [Fact]
    public async Task ACallMayBeCancelledAtAnyMoment()
    {
        TinyCluster cluster = nodes.Cluster;
        IChatClient client = cluster.Client();
        string undisturbed = (await client.GetResponseAsync("3 rivers?", s_options)).Text;
        int pieces = 0;
        for (int moment = 0; moment <= pieces + 1; moment++)
        {
            using CancellationTokenSource cancellation = new();
            int seen = 0;
            List<string> said = [];
            Exception? ended = await Record.ExceptionAsync(async () =>
            {
                IAsyncEnumerator<ChatResponseUpdate> answer = client.GetStreamingResponseAsync("3 rivers?", s_options, cancellation.Token).GetAsyncEnumerator();
                await using (answer)
                {
                    while (true)
                    {
                        ValueTask<bool> next = answer.MoveNextAsync();
                        if (seen == moment)
                        {
                            await cancellation.CancelAsync(); // the next piece may be on its way
                        }

                        if (!await next)
                        {
                            break;
                        }

                        seen++;
                        said.Add(answer.Current.Text);
                    }
                }
            });
            pieces = Math.Max(pieces, seen);
            Assert.True(ended is null or OperationCanceledException, $"{moment}: {ended}");
            Assert.StartsWith(string.Concat(said), undisturbed, StringComparison.Ordinal);
            Assert.True(ended is not null || string.Concat(said) == undisturbed);
        }

        Assert.True(pieces > 3);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => client.GetResponseAsync("3 rivers?", s_options, new CancellationToken(canceled: true)));
        await Eventually.IsTrueAsync(() => cluster.Silos.All(silo => cluster.Service<GemmaNode>(silo).RunningCalls == 0 && cluster.Model(silo).Engine.Status is { Running: 0, Waiting: 0 }));
        Assert.Equal(undisturbed, (await client.GetResponseAsync("3 rivers?", s_options)).Text);
    }

    [Fact]
    public async Task ACallToANodeThatDoesNotAnswerMayBeCancelled()
    {
        TinyCluster cluster = nodes.Cluster;
        cluster.Faults.CutAfter(0);
        using CancellationTokenSource cancellation = new();
        Task<ChatResponse> call = cluster.Client().GetResponseAsync("3 rivers?", s_options, cancellation.Token);
        await Eventually.IsTrueAsync(() => cluster.Faults.Cut is not null);
        await cancellation.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        cluster.Faults.Heal();
        await Eventually.IsTrueAsync(() => cluster.Silos.All(silo => cluster.Service<GemmaNode>(silo).RunningCalls == 0));
        Assert.NotEmpty((await cluster.Client().GetResponseAsync("3 rivers?", s_options)).Text);
    }

    [Fact]
    public async Task OneConversationMayBeHeldByManyAtOnce()
    {
        IChatClient[] clients = [nodes.Cluster.Client(), nodes.Cluster.Client()];
        List<ChatMessage> conversation = [new(ChatRole.User, "3 rivers?")];
        for (int turn = 0; turn < 2; turn++)
        {
            // How an earlier reply was spelt knows the node that generated it; elsewhere it is read as the tokenizer spells it.
            using GemmaModel forgetful = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1 });
            string[] expected = [.. (await Task.WhenAll(new[] { TinyModel.Model, forgetful }.Select(model => model.AsIChatClient().GetResponseAsync(conversation, s_options)))).Select(answer => answer.Text)];
            ChatResponse[] answers = await Task.WhenAll(Enumerable.Range(0, 8).Select(i => clients[i % 2].GetResponseAsync(conversation, s_options)));
            Assert.All(answers, answer => Assert.Contains(answer.Text, expected));
            conversation.AddRange(answers[turn].Messages);
            conversation.Add(new ChatMessage(ChatRole.User, "And?"));
        }
    }

    /// <summary>A message that Orleans does not send is no lost node: the call says at once that it is too long.</summary>
    [Fact]
    public async Task WhatIsTooLongToTravelIsRefusedAtOnce()
    {
        string huge = new('a', (32 << 20) + 1);
        using GemmaClusterEmbeddingGenerator generator = new(nodes.Cluster.Cluster.Client, "tiny");
        Assert.Contains("33,554,433 characters", (await Assert.ThrowsAsync<ArgumentException>(() => nodes.Cluster.Client().GetResponseAsync(huge, s_options))).Message, StringComparison.Ordinal);
        Assert.Contains("Embed fewer texts", (await Assert.ThrowsAsync<ArgumentException>(() => generator.GenerateAsync([huge, huge]))).Message, StringComparison.Ordinal);
    }

    /// <summary>Weights are known by themselves: another adapter may have the name by the time that an answer begins.</summary>
    [Fact]
    public void AnAnswerIsIdentifiedByTheWeightsThatItComputesWith()
    {
        using TempDirectory folder = new();
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        string path = new RandomAdapter(file.Config).WriteGguf(folder.File("law.gguf"));
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1, Adapters = { ["law"] = path } });
        HostedModel hosted = new("tiny", model, "base", new Dictionary<string, string> { ["law"] = "first" });
        LoraWeights first = model.FindAdapter("law")!;
        Assert.Equal(("base", "base adapter first", "base adapter first"), (hosted.IdentityOf(null), hosted.IdentityOf(first), hosted.IdentityWith("LAW")));
        hosted.RemoveAdapter("law");
        model.UnloadAdapter("law");
        model.LoadAdapter("law", path);
        Assert.Null(hosted.IdentityOf(model.FindAdapter("law"))); // loaded, not announced
        hosted.AddAdapter("law", "second");
        Assert.Equal((null, "base adapter second"), (hosted.IdentityOf(first), hosted.IdentityOf(model.FindAdapter("law"))));
    }

    /// <summary>A client of a gateway that hangs up, and a gateway that stops, leave no work on the nodes.</summary>
    [Fact]
    public async Task WhoHangsUpOnAGatewayLeavesNoWork()
    {
        int gateway = ClusterProcesses.FreePort();
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(node => node.UseLocalhostClustering(ClusterProcesses.FreePort(), gateway).AddGemmaNode(options => options.AddModel("small", TinyModel.Path).Threads = 1));
        using IHost host = builder.Build();
        await host.StartAsync();
        GemmaNode node = host.Services.GetRequiredService<GemmaNode>();
        string[] arguments = ["--cluster", $"localhost:{gateway}", "--model", "small", "--cluster-wait", "2m"];
        await using (Served server = await Served.StartAsync(arguments))
        {
            for (int round = 0; round < 3; round++)
            {
                using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions")
                {
                    Content = new StringContent("""{"model":"small","stream":true,"regex":"(a|b){400,}","max_tokens":450,"messages":[{"role":"user","content":"3 rivers?"}]}""", Encoding.UTF8, "application/json"),
                };
                using HttpResponseMessage response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                await using Stream stream = await response.Content.ReadAsStreamAsync();
                Assert.NotEqual(0, await stream.ReadAsync(new byte[16]));
            }

            await Eventually.IsTrueAsync(() => node.RunningCalls == 0);
        }

        // Another gateway serves what the first one did.
        await using (Served second = await Served.StartAsync(arguments))
        {
            await second.PostAsync("v1/chat/completions", """{"model":"small","max_tokens":4,"messages":[{"role":"user","content":"3 rivers?"}]}""");
        }

        await host.StopAsync();
    }
}
