using System.Globalization;
using System.Text.Json;
using System.Threading.RateLimiting;
using Gemma.Extensions.AI.AspNetCore;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>ASP.NET Core's own conventions on mapped APIs: what they refuse is said in the form of the API that was asked.</summary>
public class RouteGroupTests
{
    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task RateLimitsOfTheApplicationAreSaidByTheApi(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddChatClient(new ScriptedChatClient(_ => ["Hi"]));
            services.AddRateLimiter(limits =>
            {
                limits.AddPolicy("per caller", http => RateLimitPartition.GetFixedWindowLimiter(
                    http.Request.Headers["x-name"].ToString(), _ => new FixedWindowRateLimiterOptions { PermitLimit = 2, Window = TimeSpan.FromHours(1), AutoReplenishment = false }));
                limits.OnRejected = (rejected, _) => new ValueTask(GemmaServerErrors.WriteAsync(
                    rejected.HttpContext, StatusCodes.Status429TooManyRequests, "Two questions an hour.", rejected.Lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan wait) ? wait : null));
            });
        }, app =>
        {
            app.UseRouting();
            app.UseRateLimiter();
            foreach (Func<IEndpointRouteBuilder, string, IEndpointConventionBuilder> map in (Func<IEndpointRouteBuilder, string, IEndpointConventionBuilder>[])
                [GemmaServerEndpointRouteBuilderExtensions.MapOpenAI, GemmaServerEndpointRouteBuilderExtensions.MapAnthropic])
            {
                map(app, "/v1").RequireRateLimiting("per caller");
            }

            app.MapOllama().RequireRateLimiting("per caller");
        });
        foreach (bool streams in (bool[])[false, true])
        {
            server.Http.DefaultRequestHeaders.Remove("x-name");
            server.Http.DefaultRequestHeaders.Add("x-name", $"caller {streams}");
            for (int i = 0; i < 3; i++)
            {
                using HttpResponseMessage response = await server.PostAsync(api.Path, api.Body("any", "Hello!", 4, streams));
                Assert.Equal(i < 2 ? 200 : 429, (int)response.StatusCode);
                if (i == 2)
                {
                    Assert.InRange(int.Parse(response.Headers.GetValues("Retry-After").Single(), CultureInfo.InvariantCulture), 1, 3600);
                    Assert.Equal("application/json", response.Content.Headers.ContentType!.MediaType);
                    Assert.Equal("Two questions an hour.", api.Error(JsonElement.Parse(await response.Content.ReadAsStringAsync())));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AuthorisationOfARouteGroupIsSaidByTheApi(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddChatClient(new ScriptedChatClient(_ => ["Hi"]));
            services.AddAuthentication().AddGemmaApiKeys(keys =>
            {
                keys.Keys.Add("right");
                keys.Keys.Add("other");
            });
            services.AddAuthorizationBuilder().AddPolicy("nobody", policy => policy.RequireAuthenticatedUser().RequireClaim("role", "owner"));
        }, app =>
        {
            app.UseAuthentication();
            app.UseAuthorization();
            ApiForm.MapAll(app.MapGroup("/team").RequireAuthorization());
            ApiForm.MapAll(app.MapGroup("/closed").RequireAuthorization("nobody"));
        });
        foreach ((string path, string? key, int expected) in ((string, string?, int)[])[("team", null, 401), ("team", "wrong", 401), ("team", "right", 200), ("team", "other", 200), ("closed", "right", 403), ("closed", null, 401)])
        {
            server.Http.DefaultRequestHeaders.Authorization = key is null ? null : new("Bearer", key);
            using HttpResponseMessage response = await server.PostAsync($"{path}/{api.Path}", api.Body("any", "Hello!", 4, false));
            Assert.Equal(expected, (int)response.StatusCode);
            if (expected != 200)
            {
                Assert.Contains("key", api.Error(JsonElement.Parse(await response.Content.ReadAsStringAsync())), StringComparison.Ordinal);
                Assert.Equal(expected == 401, response.Headers.WwwAuthenticate.Count > 0);
            }
        }
    }

    /// <summary>A key's own name is the caller's, so that responses are kept apart by key.</summary>
    [Fact]
    public async Task AResponseOfAnotherKeyIsNotFound()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddChatClient(new ScriptedChatClient(_ => ["Hi"]));
            services.AddAuthentication().AddGemmaApiKeys(keys =>
            {
                keys.Keys.Add("first");
                keys.Keys.Add("second");
            });
            services.AddAuthorization();
        }, app =>
        {
            app.UseAuthentication();
            app.UseAuthorization();
            app.MapOpenAI().RequireAuthorization();
        });
        server.Http.DefaultRequestHeaders.Authorization = new("Bearer", "first");
        (_, JsonElement created) = await server.AskAsync("v1/responses", """{"input":"a"}""");
        string path = $"v1/responses/{created.GetProperty("id").GetString()}";
        Assert.Equal(200, (await server.GetAsync(path)).Status);
        server.Http.DefaultRequestHeaders.Authorization = new("Bearer", "second");
        Assert.Equal(404, (await server.GetAsync(path)).Status);
        Assert.Equal(404, (await server.AskAsync("v1/responses", $$"""{"input":"b","previous_response_id":"{{path[13..]}}"}""")).Status);
    }
}
