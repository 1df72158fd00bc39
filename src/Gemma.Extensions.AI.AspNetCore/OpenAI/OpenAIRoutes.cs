using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Template;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The routes of OpenAI's API, and of what the servers that speak it have beside it.</summary>
internal sealed class OpenAIRoutes
{
    private readonly IEndpointRouteBuilder _routes;
    private readonly ServerCore _core;
    private readonly string _prefix;
    private readonly List<ApiOperation> _operations = [];

    private OpenAIRoutes(IEndpointRouteBuilder routes, ServerCore core, string prefix)
    {
        _routes = routes;
        _core = core;
        _prefix = prefix;
    }

    public static void Map(IEndpointRouteBuilder routes, ServerCore core, ResponseStore store, string prefix) => new OpenAIRoutes(routes, core, prefix).Map(new ResponseEndpoint(store));

    private void Map(ResponseEndpoint responses)
    {
        OpenAIJson json = OpenAIJson.Wire;
        Post("/chat/completions", "Answers a conversation.", json.ChatCompletionRequest, json.ChatCompletion, ChatCompletionEndpoint.RunAsync);
        Post("/completions", "Goes on from a text as it stands.", json.TextCompletionRequest, json.TextCompletion, TextCompletionEndpoint.RunAsync);
        Post("/responses", "Answers an input, and keeps it so that another can follow.", json.ResponseRequest, json.ResponseBody, responses.CreateAsync);
        Post("/responses/input_tokens", "Counts the tokens of an input.", json.ResponseRequest, json.InputTokenCount, responses.CountTokensAsync);
        Add(HttpMethods.Get, "/responses/{id}", "A response that was kept or is being answered.", null, json.ResponseBody, responses.GetAsync);
        Add(HttpMethods.Delete, "/responses/{id}", "Forgets a response.", null, json.DeletedResponse, responses.DeleteAsync);
        Add(HttpMethods.Post, "/responses/{id}/cancel", "Ends a response that is being answered.", null, json.ResponseBody, responses.CancelAsync);
        Add(HttpMethods.Get, "/responses/{id}/input_items", "What a response answered.", null, json.InputItemList, responses.ListInputAsync);
        Post("/embeddings", "Embeds texts.", json.EmbeddingRequest, json.EmbeddingList, EmbeddingEndpoint.RunAsync);
        Post("/rerank", "Orders documents by their similarity to a question.", json.RerankRequest, json.RerankList, RerankEndpoint.RunAsync);
        Post("/moderations", "What a guard says of texts.", json.ModerationRequest, json.ModerationList, ModerationEndpoint.RunAsync);
        Post("/tokenize", "The tokens of a text or of a conversation.", json.TokenizeRequest, json.TokenList, TokenEndpoints.TokenizeAsync);
        Post("/detokenize", "The text of tokens.", json.DetokenizeRequest, json.PromptText, TokenEndpoints.DetokenizeAsync);
        Post("/apply-template", "The prompt that a conversation becomes.", json.TokenizeRequest, json.PromptText, TokenEndpoints.ApplyTemplateAsync);
        Add(HttpMethods.Get, "/models", "The models that are served, with their adapters.", null, json.ModelList, ListModelsAsync);
        Add(HttpMethods.Get, "/models/{**id}", "A model that is served.", null, json.ModelDescription, DescribeModelAsync);
        ApiEndpoint.Map(_routes, HttpMethods.Get, "/openapi.json", OpenAIDialect.Instance, _core.Logger, DescribeAsync);
        if (_prefix.Trim('/').Length > 0)
        {
            // Unmapped paths below the prefix: clients expect JSON even for these.
            _routes.Map("/{**path}", http => ApiEndpoint.RunAsync(http, OpenAIDialect.Instance, _core.Logger, RefuseAsync)).WithMetadata(OpenAIDialect.Instance)
                .Add(static endpoint => ((RouteEndpointBuilder)endpoint).Order = int.MaxValue);
        }
    }

    private void Post(string path, string summary, JsonTypeInfo request, JsonTypeInfo response, Func<HttpContext, ServerCore, Task> handler) =>
        Add(HttpMethods.Post, path, summary, request, response, handler);

    private void Add(string method, string path, string summary, JsonTypeInfo? request, JsonTypeInfo response, Func<HttpContext, ServerCore, Task> handler)
    {
        _operations.Add(new(method, path, summary, request, response));
        ApiEndpoint.Map(_routes, method, path, OpenAIDialect.Instance, _core.Logger, http => handler(http, _core));
    }

    private Task DescribeAsync(HttpContext http)
    {
        string server = http.Request.PathBase + http.Request.Path.Value![..^"/openapi.json".Length];
        http.Response.ContentType = "application/json";
        return http.Response.WriteAsync(
            ApiDocument.Describe("Gemma.Extensions.AI", server.Length == 0 ? "/" : server, _operations, OpenAIJson.Wire.ErrorBody).ToJsonString(OpenAIJson.Wire.Options), http.RequestAborted);
    }

    private Task RefuseAsync(HttpContext http)
    {
        PathString path = "/" + (http.Request.RouteValues["path"] as string);
        string[] methods = [.. _operations.Where(operation => new TemplateMatcher(TemplateParser.Parse(operation.Path), []).TryMatch(path, [])).Select(static operation => operation.Method)];
        if (methods.Length > 0)
        {
            http.Response.Headers.Allow = string.Join(", ", methods);
        }

        throw new ServerErrorException(methods.Length > 0
            ? new(ErrorKind.MethodNotAllowed, $"{http.Request.Path} is not asked with {http.Request.Method}, but with {string.Join(" or ", methods)}.", "method_not_supported")
            : new(ErrorKind.NotFound, $"There is no {http.Request.Method} {http.Request.Path} here. What there is says {_prefix}/openapi.json.", "unknown_url"));
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
