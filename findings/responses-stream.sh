#!/usr/bin/env bash
# Microsoft.Extensions.AI.OpenAI 10.11.0 beside OpenAI 2.15.0 (NuGet). Seen on 2026-11-29.
#
# The two newest packages do not work together for one method: a streamed answer of the client over OpenAI's Responses API throws MissingMethodException before anything is sent.
# Microsoft.Extensions.AI.OpenAI 10.11.0 was compiled against OpenAI 2.14.0 and says "OpenAI >= 2.14.0", so NuGet takes 2.15.0 without a warning where a project or another package
# asks for it; OpenAI 2.15.0 has that method with another return type (Task<AsyncStreamingResult<...>> instead of AsyncCollectionResult<...>). Chat completions, streamed or not,
# and whole answers of the Responses API work with both. A project that refers to Microsoft.Extensions.AI.OpenAI alone gets 2.14.0, which works.
#
# Output seen:
#   OpenAI 2.14.0: whole: Hello. streamed: Hello.
#   OpenAI 2.15.0: whole: Hello. streamed: MissingMethodException: OpenAI.Responses.ResponsesClient.CreateResponseStreamingAsync
#
# Exits with 1 when any of this changes. Needs the .NET 10 SDK. The server that answers is in the program itself, on the loopback interface.
set -euo pipefail
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > Program.cs <<'CS'
#pragma warning disable OPENAI001
using System.ClientModel;
using System.Net;
using System.Text;
using Microsoft.Extensions.AI;
using OpenAI.Responses;

const string Empty = """{"id":"resp_1","object":"response","created_at":1700000000,"status":"in_progress","model":"m","output":[],"parallel_tool_calls":true,"tool_choice":"auto","tools":[],"metadata":{}}""";
string item = """{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Hello.","annotations":[]}]}""";
string whole = Empty.Replace("in_progress", "completed").Replace("\"output\":[]", $"\"output\":[{item}]");
string[] events =
[
    $$"""{"type":"response.created","sequence_number":0,"response":{{Empty}}}""",
    """{"type":"response.output_item.added","sequence_number":1,"output_index":0,"item":{"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]}}""",
    """{"type":"response.content_part.added","sequence_number":2,"item_id":"msg_1","output_index":0,"content_index":0,"part":{"type":"output_text","text":"","annotations":[]}}""",
    """{"type":"response.output_text.delta","sequence_number":3,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"Hello."}""",
    """{"type":"response.output_text.done","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"text":"Hello."}""",
    $$"""{"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{{item}}}""",
    $$"""{"type":"response.completed","sequence_number":6,"response":{{whole}}}""",
];

using var listener = new HttpListener();
int port = 0;
for (int attempt = 0; port == 0; attempt++)
{
    int candidate = Random.Shared.Next(20_000, 60_000);
    listener.Prefixes.Clear();
    listener.Prefixes.Add($"http://127.0.0.1:{candidate}/");
    try
    {
        listener.Start();
        port = candidate;
    }
    catch (HttpListenerException) when (attempt < 100)
    {
    }
}

_ = Task.Run(async () =>
{
    while (listener.IsListening)
    {
        HttpListenerContext context = await listener.GetContextAsync();
        bool streams = (await new StreamReader(context.Request.InputStream).ReadToEndAsync()).Replace(" ", "").Contains("\"stream\":true");
        context.Response.ContentType = streams ? "text/event-stream" : "application/json";
        string body = streams ? string.Concat(events.Select(data => $"event: {data.Split('"')[3]}\ndata: {data}\n\n")) : whole;
        await context.Response.OutputStream.WriteAsync(Encoding.UTF8.GetBytes(body));
        context.Response.Close();
    }
});

var options = new OpenAI.OpenAIClientOptions { Endpoint = new Uri($"http://127.0.0.1:{port}/v1") };
IChatClient client = new OpenAI.OpenAIClient(new ApiKeyCredential("none"), options).GetResponsesClient().AsIChatClient("m");
string streamed;
try
{
    streamed = (await client.GetStreamingResponseAsync("Hi").ToChatResponseAsync()).Text;
}
catch (MissingMethodException exception)
{
    streamed = $"MissingMethodException: {exception.Message.Split('\'').First(part => part.Contains("ResponsesClient")).Split(' ').First(part => part.Contains("ResponsesClient.")).Split('(')[0]}";
}

Console.WriteLine($"OpenAI {typeof(ResponsesClient).Assembly.GetName().Version!.ToString(3)}: whole: {(await client.GetResponseAsync("Hi")).Text} streamed: {streamed}");
CS

found=$(for version in 2.14.0 2.15.0; do
    mkdir "$version"
    cp Program.cs "$version"
    cat > "$version/show.csproj" <<XML
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
  <ItemGroup>
    <PackageReference Include="Microsoft.Extensions.AI.OpenAI" Version="[10.11.0]" />
    <PackageReference Include="OpenAI" Version="[$version]" />
  </ItemGroup>
</Project>
XML
    (cd "$version" && dotnet run -v q)
done)
echo "$found"

expected='OpenAI 2.14.0: whole: Hello. streamed: Hello.
OpenAI 2.15.0: whole: Hello. streamed: MissingMethodException: OpenAI.Responses.ResponsesClient.CreateResponseStreamingAsync'
[ "$found" = "$expected" ] || { echo "changed since 2026-11-29; expected:"; echo "$expected"; exit 1; }
