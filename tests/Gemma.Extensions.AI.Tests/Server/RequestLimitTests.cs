using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Bodies that are too large, too deep or too slow, and clients that do not read, by every API.</summary>
public class RequestLimitTests
{
    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task ABodyOverTheLimitIs413(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.MaxRequestBodySize = 1000), ApiForm.MapAll);
        foreach (bool isChunked in (bool[])[false, true])
        {
            using HttpRequestMessage request = new(HttpMethod.Post, api.Path) { Content = new StringContent(api.Body("any", new string('x', 2000), 4, false), Encoding.UTF8, "application/json") };
            request.Headers.TransferEncodingChunked = isChunked;
            using HttpResponseMessage response = await server.Http.SendAsync(request);
            Assert.Equal(413, (int)response.StatusCode);
            Assert.Contains("1,000 bytes", api.Error(JsonElement.Parse(await response.Content.ReadAsStringAsync())), StringComparison.Ordinal);
        }

        Assert.Equal(200, (await server.AskAsync(api.Path, api.Body("any", "Hello!", 4, false))).Status);
    }

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task DeepJsonIsRefused(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), map: ApiForm.MapAll);
        foreach ((int depth, int expected) in ((int, int)[])[(100, 200), (200, 400), (100_000, 400), (1_000_000, 400)])
        {
            foreach ((string open, string close) in ((string, string)[])[("[", "]"), ("{\"a\":", "}")])
            {
                string deep = string.Concat(Enumerable.Repeat(open, depth)) + "1" + string.Concat(Enumerable.Repeat(close, depth));
                (int status, JsonElement body) = await server.AskAsync(api.Path, api.Body("any", "Hello!", 4, false)[..^1] + $",\"unheard_of\":{deep}}}");
                Assert.Equal(expected, status);
                _ = expected == 400 ? api.Error(body) : "";
            }
        }
    }

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task ABodyThatDoesNotComeIs408(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["Hi"]), options => options.Set(o => o.RequestBodyTimeout = TimeSpan.FromMilliseconds(100)), ApiForm.MapAll);
        using TcpClient tcp = new(server.Address.Host, server.Address.Port);
        await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /{api.Path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"));
        using StreamReader reader = new(tcp.GetStream());
        Assert.Equal("HTTP/1.1 408 Request Timeout", await reader.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(1)));
    }

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AClientThatDoesNotReadIsCutOff(string name)
    {
        ApiForm api = ApiForm.Of(name);
        string much = new('x', 100_000);
        ScriptedChatClient client = new(_ => Enumerable.Repeat<object>(Task.FromResult<object>(much), 1000)); // without a wait between them
        await using ModelServer server = await ModelServer.StartAsync(client, options => options.Set(o => o.SlowClientTimeout = TimeSpan.FromMilliseconds(200)), ApiForm.MapAll);
        using TcpClient tcp = new(server.Address.Host, server.Address.Port);
        byte[] body = Encoding.UTF8.GetBytes(api.Body("any", "Hello!", 4, true));
        await tcp.GetStream().WriteAsync(Encoding.ASCII.GetBytes($"POST /{api.Path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {body.Length}\r\n\r\n"));
        await tcp.GetStream().WriteAsync(body);
        await client.Cancelled.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }
}
