using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Cli.Documents;
using Gemma.Extensions.AI.Cli.Terminal;
using Gemma.Extensions.AI.Rag;
using ModelContextProtocol;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>Answers from the documents that the server was started with, and no others.</summary>
internal sealed class AskDocumentsTool(DocumentLibrary library, string folder) : ModelTool(
    "ask_documents", "Ask documents", $"Answers a question from the documents in '{Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)))}', with sources, or says that they do not hold the answer.", """
    {
      "type": "object",
      "properties": { "question": { "type": "string", "description": "A whole question: nothing else of the conversation is known." } },
      "required": ["question"],
      "additionalProperties": false
    }
    """), IDisposable
{
    private readonly SemaphoreSlim _reading = new(1);

    protected override async Task<CallToolResult> RunAsync(ToolArguments arguments, RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken)
    {
        string question = arguments.Text("question");
        await ReadChangesAsync(request, cancellationToken);
        DocumentAnswer answer = await library.Answerer.AskAsync(question, cancellationToken: cancellationToken);
        string text = string.Join('\n', answer.Citations.Select(citation => citation.ToString()).Prepend(answer.Text));
        return Result(text, JsonElement.Parse(AnswerJson.Of(answer).ToJsonString(JsonText.Readable)));
    }

    public void Dispose() => _reading.Dispose();

    /// <summary>Documents may have changed since the last question; what has not is skipped.</summary>
    private async Task ReadChangesAsync(RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken)
    {
        await _reading.WaitAsync(cancellationToken);
        try
        {
            ProgressToken? token = request.Params?.ProgressToken;
            List<Task> told = [];
            await library.UpdateAsync(token is null ? null : (update, all) => told.Add(request.Server.NotifyProgressAsync(
                token.Value, new ProgressNotificationValue { Progress = update.Documents, Total = all, Message = $"reading {update.DocumentId}" }, cancellationToken: cancellationToken)), cancellationToken);
            await Task.WhenAll(told);
        }
        finally
        {
            _reading.Release();
        }
    }
}
