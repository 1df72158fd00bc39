#!/usr/bin/env bash
# Parquet.Net 6.1.0 (NuGet), reading a file written by DuckDB 1.5.6 (DuckDB.NET.Data.Full 1.5.6.1). Seen on 2026-11-30.
#
# An empty list comes back as no list, where the list's elements may be null, as every writer of data sets declares them (an optional element in an optional
# list): null in a typed row, no key in an untyped one, exactly as for a row that has no list. DuckDB reads the same file with the two apart. Where elements
# cannot be null (a file of Parquet.Net's own with List<int>), the empty list is kept; List<string> of the same file is lost.
#
# Output seen:
#   DuckDB's file, read by DuckDB:       1 [a] [1]; 2 [] []; 3 null null
#   DuckDB's file, read by Parquet.Net:  1 [a] [1]; 2 null null; 3 null null
#   the same, untyped, keys:             Id Texts Numbers; Id; Id
#   Parquet.Net's file, read by itself:  1 [a] [1]; 2 null []; 3 null null
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
    <PackageReference Include="Parquet.Net" Version="[6.1.0]" />
    <PackageReference Include="DuckDB.NET.Data.Full" Version="[1.5.6.1]" />
  </ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using DuckDB.NET.Data;
using Parquet.Serialization;

using DuckDBConnection database = new("DataSource=:memory:");
database.Open();
using DuckDBCommand command = database.CreateCommand();
command.CommandText = """
    copy (select * from (values (1, ['a'], [1]), (2, []::varchar[], []::int[]), (3, null, null)) rows(Id, Texts, Numbers)) to 'duck.parquet' (format parquet)
    """;
command.ExecuteNonQuery();

command.CommandText = "select Id, cast(Texts as varchar), cast(Numbers as varchar) from 'duck.parquet' order by Id";
List<string> byDuckDb = [];
using (DuckDBDataReader reader = command.ExecuteReader())
{
    while (reader.Read())
    {
        byDuckDb.Add($"{reader.GetValue(0)} {(reader.IsDBNull(1) ? "null" : reader.GetString(1))} {(reader.IsDBNull(2) ? "null" : reader.GetString(2))}");
    }
}

bool same = Show("DuckDB's file, read by DuckDB:", byDuckDb, "1 [a] [1]; 2 [] []; 3 null null");
using (FileStream file = File.OpenRead("duck.parquet"))
{
    List<Optional> rows = [.. (await ParquetSerializer.DeserializeAsync<Optional>(file)).Data];
    same &= Show("DuckDB's file, read by Parquet.Net:", rows.Select(r => $"{r.Id} {Text(r.Texts)} {Text(r.Numbers)}"), "1 [a] [1]; 2 null null; 3 null null");
    file.Position = 0;
    same &= Show("the same, untyped, keys:", (await ParquetSerializer.DeserializeUntypedAsync(file)).Data.Select(r => string.Join(' ', r.Keys)), "Id Texts Numbers; Id; Id");
}

MemoryStream own = new();
await ParquetSerializer.SerializeAsync<Required>([new() { Id = 1, Texts = ["a"], Numbers = [1] }, new() { Id = 2, Texts = [], Numbers = [] }, new() { Id = 3 }], own);
own.Position = 0;
List<Required> back = [.. (await ParquetSerializer.DeserializeAsync<Required>(own)).Data];
same &= Show("Parquet.Net's file, read by itself:", back.Select(r => $"{r.Id} {Text(r.Texts)} {Text(r.Numbers)}"), "1 [a] [1]; 2 null []; 3 null null");
Console.WriteLine(same ? "as described" : "CHANGED");
return same ? 0 : 1;

static string Text<T>(List<T>? list) => list is null ? "null" : $"[{string.Join(", ", list)}]";

static bool Show(string what, IEnumerable<string> rows, string expected)
{
    string text = string.Join("; ", rows);
    Console.WriteLine($"{what,-36} {text}");
    return text == expected;
}

public sealed class Optional
{
    public int? Id { get; set; }
    public List<string>? Texts { get; set; }
    public List<int?>? Numbers { get; set; }
}

public sealed class Required
{
    public int Id { get; set; }
    public List<string>? Texts { get; set; }
    public List<int>? Numbers { get; set; }
}
CS
dotnet run -c Release
