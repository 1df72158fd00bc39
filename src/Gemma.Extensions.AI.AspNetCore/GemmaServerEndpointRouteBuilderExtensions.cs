using Gemma.Extensions.AI.AspNetCore.Anthropic;
using Gemma.Extensions.AI.AspNetCore.Ollama;
using Gemma.Extensions.AI.AspNetCore.OpenAI;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.AspNetCore.Web;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps the HTTP APIs that clients of language models speak.</summary>
public static class GemmaServerEndpointRouteBuilderExtensions
{
    /// <summary>
    /// Maps OpenAI's API over the chat clients and embedding generators of the application's services, which <c>AddGemmaServer</c> has to be called on.
    /// </summary>
    /// <param name="endpoints">The application or a group of routes.</param>
    /// <param name="prefix">What stands before the paths, as clients have it in their base address.</param>
    /// <returns>The group, for <c>.RequireAuthorization()</c>, <c>.RequireRateLimiting(…)</c> and other conventions.</returns>
    /// <exception cref="InvalidOperationException"><c>AddGemmaServer</c> was not called.</exception>
    public static IEndpointConventionBuilder MapOpenAI(this IEndpointRouteBuilder endpoints, string prefix = "/v1")
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(prefix);
        ServerCore core = CoreOf(endpoints, nameof(MapOpenAI));
        RouteGroupBuilder group = endpoints.MapGroup(prefix);
        OpenAIRoutes.Map(group, core, endpoints.ServiceProvider.GetRequiredService<ResponseStore>(), prefix);
        return group;
    }

    /// <summary>
    /// Maps Ollama's API over the chat clients and embedding generators of the application's services, which <c>AddGemmaServer</c> has to be called on.
    /// </summary>
    /// <param name="endpoints">The application or a group of routes.</param>
    /// <param name="prefix">What stands before the paths.</param>
    /// <returns>The group, for <c>.RequireAuthorization()</c>, <c>.RequireRateLimiting(…)</c> and other conventions.</returns>
    /// <exception cref="InvalidOperationException"><c>AddGemmaServer</c> was not called.</exception>
    public static IEndpointConventionBuilder MapOllama(this IEndpointRouteBuilder endpoints, string prefix = "/api")
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(prefix);
        ServerCore core = CoreOf(endpoints, nameof(MapOllama));
        RouteGroupBuilder group = endpoints.MapGroup(prefix);
        OllamaRoutes.Map(group, core);
        return group;
    }

    /// <summary>
    /// Maps Anthropic's Messages API over the chat clients of the application's services, which <c>AddGemmaServer</c> has to be called on.
    /// </summary>
    /// <param name="endpoints">The application or a group of routes.</param>
    /// <param name="prefix">What stands before the paths.</param>
    /// <returns>The group, for <c>.RequireAuthorization()</c>, <c>.RequireRateLimiting(…)</c> and other conventions.</returns>
    /// <exception cref="InvalidOperationException"><c>AddGemmaServer</c> was not called.</exception>
    public static IEndpointConventionBuilder MapAnthropic(this IEndpointRouteBuilder endpoints, string prefix = "/v1")
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(prefix);
        ServerCore core = CoreOf(endpoints, nameof(MapAnthropic));
        RouteGroupBuilder group = endpoints.MapGroup(prefix);
        AnthropicRoutes.Map(group, core);
        return group;
    }

    /// <summary>
    /// Maps a page to chat with the models, which asks OpenAI's API at <c>v1</c> beside it (<see cref="MapOpenAI"/>). Where that wants a key, the page asks for one, so it needs none itself.
    /// </summary>
    /// <param name="endpoints">The application or a group of routes.</param>
    /// <param name="prefix">Where the page is; its own address, with a slash at the end, is what <c>v1</c> is beside.</param>
    /// <returns>The group, for conventions.</returns>
    public static IEndpointConventionBuilder MapGemmaChatPage(this IEndpointRouteBuilder endpoints, string prefix = "")
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(prefix);
        RouteGroupBuilder group = endpoints.MapGroup(prefix);
        ChatPage.Map(group);
        return group;
    }

    private static ServerCore CoreOf(IEndpointRouteBuilder endpoints, string method) => endpoints.ServiceProvider.GetService<ServerCore>()
        ?? throw new InvalidOperationException($"{method} needs services that are not there. Call builder.Services.{nameof(GemmaServerServiceCollectionExtensions.AddGemmaServer)}() before the application is built.");
}
