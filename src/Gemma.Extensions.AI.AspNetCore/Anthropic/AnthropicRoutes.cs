using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>The routes of Anthropic's API.</summary>
internal static class AnthropicRoutes
{
    public static void Map(IEndpointRouteBuilder routes, ServerCore core)
    {
        ApiEndpoint.Map(routes, HttpMethods.Post, "/messages", AnthropicDialect.Instance, core.Logger, http => MessagesEndpoint.AnswerAsync(http, core));
        ApiEndpoint.Map(routes, HttpMethods.Post, "/messages/count_tokens", AnthropicDialect.Instance, core.Logger, http => MessagesEndpoint.CountAsync(http, core));
    }
}
