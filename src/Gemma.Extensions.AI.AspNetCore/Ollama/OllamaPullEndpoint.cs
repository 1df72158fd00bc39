using System.Threading.Channels;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Hub;
using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary><c>POST /api/pull</c>: downloads a model of the hub into the cache, where the application allows it.</summary>
internal static class OllamaPullEndpoint
{
    private const string HubHost = "hf.co/";
    private const string LongHubHost = "huggingface.co/";

    private static readonly OllamaPullStatus s_success = new() { Status = "success" };

    public static async Task RunAsync(HttpContext http, ServerCore core)
    {
        OllamaModelRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaModelRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        string name = body.Model ?? body.Name ?? "";
        if (core.Models.Choices().Any(choice => string.Equals(choice.Name, OllamaNames.Untagged(name), StringComparison.OrdinalIgnoreCase) && choice.Model.Facts is not null))
        {
            await AnswerAsync(http, core, body).ConfigureAwait(false); // it is there
            return;
        }

        if (!core.Options.AllowPull)
        {
            throw new ServerErrorException(ErrorKind.Forbidden, $"This server downloads no models. Ask whoever runs it to get '{name}', or to allow it ({nameof(GemmaServerOptions)}.{nameof(GemmaServerOptions.AllowPull)}).");
        }

        string reference = Read(name);
        if (body.Stream == false)
        {
            await GemmaModelHub.EnsureAsync(reference, core.Options.Hub, null, http.RequestAborted).ConfigureAwait(false);
            core.Models.Pulled(reference);
            await AnswerAsync(http, core, body).ConfigureAwait(false);
            return;
        }

        using JsonLineStream stream = new(http, core.Options);
        await DownloadAsync(http, core, stream, reference).ConfigureAwait(false);
    }

    /// <summary>Nothing was left to download, or the client did not ask for progress.</summary>
    private static async Task AnswerAsync(HttpContext http, ServerCore core, OllamaModelRequest body)
    {
        if (body.Stream == false)
        {
            await ApiEndpoint.WriteJsonAsync(http, s_success, OllamaJson.Wire.OllamaPullStatus).ConfigureAwait(false);
            return;
        }

        using JsonLineStream stream = new(http, core.Options);
        stream.Write(s_success, OllamaJson.Wire.OllamaPullStatus);
        await stream.FlushAsync().ConfigureAwait(false);
    }

    private static async Task DownloadAsync(HttpContext http, ServerCore core, JsonLineStream stream, string reference)
    {
        Channel<GemmaDownloadProgress> reports = Channel.CreateBounded<GemmaDownloadProgress>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropOldest });
        Task work = GemmaModelHub.EnsureAsync(reference, core.Options.Hub, new ToChannel(reports.Writer), http.RequestAborted);
        _ = work.ContinueWith(_ => reports.Writer.TryComplete(), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        try
        {
            await foreach (GemmaDownloadProgress report in reports.Reader.ReadAllAsync(http.RequestAborted).ConfigureAwait(false))
            {
                if (!stream.HasStarted)
                {
                    stream.Write(new OllamaPullStatus { Status = "pulling manifest" }, OllamaJson.Wire.OllamaPullStatus);
                }

                stream.Write(new OllamaPullStatus { Status = $"pulling {report.File}", Digest = report.File, Total = report.FileTotalBytes, Completed = report.FileCompletedBytes }, OllamaJson.Wire.OllamaPullStatus);
                await stream.FlushAsync().ConfigureAwait(false);
            }

            await work.ConfigureAwait(false);
            core.Models.Pulled(reference);
            stream.Write(s_success, OllamaJson.Wire.OllamaPullStatus);
        }
        catch (Exception exception) when (stream.HasStarted && !http.RequestAborted.IsCancellationRequested)
        {
            stream.Write(new OllamaError { Error = ApiEndpoint.ErrorOf(exception, core.Logger, http.Request.Path).Message }, OllamaJson.Wire.OllamaError);
        }
        finally
        {
            await work.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // its exception has been read
        }

        await stream.FlushAsync().ConfigureAwait(false);
    }

    /// <summary>A model of the hub by its name there, as Ollama writes it or without the host. Addresses are no names: nobody may have this server fetch whatever they like.</summary>
    private static string Read(string name)
    {
        string bare = OllamaNames.Untagged(name)!;
        bare = bare.StartsWith(HubHost, StringComparison.OrdinalIgnoreCase) ? bare[HubHost.Length..]
            : bare.StartsWith(LongHubHost, StringComparison.OrdinalIgnoreCase) ? bare[LongHubHost.Length..]
            : bare;
        HubReference reference = HubReference.Parse(bare);
        return reference.Url is null ? HubReference.Prefix + reference : throw new ArgumentException($"'{name}' is an address, expected a model of the hub: owner/name or owner/name:TYPE.");
    }

    /// <summary>The newest report is enough: a client that reads slowly does not slow the download.</summary>
    private sealed class ToChannel(ChannelWriter<GemmaDownloadProgress> reports) : IProgress<GemmaDownloadProgress>
    {
        public void Report(GemmaDownloadProgress value) => reports.TryWrite(value);
    }
}
