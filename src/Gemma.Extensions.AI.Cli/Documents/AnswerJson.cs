using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Rag;

namespace Gemma.Extensions.AI.Cli.Documents;

/// <summary>An answer from documents for programs: what it cites, and all that the model read for it.</summary>
internal static class AnswerJson
{
    public static JsonObject Of(DocumentAnswer answer) => new()
    {
        ["answer"] = answer.Text,
        ["found"] = answer.Found,
        ["sources"] = new JsonArray([.. answer.Citations.Select(citation => Passage(citation.Number, citation.Chunk))]),
        ["passages"] = new JsonArray([.. answer.Passages.Select((passage, i) => Passage(i + 1, passage.Chunk))]),
    };

    private static JsonObject Passage(int number, DocumentChunk chunk) => new()
    {
        ["number"] = number,
        ["document"] = chunk.DocumentId,
        ["page"] = chunk.Page,
        ["line"] = chunk.Line,
        ["section"] = chunk.Section,
        ["text"] = chunk.Text,
    };
}
