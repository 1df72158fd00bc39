#!/usr/bin/env bash
# Anthropic 13.14.0, its IChatClient for Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29.
#
# The Messages API takes temperature, top_p and top_k. Of ChatOptions the client sends the length, the stop sequences, the tools and their mode; Temperature, TopP and TopK are
# left out without an exception or a log entry, so a request for Temperature = 0 is sampled as the server likes. A schema as response format is sent, but with
# "additionalProperties": false added to it, so objects that the caller's schema leaves open are closed.
#
# Output seen:
#   sent   max_tokens, messages, model, output_config, stop_sequences
#   schema {"properties":{"a":{"type":"integer"}},"type":"object","additionalProperties":false}
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
    <PackageReference Include="Anthropic" Version="[13.14.0]" />
    <PackageReference Include="Microsoft.Extensions.AI" Version="[10.11.0]" />
  </ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Anthropic;
using Microsoft.Extensions.AI;

var recorder = new Recorder("""{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}""");
using IChatClient client = new AnthropicClient { ApiKey = "key", HttpClient = new HttpClient(recorder) }.AsIChatClient("m");
await client.GetResponseAsync("Hello", new ChatOptions
{
    Temperature = 0, TopP = 0.5f, TopK = 7, MaxOutputTokens = 64, StopSequences = ["END"],
    ResponseFormat = ChatResponseFormat.ForJsonSchema(JsonElement.Parse("""{"type":"object","properties":{"a":{"type":"integer"}}}""")),
});

Console.WriteLine("sent   " + string.Join(", ", recorder.Body.AsObject().Select(property => property.Key)));
Console.WriteLine("schema " + recorder.Body["output_config"]!["format"]!["schema"]!.ToJsonString());

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

expected='sent   max_tokens, messages, model, output_config, stop_sequences
schema {"properties":{"a":{"type":"integer"}},"type":"object","additionalProperties":false}'
[ "$found" = "$expected" ] || { echo "changed since 2026-11-29; expected:"; echo "$expected"; exit 1; }
