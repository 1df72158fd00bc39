using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The routes of Ollama's API.</summary>
internal static class OllamaRoutes
{
    /// <summary>The version of Ollama whose API this is. Clients compare it, and refuse older ones.</summary>
    private const string ApiVersion = "0.12.0";

    public static void Map(IEndpointRouteBuilder routes, ServerCore core)
    {
        Post("/chat", OllamaChatEndpoints.ChatAsync);
        Post("/generate", OllamaChatEndpoints.GenerateAsync);
        Post("/embed", OllamaEmbedEndpoints.EmbedAsync);
        Post("/embeddings", OllamaEmbedEndpoints.EmbedOneAsync);
        Get("/tags", OllamaModelEndpoints.ListAsync);
        Get("/ps", OllamaModelEndpoints.ListLoadedAsync);
        Post("/show", OllamaModelEndpoints.ShowAsync);
        Post("/pull", OllamaPullEndpoint.RunAsync);
        Get("/version", static (http, _) => ApiEndpoint.WriteJsonAsync(http, new OllamaVersion { Version = ApiVersion }, OllamaJson.Wire.OllamaVersion));

        void Post(string path, Func<HttpContext, ServerCore, Task> handler) => Map(HttpMethods.Post, path, handler);

        void Get(string path, Func<HttpContext, ServerCore, Task> handler) => Map(HttpMethods.Get, path, handler);

        void Map(string method, string path, Func<HttpContext, ServerCore, Task> handler) => ApiEndpoint.Map(routes, method, path, OllamaDialect.Instance, core.Logger, http => handler(http, core));
    }
}
