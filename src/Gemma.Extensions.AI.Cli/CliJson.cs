using System.Text.Json.Serialization;
using Gemma.Extensions.AI.Cli.Commands;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Cli;

/// <summary>Values that commands print as JSON, written by generated code: the tool is compiled ahead of time, too.</summary>
[JsonSerializable(typeof(BenchCommand.Report))]
[JsonSerializable(typeof(GemmaConfig))]
[JsonSerializable(typeof(List<int>))]
internal sealed partial class CliJson : JsonSerializerContext;

/// <summary>The same with names in snake case.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(IReadOnlyList<CachedModel>))]
internal sealed partial class SnakeCaseJson : JsonSerializerContext;
