using System.Net;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Timeouts and retries.</summary>
internal static class HubPatience
{
    private static readonly TimeSpan s_maxDelay = TimeSpan.FromSeconds(60);

    /// <summary>Sends a request again where no answer came, or one that says to come back later: 408, 429, 5xx.</summary>
    public static HttpMessageHandler Handler(GemmaHubOptions options, HttpMessageHandler network)
    {
        HeaderTimeoutHandler impatient = new(options.StallWindow) { InnerHandler = network };
        return options.Retries == 0 ? impatient : new RetryHandler(options, () => impatient.HasAnswer) { InnerHandler = impatient };
    }

    /// <summary>Opens a connection again that broke while it brought a body; what fails before the body is tried again by <see cref="Handler"/>.</summary>
    public static async Task<T> RunAsync<T>(GemmaHubOptions options, Func<CancellationToken, Task<T>> fetch, CancellationToken cancellationToken)
    {
        for (int retry = 0; ; retry++)
        {
            string reason;
            try
            {
                return await fetch(cancellationToken).ConfigureAwait(false);
            }
            catch (IOException e) when (retry < options.Retries && !DiskFull.Is(e)) // a full disk is not the connection's fault
            {
                reason = e.Message;
            }

            await WaitAsync(options, retry, options.Retries, Backoff(retry, options), reason, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>The wait that the server asks for; null if it gives none.</summary>
    public static TimeSpan? RetryAfter(HttpResponseMessage? response) => response?.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } => date - DateTimeOffset.UtcNow,
        _ => null,
    };

    /// <summary>Twice as long each time, and a quarter more or less, so that many clients of a server that was down do not come back at once.</summary>
    private static TimeSpan Backoff(int retry, GemmaHubOptions options)
    {
        double wait = Math.Min(options.RetryDelay.TotalSeconds * Math.Pow(2, retry), s_maxDelay.TotalSeconds);
        return TimeSpan.FromSeconds(wait * (0.75 + 0.5 * Random.Shared.NextDouble()));
    }

    private static Task WaitAsync(GemmaHubOptions options, int retry, int retries, TimeSpan wait, string reason, CancellationToken cancellationToken)
    {
        options.Tell(new GemmaHubRetry(reason, retry + 1, retries, wait));
        return Task.Delay(wait, cancellationToken);
    }

    /// <summary>The wait that a server asks for, as far as anyone would wait; null, the exponential one, where it asks for none.</summary>
    private static TimeSpan? Capped(TimeSpan? asked, GemmaHubOptions options) =>
        asked is not { } wait || wait <= TimeSpan.Zero ? null : wait < options.StallWindow ? wait : options.StallWindow;

    /// <summary>Sends requests without a body again.</summary>
    /// <param name="options">How often.</param>
    /// <param name="hasAnswer">Whether the network ever brought one.</param>
    private sealed class RetryHandler(GemmaHubOptions options, Func<bool> hasAnswer) : DelegatingHandler
    {
        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            for (int retry = 0; ; retry++)
            {
                TimeSpan? asked = null;
                int retries = options.Retries;
                string reason;
                try
                {
                    HttpResponseMessage response = await base.SendAsync(request, cancellationToken).ConfigureAwait(false);
                    if (retry == options.Retries || !IsTransient(response.StatusCode))
                    {
                        return response;
                    }

                    asked = Capped(RetryAfter(response), options);
                    reason = $"'{request.RequestUri?.GetLeftPart(UriPartial.Path)}' answered {(int)response.StatusCode}.";
                    response.Dispose();
                }
                catch (HttpRequestException e) when (retry < (retries = RetriesAfter(e)))
                {
                    reason = e.Message;
                }

                await WaitAsync(options, retry, retries, asked ?? Backoff(retry, options), reason, cancellationToken).ConfigureAwait(false);
            }
        }

        /// <summary>Fewer where no connection came about at all, and none ever did.</summary>
        private int RetriesAfter(HttpRequestException e) =>
            !hasAnswer() && e.HttpRequestError is (HttpRequestError.NameResolutionError or HttpRequestError.ConnectionError) ? Math.Min(options.Retries, GemmaHubOptions.UnreachableRetries) : options.Retries;

        private static bool IsTransient(HttpStatusCode status) => status is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError;
    }

    /// <summary>Gives a connection up that brings no headers.</summary>
    private sealed class HeaderTimeoutHandler(TimeSpan window) : DelegatingHandler
    {
        public bool HasAnswer { get; private set; }

        protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            patience.CancelAfter(window);
            try
            {
                HttpResponseMessage response = await base.SendAsync(request, patience.Token).ConfigureAwait(false);
                HasAnswer = true;
                return response;
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                throw new HttpRequestException($"'{request.RequestUri?.GetLeftPart(UriPartial.Path)}' did not answer in {window.TotalSeconds:0.#} s.");
            }
        }
    }
}

/// <summary>Reads a body as long as it brings <see cref="GemmaHubOptions.MinimumBytesPerWindow"/> in every <see cref="GemmaHubOptions.StallWindow"/>.</summary>
internal sealed class PatientReader : IDisposable
{
    private readonly Stream _body;
    private readonly GemmaHubOptions _options;
    private readonly CancellationToken _cancellationToken;
    private readonly CancellationTokenSource _patience;
    private long _windowStart = Environment.TickCount64;
    private long _windowBytes;

    private PatientReader(Stream body, GemmaHubOptions options, CancellationToken cancellationToken)
    {
        (_body, _options, _cancellationToken) = (body, options, cancellationToken);
        _patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        _patience.CancelAfter(options.StallWindow);
    }

    public static async Task<PatientReader> OpenAsync(HttpResponseMessage response, GemmaHubOptions options, CancellationToken cancellationToken) =>
        new(await response.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false), options, cancellationToken);

    /// <summary>Reads some bytes; 0 at the end.</summary>
    /// <exception cref="IOException">The connection brings too little.</exception>
    public async ValueTask<int> ReadAsync(Memory<byte> buffer)
    {
        try
        {
            int read = await _body.ReadAsync(buffer, _patience.Token).ConfigureAwait(false);
            _windowBytes += read;
            if (_windowBytes >= _options.MinimumBytesPerWindow)
            {
                _patience.CancelAfter(_options.StallWindow);
                (_windowBytes, _windowStart) = (0, Environment.TickCount64);
            }

            return read;
        }
        catch (OperationCanceledException) when (!_cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"The connection brought {_windowBytes:N0} bytes in {(Environment.TickCount64 - _windowStart) / 1000.0:F1} s.");
        }
    }

    public void Dispose()
    {
        _patience.Dispose();
        _body.Dispose();
    }
}
