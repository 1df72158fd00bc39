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
    /// <summary>A stored response wraps the request's own JSON, so it nests one level deeper than a request may.</summary>
    private static readonly OpenAIJson s_json = new(WireJson.Options(RequestBody.MaxDepth + 1));

    private readonly ConcurrentDictionary<string, RunningResponse> _running = new(StringComparer.Ordinal);

    public Task SaveAsync(string key, StoredResponse response) => cache.SetAsync(
        key, JsonSerializer.SerializeToUtf8Bytes(response, s_json.StoredResponse), new DistributedCacheEntryOptions { SlidingExpiration = lifetime });

    /// <exception cref="ServerErrorException">There is no such response, or not any more.</exception>
    public async Task<StoredResponse> GetAsync(HttpContext http, string id, string parameter = "response_id") =>
        await cache.GetAsync(Key(http, id), http.RequestAborted).ConfigureAwait(false) is { } bytes ? JsonSerializer.Deserialize(bytes, s_json.StoredResponse)!
            : throw new ServerErrorException(new(ErrorKind.NotFound, $"There is no response '{id}', or not any more: responses are kept for a time, and only where 'store' is not false.",
                parameter == "previous_response_id" ? "previous_response_not_found" : "response_not_found", parameter));

    public Task RemoveAsync(HttpContext http, string id) => cache.RemoveAsync(Key(http, id), http.RequestAborted);

    /// <summary>Notes that a response is being answered, until the result is disposed.</summary>
    public RunningResponse Start(HttpContext http, ResponseBody response, CancellationToken cancellation)
    {
        string key = Key(http, response.Id);
        RunningResponse running = new(key, response, cancellation, () => _running.TryRemove(key, out _));
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
internal sealed class RunningResponse : IDisposable
{
    private readonly TaskCompletionSource<ResponseBody> _finished = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _cancellation = new(); // never disposed, since somebody may be about to cancel; without a timer it holds nothing
    private readonly CancellationTokenRegistration _registration;
    private readonly Action _ended;

    /// <param name="key">Where it will be kept.</param>
    /// <param name="response">What is said of it so far.</param>
    /// <param name="cancellation">Ends it for reasons other than a request to cancel it. The token may outlive the response.</param>
    /// <param name="ended">Called when it is disposed.</param>
    public RunningResponse(string key, ResponseBody response, CancellationToken cancellation, Action ended)
    {
        (Key, Response, _ended) = (key, response, ended);
        _registration = cancellation.UnsafeRegister(static source => ((CancellationTokenSource)source!).Cancel(), _cancellation);
    }

    public string Key { get; }

    public ResponseBody Response { get; }

    /// <summary>Cancelled on request, or when the client is gone.</summary>
    public CancellationToken Token => _cancellation.Token;

    public bool WasCancelled { get; private set; }

    /// <summary>Ends the response and waits for how it ended.</summary>
    public async Task<ResponseBody> CancelAsync()
    {
        WasCancelled = true;
        await _cancellation.CancelAsync().ConfigureAwait(false);
        return await _finished.Task.ConfigureAwait(false);
    }

    public void Dispose()
    {
        _registration.Unregister();
        _ended();
        _finished.TrySetResult(Response);
    }
}
