using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The routes of OpenAI's API.</summary>
internal static class OpenAIRoutes
{
    public static void Map(IEndpointRouteBuilder routes, ServerCore core)
    {
        Post("/chat/completions", ChatCompletionEndpoint.RunAsync);
        Get("/models", ListModelsAsync);
        Get("/models/{**id}", DescribeModelAsync);

        void Post(string path, Func<HttpContext, ServerCore, Task> handler) => ApiEndpoint.Map(routes, HttpMethods.Post, path, OpenAIDialect.Instance, core.Logger, http => handler(http, core));

        void Get(string path, Func<HttpContext, ServerCore, Task> handler) => ApiEndpoint.Map(routes, HttpMethods.Get, path, OpenAIDialect.Instance, core.Logger, http => handler(http, core));
    }

    private static Task ListModelsAsync(HttpContext http, ServerCore core) =>
        ApiEndpoint.WriteJsonAsync(http, new ModelList { Data = [.. core.Models.Choices().Select(Describe)] }, OpenAIJson.Wire.ModelList);

    private static Task DescribeModelAsync(HttpContext http, ServerCore core)
    {
        string id = (string)http.Request.RouteValues["id"]!;
        foreach (ModelChoice choice in core.Models.Choices())
        {
            if (string.Equals(choice.Name, id, StringComparison.OrdinalIgnoreCase) || (choice.Adapter is null && string.Equals(choice.Model.OtherName, id, StringComparison.OrdinalIgnoreCase)))
            {
                return ApiEndpoint.WriteJsonAsync(http, Describe(choice), OpenAIJson.Wire.ModelDescription);
            }
        }

        throw new ServerErrorException(new(ErrorKind.NotFound, $"There is no model '{id}'. Models: {string.Join(", ", core.Models.Choices().Select(static choice => choice.Name))}.", "model_not_found", "model"));
    }

    private static ModelDescription Describe(ModelChoice choice) => new() { Id = choice.Name, Created = choice.Model.Created.ToUnixTimeSeconds(), OwnedBy = choice.Model.Owner };
}
