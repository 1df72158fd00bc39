using System.Diagnostics;
using System.Net.Http.Json;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The server of tests/Gemma.Extensions.AI.AotServer, published with NativeAOT where clang is installed: without a warning about the libraries, and it answers as the one that is compiled at run time.</summary>
public partial class AheadOfTimeTests
{
    [Fact]
    public async Task PublishedAheadOfTimeTheServerAnswersByAllApis()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The program is linked as on Linux.");
        Assert.SkipUnless((Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, "clang"))), "clang is not installed, which NativeAOT links with (Debian: clang, zlib1g-dev).");
        using TempDirectory folder = new();
        string project = Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.AotServer", "AotServer.csproj"), target = RuntimeInformation.RuntimeIdentifier;
        string libraries = Directory.CreateDirectory(folder.File("libraries")).FullName + Path.DirectorySeparatorChar;
        foreach (string library in (string[])["Gemma.Extensions.AI.dll", "Gemma.Extensions.AI.AspNetCore.dll", "Gemma.Extensions.AI.Nano.dll"])
        {
            File.Copy(Path.Combine(AppContext.BaseDirectory, library), libraries + library); // as they are now: whoever builds meanwhile writes them again
        }

        string[] settings = ["-r", target, "--artifacts-path", folder.File("artifacts"), $"-p:Libraries={libraries}"];
        (int exit, string said) = await DotnetAsync(["restore", project, .. settings]);
        Assert.SkipUnless(exit == 0, $"The packages of the compiler could not be restored: {said}");
        (exit, said) = await DotnetAsync(["publish", project, "-c", "Release", "--no-restore", .. settings, "-o", folder.File("out")]);
        Assert.True(exit == 0, said);
        Assert.DoesNotMatch(OwnWarning(), said);

        using Process process = Process.Start(new ProcessStartInfo(folder.File("out/AotServer")) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            Task<string> complaints = process.StandardError.ReadToEndAsync();
            string address = await process.StandardOutput.ReadLineAsync().WaitAsync(TimeSpan.FromMinutes(2)) ?? await complaints;
            Assert.True(Uri.TryCreate(address, UriKind.Absolute, out Uri? uri), address);
            using HttpClient http = new() { BaseAddress = uri, Timeout = TimeSpan.FromMinutes(2) };
            await using ModelServer same = await ModelServer.StartNanoAsync(map: ApiForm.MapAll);
            HashSet<string> answers = [];
            foreach (ApiForm api in ApiForm.All)
            {
                answers.Add(api.Read(await PostAsync(http, api.Path, api.Body("nano", "Hello! Who are you?", 24, false))));
                string streamed = await (await http.PostAsync(api.Path, Json(api.Body("nano", "Hello! Who are you?", 24, true)))).Content.ReadAsStringAsync();
                Assert.Contains(api.Name switch { "OpenAI" => "data: [DONE]", "Responses" => "event: response.", "Ollama" => "\"done\":true", _ => "event: message_stop" }, streamed, StringComparison.Ordinal);
            }

            Assert.NotEmpty(Assert.Single(answers)); // one model, whichever API; its kernels are not those that are compiled at run time, whose last bits differ
            await CallsAndSchemasAsync(http);
            await OtherEndpointsAsync(http, same);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
    }

    /// <summary>Grammars, calls and refusals: what is read and written by generated code.</summary>
    private static async Task CallsAndSchemasAsync(HttpClient http)
    {
        JsonElement called = await PostAsync(http, "v1/chat/completions", """
            {"messages":[{"role":"user","content":"Which city?"}],"tool_choice":"required","parallel_tool_calls":false,"logprobs":true,"top_logprobs":1,
             "tools":[{"type":"function","function":{"name":"pick","parameters":{"type":"object","properties":{"city":{"enum":["Paris","Rome"]}},"required":["city"]}}}]}
            """);
        JsonElement call = called.GetProperty("choices")[0].GetProperty("message").GetProperty("tool_calls")[0].GetProperty("function");
        Assert.Contains(JsonElement.Parse(call.GetProperty("arguments").GetString()!).GetProperty("city").GetString(), (string[])["Paris", "Rome"]);
        JsonElement formed = await PostAsync(http, "api/chat", """{"model":"nano","stream":false,"messages":[{"role":"user","content":"Hi"}],"format":{"type":"object","properties":{"a":{"const":1}},"required":["a"]}}""");
        Assert.Equal(1, JsonElement.Parse(formed.GetProperty("message").GetProperty("content").GetString()!).GetProperty("a").GetInt32());
        using HttpResponseMessage refused = await http.PostAsync("v1/messages", Json("{}"));
        Assert.Equal(400, (int)refused.StatusCode);
        Assert.Equal("error", JsonElement.Parse(await refused.Content.ReadAsStringAsync()).GetProperty("type").GetString());
    }

    private static async Task OtherEndpointsAsync(HttpClient http, ModelServer same)
    {
        const string Embedded = """{"model":"nano","input":["A cat"]}""";
        (_, JsonElement expected) = await same.AskAsync("v1/embeddings", Embedded);
        float[] one = Vector(expected), other = Vector(await PostAsync(http, "v1/embeddings", Embedded));
        Assert.True(one.Zip(other, (a, b) => a * b).Sum() > 0.999f); // of other kernels, perhaps
        Assert.Equal("gemma2-nano", (await http.GetFromJsonAsync<JsonElement>("v1/models")).GetProperty("data")[0].GetProperty("id").GetString());
        Assert.Equal("gguf", (await PostAsync(http, "api/show", """{"model":"nano"}""")).GetProperty("details").GetProperty("format").GetString());
        JsonElement created = await PostAsync(http, "v1/responses", """{"input":"Hi","max_output_tokens":4}""");
        JsonElement followed = await PostAsync(http, "v1/responses", $$"""{"input":"And?","max_output_tokens":4,"previous_response_id":"{{created.GetProperty("id").GetString()}}"}""");
        Assert.Equal(created.GetProperty("id").GetString(), followed.GetProperty("previous_response_id").GetString());
        Assert.StartsWith("3.1", (await http.GetFromJsonAsync<JsonElement>("v1/openapi.json")).GetProperty("openapi").GetString(), StringComparison.Ordinal);

        static float[] Vector(JsonElement answer) => [.. answer.GetProperty("data")[0].GetProperty("embedding").EnumerateArray().Select(number => number.GetSingle())];
    }

    private static StringContent Json(string body) => new(body, Encoding.UTF8, "application/json");

    private static async Task<JsonElement> PostAsync(HttpClient http, string path, string body)
    {
        using HttpResponseMessage response = await http.PostAsync(path, Json(body));
        string text = await response.Content.ReadAsStringAsync();
        Assert.True(response.IsSuccessStatusCode, $"{path}: {text}");
        return JsonElement.Parse(text);
    }

    /// <summary>The program that runs these tests, whatever stands first in PATH. No build server serves it, which others could hold up, stop, or be held up by.</summary>
    private static async Task<(int Exit, string Output)> DotnetAsync(string[] arguments)
    {
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(new ProcessStartInfo(
            Path.GetFullPath(Path.Combine(RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "dotnet")), [.. arguments, "-nologo", "--disable-build-servers"]), TimeSpan.FromMinutes(10));
        return (exit, output + errors);
    }

    /// <summary>A warning of trimming or of compilation ahead of time about code of the libraries.</summary>
    [GeneratedRegex(@"warning IL\d+:[^\n]*Gemma\.Extensions\.AI")]
    private static partial Regex OwnWarning();
}
