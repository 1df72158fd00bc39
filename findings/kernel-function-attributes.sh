#!/usr/bin/env bash
# Microsoft.SemanticKernel 1.82.0 beside Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29.
#
# One method with validation attributes on its parameters, made a function in two ways. AIFunctionFactory writes the attributes into the schema, KernelFunctionFactory none of
# them, so a model that is offered the kernel function is not told the limits. Attributes of properties of a class are written by both; only those of parameters are lost.
#
# Output seen:
#   count   AIFunctionFactory      {"type":"integer","minimum":1,"maximum":5}
#           KernelFunctionFactory  {"type":"integer"}
#   list    AIFunctionFactory      {"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}
#           KernelFunctionFactory  {"type":"array","items":{"type":"integer"}}
#   letters AIFunctionFactory      {"type":"string","pattern":"^[a-c]{2,4}$"}
#           KernelFunctionFactory  {"type":"string"}
#   name    AIFunctionFactory      {"type":"string","maxLength":10}
#           KernelFunctionFactory  {"type":"string"}
#   order   AIFunctionFactory      {"type":"object","properties":{"pieces":{"type":"integer","minimum":1,"maximum":9}},"required":["pieces"]}
#           KernelFunctionFactory  {"type":"object","properties":{"Pieces":{"type":"integer","minimum":1,"maximum":9}},"required":["Pieces"]}
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
    <PackageReference Include="Microsoft.SemanticKernel.Core" Version="[1.82.0]" />
    <PackageReference Include="Microsoft.Extensions.AI" Version="[10.11.0]" />
  </ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using System.ComponentModel.DataAnnotations;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;
using Microsoft.SemanticKernel;

Delegate method = ([Range(1, 5)] int count, [Length(2, 3)] int[] list, [RegularExpression("^[a-c]{2,4}$")] string letters, [StringLength(10)] string name, Order order) => "";
JsonNode plain = Properties(AIFunctionFactory.Create(method, "take").JsonSchema.ToString());
KernelFunction function = KernelFunctionFactory.CreateFromMethod(method, "take");
JsonNode kernel = Properties(function.JsonSchema.ToString());
foreach ((string name, JsonNode? schema) in plain.AsObject())
{
    Console.WriteLine($"{name,-7} AIFunctionFactory      {schema!.ToJsonString()}");
    Console.WriteLine($"{"",-7} KernelFunctionFactory  {kernel[name]!.ToJsonString()}");
}

static JsonNode Properties(string schema) => JsonNode.Parse(schema)!["properties"]!;

internal sealed record Order([property: Range(1, 9)] int Pieces);
CS
found=$(dotnet run)
echo "$found"

expected='count   AIFunctionFactory      {"type":"integer","minimum":1,"maximum":5}
        KernelFunctionFactory  {"type":"integer"}
list    AIFunctionFactory      {"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3}
        KernelFunctionFactory  {"type":"array","items":{"type":"integer"}}
letters AIFunctionFactory      {"type":"string","pattern":"^[a-c]{2,4}$"}
        KernelFunctionFactory  {"type":"string"}
name    AIFunctionFactory      {"type":"string","maxLength":10}
        KernelFunctionFactory  {"type":"string"}
order   AIFunctionFactory      {"type":"object","properties":{"pieces":{"type":"integer","minimum":1,"maximum":9}},"required":["pieces"]}
        KernelFunctionFactory  {"type":"object","properties":{"Pieces":{"type":"integer","minimum":1,"maximum":9}},"required":["Pieces"]}'
[ "$found" = "$expected" ] || { echo "changed since 2026-11-29; expected:"; echo "$expected"; exit 1; }
