using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>Turns texts into vectors.</summary>
internal sealed class EmbedTool(IEmbeddingGenerator<string, Embedding<float>> generator) : ModelTool(
    "embed", "Embed texts", "Turns texts into vectors of length 1, whose dot products say how alike the texts are.", """
    {
      "type": "object",
      "properties": { "texts": { "type": "array", "items": { "type": "string" }, "minItems": 1, "description": "The texts, a vector each." } },
      "required": ["texts"],
      "additionalProperties": false
    }
    """)
{
    protected override async Task<CallToolResult> RunAsync(ToolArguments arguments, RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken)
    {
        GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync(arguments.Texts("texts"), cancellationToken: cancellationToken);
        StringBuilder json = new("{\"vectors\":[");
        for (int i = 0; i < vectors.Count; i++)
        {
            json.Append(i > 0 ? ",[" : "[").AppendJoin(',', vectors[i].Vector.ToArray().Select(static value => value.ToString("R", CultureInfo.InvariantCulture))).Append(']');
        }

        string text = json.Append("]}").ToString();
        return Result(text, JsonElement.Parse(text));
    }
}
