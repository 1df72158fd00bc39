using System.Collections.Concurrent;
using System.Security.Claims;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Caching.Distributed;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>
/// Keeps responses so that others can follow them: in the application's <see cref="IDistributedCache"/>, or in memory within a bound. They expire. Whoever authenticates finds only their own.
/// </summary>
internal sealed class ResponseStore(IDistributedCache cache, TimeSpan lifetime)
{
    private readonly ConcurrentDictionary<string, RunningResponse> _running = new(StringComparer.Ordinal);

    public Task SaveAsync(HttpContext http, StoredResponse response) => SaveAsync(Key(http, response.Response.Id), response);

    public Task SaveAsync(string key, StoredResponse response) => cache.SetAsync(
        key, JsonSerializer.SerializeToUtf8Bytes(response, OpenAIJson.Wire.StoredResponse), new DistributedCacheEntryOptions { SlidingExpiration = lifetime });

    /// <exception cref="ServerErrorException">There is no such response, or not any more.</exception>
    public async Task<StoredResponse> GetAsync(HttpContext http, string id, string parameter = "response_id") =>
        await cache.GetAsync(Key(http, id), http.RequestAborted).ConfigureAwait(false) is { } bytes ? JsonSerializer.Deserialize(bytes, OpenAIJson.Wire.StoredResponse)!
            : throw new ServerErrorException(new(ErrorKind.NotFound, $"There is no response '{id}', or not any more: responses are kept for a time, and only where 'store' is not false.",
                parameter == "previous_response_id" ? "previous_response_not_found" : "response_not_found", parameter));

    public Task RemoveAsync(HttpContext http, string id) => cache.RemoveAsync(Key(http, id), http.RequestAborted);

    /// <summary>Notes that a response is being answered, until the result is disposed.</summary>
    public RunningResponse Start(HttpContext http, ResponseBody response, CancellationToken cancellation)
    {
        string key = Key(http, response.Id);
        RunningResponse running = new(key, response, CancellationTokenSource.CreateLinkedTokenSource(cancellation), () => _running.TryRemove(key, out _));
        _running[key] = running;
        return running;
    }

    /// <summary>A response that is being answered; null where none of that id is.</summary>
    public RunningResponse? FindRunning(HttpContext http, string id) => _running.GetValueOrDefault(Key(http, id));

    /// <summary>The name is escaped: it may hold the sign that ends it, and an id that begins as another's name ends would then lead to theirs.</summary>
    private static string Key(HttpContext http, string id) =>
        $"gemma-response:{Uri.EscapeDataString(http.User.FindFirstValue(ClaimTypes.NameIdentifier) ?? http.User.Identity?.Name ?? "")}:{id}";
}

/// <summary>A response that is being answered.</summary>
internal sealed class RunningResponse(string key, ResponseBody response, CancellationTokenSource cancellation, Action ended) : IDisposable
{
    private readonly TaskCompletionSource<ResponseBody> _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public string Key => key;

    public ResponseBody Response => response;

    /// <summary>Cancelled when somebody asks for that, or the client is gone.</summary>
    public CancellationToken Token => cancellation.Token;

    public bool WasCancelled { get; private set; }

    /// <summary>Ends the response and waits for how it ended.</summary>
    public async Task<ResponseBody> CancelAsync()
    {
        WasCancelled = true;
        await cancellation.CancelAsync().ConfigureAwait(false);
        return await _finished.Task.ConfigureAwait(false);
    }

    public void Dispose()
    {
        ended();
        _finished.TrySetResult(response);
    }
}
