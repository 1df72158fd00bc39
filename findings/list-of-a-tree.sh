#!/usr/bin/env bash
# Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29.
#
# GetResponseAsync<List<T>> of a T that refers to itself sends a schema whose reference leads nowhere. The schema of the list is made as a document of its own,
# where "#/items" is the node; then it becomes the property "data" of an object, and the reference stays as it was. Relative to the document that the client
# gets, "#/items" does not exist: the node is at "#/properties/data/items". The part keeps its "$schema" too, which JSON Schema 2020-12 allows at the root of a
# resource only. A single T (the reference is "#") and a parameter List<T> of an AIFunction (the reference is "#/properties/list/items") are right.
#
# Output seen:
#   List<Node>: {"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"data":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/items"}}}}}},"additionalProperties":false,"required":["data"]}
#     #/items: leads nowhere
#   Node: {"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#"}}}}
#     #: leads to a schema
#   parameter: {"type":"object","properties":{"list":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/properties/list/items"}}}}}},"required":["list"]}
#     #/properties/list/items: leads to a schema
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
  <ItemGroup><PackageReference Include="Microsoft.Extensions.AI" Version="[10.11.0]" /></ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

using var client = new Recorder();
await client.GetResponseAsync<List<Node>>("x");
bool same = Show("List<Node>", client.Schema, "#/items", leads: false);
same &= client.Schema.GetProperty("properties").GetProperty("data").TryGetProperty("$schema", out _);
await client.GetResponseAsync<Node>("x");
same &= Show("Node", client.Schema, "#", leads: true);
same &= Show("parameter", AIFunctionFactory.Create((List<Node> list) => list.Count).JsonSchema, "#/properties/list/items", leads: true);
Console.WriteLine(same ? "as described" : "CHANGED");
return same ? 0 : 1;

static bool Show(string name, JsonElement schema, string expected, bool leads)
{
    JsonNode root = JsonNode.Parse(schema.GetRawText())!;
    string[] references = [.. References(root)];
    Console.WriteLine($"{name}: {root.ToJsonString()}");
    foreach (string reference in references)
    {
        Console.WriteLine($"  {reference}: {(Resolves(root, reference) ? "leads to a schema" : "leads nowhere")}");
    }

    return references.SequenceEqual([expected]) && Resolves(root, expected) == leads;
}

static IEnumerable<string> References(JsonNode? node) => node switch
{
    JsonObject value => value.SelectMany(member => member.Key == "$ref" ? [member.Value!.GetValue<string>()] : References(member.Value)),
    JsonArray value => value.SelectMany(References),
    _ => [],
};

static bool Resolves(JsonNode root, string reference)
{
    JsonNode? node = root;
    foreach (string part in reference.Split('/')[1..])
    {
        node = (node as JsonObject)?[part];
    }

    return node is not null;
}

public sealed class Node
{
    public string Name { get; set; } = "";

    public List<Node> Children { get; set; } = [];
}

/// <summary>A client that keeps the schema that reaches it.</summary>
sealed class Recorder : IChatClient
{
    public JsonElement Schema { get; private set; }

    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
    {
        Schema = ((ChatResponseFormatJson)options!.ResponseFormat!).Schema!.Value;
        return Task.FromResult(new ChatResponse(new ChatMessage(ChatRole.Assistant, "{}")));
    }

    public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        throw new NotSupportedException();

    public object? GetService(Type serviceType, object? serviceKey = null) => null;

    public void Dispose()
    {
    }
}
CS
dotnet restore -v q
dotnet run --no-restore -v q
