using System.Buffers;
using System.IO.Pipelines;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>
/// A response that is written piece by piece. The status is sent with the first piece, so that until then an error is an honest one. A client that does not take what is written within
/// the time it has is cut off, so that it holds neither memory nor the model.
/// </summary>
/// <remarks>Used by one writer at a time.</remarks>
internal abstract class ResponseStream(HttpContext http, GemmaServerOptions options, string contentType) : IDisposable
{
    private const int MaxUnflushedBytes = 16 * 1024;

    private readonly PipeWriter _output = http.Response.BodyWriter;
    private Utf8JsonWriter? _json;

    /// <summary>True if the status was sent.</summary>
    public bool HasStarted { get; private set; }

    /// <summary>Cancelled when the client is gone.</summary>
    public CancellationToken Cancellation => http.RequestAborted;

    public GemmaServerOptions Options => options;

    protected IBufferWriter<byte> Output => _output;

    /// <summary>True if the buffer should be sent now: a source that never waits would otherwise fill the memory.</summary>
    public bool IsFull => _output.UnflushedBytes > MaxUnflushedBytes;

    /// <summary>Sends status and headers with what comes next.</summary>
    public void Start()
    {
        if (HasStarted)
        {
            return;
        }

        HasStarted = true;
        http.Response.ContentType = contentType;
        http.Response.Headers.CacheControl = "no-cache,no-store";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // proxies that collect answers before they pass them on
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
    }

    /// <summary>Writes what tells client and proxies that the answer still comes.</summary>
    public abstract void WriteHeartbeat();

    /// <summary>Sends the buffered text.</summary>
    public ValueTask FlushAsync()
    {
        ValueTask<FlushResult> flushing = _output.FlushAsync(Cancellation);
        if (!flushing.IsCompletedSuccessfully)
        {
            return new ValueTask(WaitAsync(flushing.AsTask()));
        }

        _ = flushing.Result;
        return ValueTask.CompletedTask;
    }

    private async Task WaitAsync(Task<FlushResult> flushing)
    {
        try
        {
            await flushing.WaitAsync(options.SlowClientTimeout).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            http.Abort();
            throw new OperationCanceledException($"The client did not take what was written within {options.SlowClientTimeout.TotalSeconds:0.#} s; its connection was closed.");
        }
    }

    /// <summary>Writes a value as JSON.</summary>
    protected void WriteJson<T>(T value, JsonTypeInfo<T> type)
    {
        if (_json is null)
        {
            _json = new Utf8JsonWriter(_output, new JsonWriterOptions { Encoder = type.Options.Encoder, SkipValidation = true });
        }
        else
        {
            _json.Reset(_output);
        }

        JsonSerializer.Serialize(_json, value, type);
        _json.Flush();
    }

    public void Dispose() => _json?.Dispose();
}

/// <summary>Server-sent events. Heartbeats are comments, which every reader of the format skips.</summary>
internal sealed class EventStream(HttpContext http, GemmaServerOptions options) : ResponseStream(http, options, "text/event-stream; charset=utf-8")
{
    /// <summary>Writes an event without a name, as OpenAI's chat completions are.</summary>
    public void Write<T>(T data, JsonTypeInfo<T> type)
    {
        Start();
        Output.Write("data: "u8);
        WriteJson(data, type);
        Output.Write("\n\n"u8);
    }

    /// <summary>Writes an event with a name.</summary>
    public void Write<T>(ReadOnlySpan<byte> name, T data, JsonTypeInfo<T> type)
    {
        Start();
        Output.Write("event: "u8);
        Output.Write(name);
        Output.Write("\n"u8);
        Write(data, type);
    }

    /// <summary>Writes an event whose data are no JSON.</summary>
    public void WriteText(ReadOnlySpan<byte> data)
    {
        Start();
        Output.Write("data: "u8);
        Output.Write(data);
        Output.Write("\n\n"u8);
    }

    public override void WriteHeartbeat()
    {
        Start();
        Output.Write(": ping\n\n"u8);
    }
}

/// <summary>Newline-delimited JSON. Heartbeats are white space before the next line's value: an empty line is no JSON to clients that read each line.</summary>
internal sealed class JsonLineStream(HttpContext http, GemmaServerOptions options) : ResponseStream(http, options, "application/x-ndjson")
{
    public void Write<T>(T line, JsonTypeInfo<T> type)
    {
        Start();
        WriteJson(line, type);
        Output.Write("\n"u8);
    }

    public override void WriteHeartbeat()
    {
        Start();
        Output.Write(" "u8);
    }
}
