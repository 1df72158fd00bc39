#!/usr/bin/env bash
# Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29.
#
# [MinLength], [MaxLength] and [Length] count other things in the schema than in .NET, where the JSON is neither text nor list. For byte[] they count bytes, but
# the schema's "maxLength" counts the characters of the base64 text: [MaxLength(5)] makes five bytes, eight characters, invalid; [Length(4, 4)] cannot be met by
# four bytes, and by three it can. For a dictionary they count entries, but the schema says "minItems", which holds for arrays alone ("minProperties" counts
# entries): [MinLength(3)] says nothing about the object.
#
# Output seen:
#   Picture  {"type":"string","maxLength":5}   5 bytes: accepted by the attribute, written as "AAAAAAA=" of 8 characters
#   Mark     {"type":"string","minLength":4,"maxLength":4}   4 bytes: accepted by the attribute, written as "AAAAAA==" of 8 characters
#   Words    {"type":"object","additionalProperties":{"type":"integer"},"minItems":3}   2 entries: refused by the attribute
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
using System.ComponentModel.DataAnnotations;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

JsonSerializerOptions json = new(AIJsonUtilities.DefaultOptions) { PropertyNamingPolicy = null };
JsonNode properties = JsonNode.Parse(AIJsonUtilities.CreateJsonSchema(typeof(Example), serializerOptions: json).GetRawText())!["properties"]!;
Dictionary<string, int> three = new() { ["a"] = 1, ["b"] = 2, ["c"] = 3 }, two = new() { ["a"] = 1, ["b"] = 2 };

bool same = Bytes(nameof(Example.Picture), """{"type":"string","maxLength":5}""", new Example { Picture = new byte[5], Mark = new byte[4], Words = three }, new byte[5]);
same &= Bytes(nameof(Example.Mark), """{"type":"string","minLength":4,"maxLength":4}""", new Example { Picture = [], Mark = new byte[4], Words = three }, new byte[4]);

string words = properties[nameof(Example.Words)]!.ToJsonString();
bool accepted = IsValid(new Example { Mark = new byte[4], Words = two });
Console.WriteLine($"Words    {words}   2 entries: {(accepted ? "accepted" : "refused")} by the attribute");
same &= !accepted && words == """{"type":"object","additionalProperties":{"type":"integer"},"minItems":3}""";
Console.WriteLine(same ? "as described" : "CHANGED");
return same ? 0 : 1;

bool Bytes(string name, string expected, Example example, byte[] value)
{
    string schema = properties[name]!.ToJsonString(), text = JsonSerializer.Serialize(value, json);
    bool valid = IsValid(example);
    int characters = text.Length - 2;
    Console.WriteLine($"{name,-8} {schema}   {value.Length} bytes: {(valid ? "accepted" : "refused")} by the attribute, written as {text} of {characters} characters");
    return schema == expected && valid && characters > (int)properties[name]!["maxLength"]!;
}

static bool IsValid(Example example) => Validator.TryValidateObject(example, new ValidationContext(example), null, validateAllProperties: true);

public sealed class Example
{
    [MaxLength(5)]
    public byte[] Picture { get; set; } = [];

    [Length(4, 4)]
    public byte[] Mark { get; set; } = [];

    [MinLength(3)]
    public Dictionary<string, int> Words { get; set; } = [];
}
CS
dotnet restore -v q
dotnet run --no-restore -v q
