using System.Text.Json;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Orleans;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>A server whose model is computed by a cluster gives what one with the model in its process gives: Gemma's own options too reach the nodes.</summary>
[Collection(ThreeNodesCollection.Name)]
public class ServedClusterTests(ThreeNodes nodes)
{
    private const string Asked = """ "model":"any","max_tokens":24,"seed":5,"messages":[{"role":"user","content":"3 rivers?"}] """;

    [Theory]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":0,"logprobs":true,"top_logprobs":2,{{Asked}}}""")]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":2,"regex":"[a-c]{3}",{{Asked}}}""")]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":2,"grammar":"root ::= \"yes\" | \"no\" [!?]+",{{Asked}}}""")]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":2,"top_p":1,"min_p":0.9,{{Asked}}}""")]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":2,"n":2,"logit_bias":{"300":50},{{Asked}}}""")]
    [InlineData("v1/chat/completions", "choices", $$"""{"temperature":2,"response_format":{"type":"json_object"},{{Asked}}}""")]
    [InlineData("api/chat", "message", """{"model":"any","stream":false,"options":{"num_predict":24,"temperature":2,"seed":5,"min_p":0.9,"repeat_penalty":1.5},"messages":[{"role":"user","content":"3 rivers?"}]}""")]
    public async Task ARequestIsAnsweredAsByAModelInTheProcess(string path, string member, string body)
    {
        await using ModelServer own = await ModelServer.StartAsync(TinyModel.Client(), map: ApiForm.MapAll), served = await ModelServer.StartAsync(
            services =>
            {
                services.AddSingleton<IGrainFactory>(nodes.Cluster.Cluster.Client);
                services.AddGemmaClusterChatClient("tiny", options => (options.HeartbeatTimeout, options.FailoverTimeout) = (TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(60))).UseFunctionInvocation();
            },
            ApiForm.MapAll);
        (int status, JsonElement expected) = await own.AskAsync(path, body);
        (int servedStatus, JsonElement answer) = await served.AskAsync(path, body);
        Assert.True((status, servedStatus) == (200, 200), $"{expected} {answer}");
        Assert.Equal(expected.GetProperty(member).GetRawText(), answer.GetProperty(member).GetRawText());
        Assert.DoesNotContain(served.Log.At(LogLevel.Warning), line => line.Contains("is no Gemma model", StringComparison.Ordinal));
        Assert.True(path != "v1/chat/completions" || !body.Contains("logprobs", StringComparison.Ordinal) || answer.GetProperty("choices")[0].GetProperty("logprobs").GetProperty("content").GetArrayLength() > 0);
    }
}
