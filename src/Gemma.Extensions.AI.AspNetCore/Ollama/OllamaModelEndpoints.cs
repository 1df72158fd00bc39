using System.Text.Json.Nodes;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.Hosting;
using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The models: <c>GET /api/tags</c> and <c>/api/ps</c>, <c>POST /api/show</c>.</summary>
internal static class OllamaModelEndpoints
{
    /// <summary>Ollama's word for the architecture.</summary>
    private const string Family = "gemma2";

    /// <summary>The expiry of a model that is never unloaded.</summary>
    private static readonly DateTime s_never = new(2318, 1, 1, 0, 0, 0, DateTimeKind.Utc);

    public static Task ListAsync(HttpContext http, ServerCore core) => ApiEndpoint.WriteJsonAsync(
        http, new OllamaModelList { Models = [.. core.Models.Choices().Select(static choice => Describe(choice))] }, OllamaJson.Wire.OllamaModelList);

    public static Task ListLoadedAsync(HttpContext http, ServerCore core) => ApiEndpoint.WriteJsonAsync(
        http, new OllamaModelList { Models = [.. core.Models.Models.Where(static model => model.Reference?.Loaded is not null).Select(static model => Describe(new(model, null), model.Reference))] }, OllamaJson.Wire.OllamaModelList);

    public static async Task ShowAsync(HttpContext http, ServerCore core)
    {
        OllamaModelRequest body = await RequestBody.ReadAsync(http, OllamaJson.Wire.OllamaModelRequest, core.Options, anyContentType: true).ConfigureAwait(false);
        ModelChoice model = core.Models.Find(OllamaNames.Untagged(body.Model ?? body.Name));
        ModelFacts? facts = model.Model.Facts;
        OllamaModelAnswer answer = new()
        {
            Modelfile = $"FROM {OllamaNames.Of(model)}\n",
            Parameters = facts?.Recommended ?? "",
            Template = facts?.Template ?? "",
            Details = Details(facts),
            ModelInfo = facts is null ? [] : Numbers(facts),
            Capabilities = [.. model.Model.Chat is null ? Array.Empty<string>() : ["completion", "tools"], .. model.Model.Embeddings is null ? Array.Empty<string>() : ["embedding"]],
            ModifiedAt = Modified(model),
        };
        await ApiEndpoint.WriteJsonAsync(http, answer, OllamaJson.Wire.OllamaModelAnswer).ConfigureAwait(false);
    }

    private static OllamaModelEntry Describe(ModelChoice choice, ModelReference? loaded = null)
    {
        ModelFacts? facts = choice.Model.Facts;
        return new()
        {
            Name = OllamaNames.Of(choice),
            ModifiedAt = loaded is null ? Modified(choice) : null,
            Size = facts?.Bytes ?? 0,
            Digest = facts?.Digest ?? new string('0', 64),
            Details = Details(facts),
            ExpiresAt = loaded is null ? null : loaded.UnloadsAt?.UtcDateTime ?? (loaded.KeepAlive is { Ticks: >= 0 } keep && !loaded.IsKept ? DateTime.UtcNow + keep : s_never),
            SizeVram = loaded is null ? null : 0,
            ContextLength = loaded?.Loaded?.ContextLength,
        };
    }

    private static DateTime Modified(ModelChoice choice) => (choice.Model.Facts?.Modified ?? choice.Model.Created).UtcDateTime;

    private static OllamaModelDetails Details(ModelFacts? facts) => new()
    {
        Format = facts?.Format ?? "unknown",
        Family = facts is null ? "unknown" : Family,
        ParameterSize = facts?.ParameterSize ?? "unknown",
        QuantizationLevel = facts?.Quantization ?? "unknown",
    };

    private static JsonObject Numbers(ModelFacts facts) => new()
    {
        ["general.architecture"] = Family,
        ["general.parameter_count"] = facts.Parameters,
        [$"{Family}.context_length"] = facts.ContextLength,
        [$"{Family}.embedding_length"] = facts.HiddenSize,
        [$"{Family}.feed_forward_length"] = facts.FeedForwardSize,
        [$"{Family}.block_count"] = facts.LayerCount,
        [$"{Family}.attention.head_count"] = facts.HeadCount,
        [$"{Family}.attention.head_count_kv"] = facts.KvHeadCount,
        [$"{Family}.vocab_size"] = facts.VocabularySize,
    };
}
