#!/usr/bin/env bash
# OllamaSharp 5.5.2 as IChatClient of Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29.
#
# A conversation with two calls and their results, as FunctionInvokingChatClient sends it back. The ids of the calls are written as null, and neither message of a result names its
# tool (Ollama's API has "tool_name"): instead the content is a JSON object of OllamaSharp's own with the id that the calls have lost and the result, so the model reads
# {"CallId":…,"Result":…} and not the result. ChatToolMode.RequireAny is not sent. The body has a property "CustomHeaders" that Ollama's API does not know.
#
# Output seen:
#   call   {"function":{"index":null,"name":"GetTemperature","arguments":{"city":"Rome"}},"id":null}
#   call   {"function":{"index":null,"name":"GetTemperature","arguments":{"city":"Oslo"}},"id":null}
#   result {"role":"tool","content":"{\"CallId\":\"c1\",\"Result\":\"21 degrees\"}"}
#   result {"role":"tool","content":"{\"CallId\":\"c2\",\"Result\":\"4 degrees\"}"}
#   body   model, messages, options, stream, tools, CustomHeaders
#
# Exits with 1 when any of this changes. Needs the .NET 10 SDK.
set -euo pipefail
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > show.csproj <<'XML'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
  <ItemGroup>
    <PackageReference Include="OllamaSharp" Version="[5.5.2]" />
    <PackageReference Include="Microsoft.Extensions.AI" Version="[10.11.0]" />
  </ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using System.Net;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using OllamaSharp;

ChatMessage[] conversation =
[
    new(ChatRole.User, "How warm is it in Rome and in Oslo?"),
    new(ChatRole.Assistant, [Call("c1", "Rome"), Call("c2", "Oslo")]),
    new(ChatRole.Tool, [new FunctionResultContent("c1", "21 degrees"), new FunctionResultContent("c2", "4 degrees")]),
];
var recorder = new Recorder("""{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"ok"},"done":true,"done_reason":"stop"}""");
using IChatClient client = new OllamaApiClient(new HttpClient(recorder) { BaseAddress = new Uri("http://localhost") }, "m");
await client.GetResponseAsync(conversation, new() { ToolMode = ChatToolMode.RequireAny, Tools = [AIFunctionFactory.Create((string city) => "", "GetTemperature")] });

var json = new JsonSerializerOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
JsonArray messages = recorder.Body["messages"]!.AsArray();
foreach (JsonNode? call in messages[1]!["tool_calls"]!.AsArray())
{
    Console.WriteLine("call   " + call!.ToJsonString(json));
}

foreach (JsonNode? result in messages.Skip(2))
{
    Console.WriteLine("result " + result!.ToJsonString(json));
}

Console.WriteLine("body   " + string.Join(", ", recorder.Body.AsObject().Select(property => property.Key)));

static FunctionCallContent Call(string id, string city) => new(id, "GetTemperature", new Dictionary<string, object?> { ["city"] = city });

internal sealed class Recorder(string answer) : HttpMessageHandler
{
    public JsonNode Body { get; private set; } = new JsonObject();

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        Body = JsonNode.Parse(await request.Content!.ReadAsStringAsync(cancellationToken))!;
        return new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent(answer, Encoding.UTF8, "application/json") };
    }
}
CS
found=$(dotnet run)
echo "$found"

expected='call   {"function":{"index":null,"name":"GetTemperature","arguments":{"city":"Rome"}},"id":null}
call   {"function":{"index":null,"name":"GetTemperature","arguments":{"city":"Oslo"}},"id":null}
result {"role":"tool","content":"{\"CallId\":\"c1\",\"Result\":\"21 degrees\"}"}
result {"role":"tool","content":"{\"CallId\":\"c2\",\"Result\":\"4 degrees\"}"}
body   model, messages, options, stream, tools, CustomHeaders'
[ "$found" = "$expected" ] || { echo "changed since 2026-11-29; expected:"; echo "$expected"; exit 1; }
