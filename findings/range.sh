#!/usr/bin/env bash
# Microsoft.Extensions.AI 10.11.0 (NuGet). Seen on 2026-11-29. Two surprises in what becomes of [Range]:
#
# 1. An exclusive minimum of 0 or less is lost. [Range(0.0, 1.0, MinimumIsExclusive = true)] becomes a schema without any lower limit, so that not only 0 but
#    every negative number is valid, which the attribute itself refuses. Exclusive minima above 0, inclusive minima and exclusive maxima are kept.
# 2. [Range(typeof(T), "a", "b")], the only form for decimal, long and dates, becomes limits that are strings: "minimum":"0.5" beside "type":"number", and for a
#    DateTime "minimum":"2020-01-01". JSON Schema wants numbers there, so these schemas are not valid; on text the keyword would say nothing anyway.
#
# Output seen:
#   Chance    {"type":"number","maximum":1}
#   Degrees   {"type":"number","maximum":100}
#   AboveOne  {"type":"number","exclusiveMinimum":1,"maximum":10}
#   BelowZero {"type":"number","minimum":-5,"exclusiveMaximum":0}
#   FromZero  {"type":"number","minimum":0,"maximum":1}
#   Price     {"type":"number","minimum":"0.5","maximum":"99.5"}
#   Count     {"type":"integer","minimum":"1","maximum":"5000000000"}
#   Day       {"type":"string","format":"date-time","minimum":"2020-01-01","maximum":"2030-12-31"}
#   parameter {"type":"number","maximum":1}
#   Chance 0, Degrees 20: refused by the attributes
#   Chance -5, Degrees 20: refused by the attributes
#   Chance 0.5, Degrees -300: refused by the attributes
#   Chance 0.5, Degrees 20: accepted by the attributes
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

var expected = new Dictionary<string, string>
{
    ["Chance"] = """{"type":"number","maximum":1}""",
    ["Degrees"] = """{"type":"number","maximum":100}""",
    ["AboveOne"] = """{"type":"number","exclusiveMinimum":1,"maximum":10}""",
    ["BelowZero"] = """{"type":"number","minimum":-5,"exclusiveMaximum":0}""",
    ["FromZero"] = """{"type":"number","minimum":0,"maximum":1}""",
    ["Price"] = """{"type":"number","minimum":"0.5","maximum":"99.5"}""",
    ["Count"] = """{"type":"integer","minimum":"1","maximum":"5000000000"}""",
    ["Day"] = """{"type":"string","format":"date-time","minimum":"2020-01-01","maximum":"2030-12-31"}""",
    ["parameter"] = """{"type":"number","maximum":1}""",
};

var options = new JsonSerializerOptions(AIJsonUtilities.DefaultOptions) { PropertyNamingPolicy = null };
JsonNode found = Properties(AIJsonUtilities.CreateJsonSchema(typeof(Example), serializerOptions: options));
found["parameter"] = Properties(AIFunctionFactory.Create(([Range(0.0, 1.0, MinimumIsExclusive = true)] double parameter) => parameter).JsonSchema)["parameter"]!.DeepClone();

bool same = found.AsObject().Count == expected.Count;
foreach ((string name, string schema) in expected)
{
    string text = found[name]?.ToJsonString() ?? "missing";
    Console.WriteLine($"{name,-9} {text}{(text == schema ? "" : "   CHANGED")}");
    same &= text == schema;
}

foreach ((double chance, double degrees, bool valid) in (ReadOnlySpan<(double, double, bool)>)[(0, 20, false), (-5, 20, false), (0.5, -300, false), (0.5, 20, true)])
{
    Example example = new() { Chance = chance, Degrees = degrees };
    bool accepted = Validator.TryValidateObject(example, new ValidationContext(example), null, validateAllProperties: true);
    Console.WriteLine(FormattableString.Invariant($"Chance {chance}, Degrees {degrees}: {(accepted ? "accepted" : "refused")} by the attributes"));
    same &= accepted == valid;
}

Console.WriteLine(same ? "as described" : "CHANGED");
return same ? 0 : 1;

static JsonNode Properties(JsonElement schema) => JsonNode.Parse(schema.GetRawText())!["properties"]!;

public sealed class Example
{
    [Range(0.0, 1.0, MinimumIsExclusive = true)]
    public double Chance { get; set; } = 0.5;

    [Range(-273.15, 100.0, MinimumIsExclusive = true)]
    public double Degrees { get; set; } = 20;

    [Range(1.0, 10.0, MinimumIsExclusive = true)]
    public double AboveOne { get; set; } = 2;

    [Range(-5.0, 0.0, MaximumIsExclusive = true)]
    public double BelowZero { get; set; } = -1;

    [Range(0.0, 1.0)]
    public double FromZero { get; set; }

    [Range(typeof(decimal), "0.5", "99.5")]
    public decimal Price { get; set; } = 1;

    [Range(typeof(long), "1", "5000000000")]
    public long Count { get; set; } = 1;

    [Range(typeof(DateTime), "2020-01-01", "2030-12-31")]
    public DateTime Day { get; set; } = new(2026, 11, 29);
}
CS
dotnet restore -v q
dotnet run --no-restore -v q
