using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>Serialization shared by the bodies of all APIs.</summary>
internal static class WireJson
{
    /// <summary>
    /// Names in snake case, members that are null are absent, no more depth than requests may have. Letters are written as UTF-8: no answer is ever part of an HTML page. Options belong to the
    /// context that they are given to, so each context needs its own.
    /// </summary>
    /// <param name="depth">Most levels.</param>
    public static JsonSerializerOptions Options(int depth = RequestBody.MaxDepth) => new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        MaxDepth = depth,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };
}
