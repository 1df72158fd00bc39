using System.CommandLine;
using Gemma.Extensions.AI.Cli.Documents;
using Gemma.Extensions.AI.Cli.Terminal;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma ask</c>: an answer from documents, with its sources.</summary>
internal static class AskCommand
{
    public static Command Create()
    {
        ModelArguments model = new();
        Argument<string> path = new("folder") { Description = "Folder of text, Markdown, HTML and PDF, subfolders included, or one such file." };
        Argument<string> question = new("question") { Description = "What to answer; - reads it from the input." };
        Option<string?> index = new("--index") { Description = "File that keeps passages, so that a second question reads only what has changed. Default: one in your cache directory (XDG_CACHE_HOME). The folder itself is only read.", HelpName = "path" };
        Option<int?> maxTokens = new("--max-tokens") { Description = "Most tokens of the answer.", HelpName = "n" };
        Option<bool> json = CommonOptions.Json();
        Command command = new("ask", "Answer a question from your documents, with sources. What they do not hold is not answered.\n\nExamples:\n  gemma ask ./manuals \"When is the pump serviced?\" --model gemma-2-2b-it-Q4_K_M.gguf\n  gemma ask report.pdf \"What did it cost?\" --json") { path, question, index, maxTokens, json };
        model.AddTo(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            string text = parsed.GetRequiredValue(question);
            text = text == PromptInput.Standard ? await PromptInput.ReadAsync(text, "The question", host, cancellationToken) : text;
            if (string.IsNullOrWhiteSpace(text))
            {
                throw new ArgumentException("The question is empty.");
            }

            GemmaOptions options = model.Read(parsed);
            using GemmaModel loaded = host.Load(options.ModelPath!, options, cancellationToken);
            await using DocumentLibrary library = DocumentLibrary.Open(loaded, parsed.GetRequiredValue(path), parsed.GetValue(index), new ChatOptions { MaxOutputTokens = parsed.GetValue(maxTokens) });
            await ReadDocumentsAsync(library, host, cancellationToken);
            await (parsed.GetValue(json) ? WriteJsonAsync(library.Answerer, text, host, cancellationToken) : WriteAsync(library.Answerer, text, host, cancellationToken));
        });
        return command;
    }

    /// <summary>Shows how far it is, and names what could not be read.</summary>
    private static async Task ReadDocumentsAsync(DocumentLibrary library, CliInvocation host, CancellationToken cancellationToken)
    {
        IngestionResult result;
        using (ProgressLine line = new(host))
        {
            result = await library.UpdateAsync((update, all) => line.Show(update.DocumentId, Math.Min(update.Documents, all), all), cancellationToken);
        }

        foreach ((string document, Exception error) in result.Failures)
        {
            host.Error.WriteLine($"gemma: warning: {document} could not be read: {error.Message.ReplaceLineEndings(" ")}");
        }

        if (host.IsInteractive && result.Stored + result.Removed > 0)
        {
            host.Error.WriteLine($"{result.Stored:N0} documents read, {result.Unchanged:N0} unchanged, {result.Removed:N0} gone");
        }
    }

    private static async Task WriteAsync(DocumentAnswerer answerer, string question, CliInvocation host, CancellationToken cancellationToken)
    {
        WordWrap output = WordWrap.For(host);
        await foreach (DocumentAnswerUpdate update in answerer.AskStreamingAsync(question, cancellationToken: cancellationToken))
        {
            output.Write(update.Text);
            if (update.Answer is { } answer)
            {
                output.EndLine();
                foreach (Citation citation in answer.Citations)
                {
                    host.Output.WriteLine($"  {citation}");
                }
            }
        }
    }

    private static async Task WriteJsonAsync(DocumentAnswerer answerer, string question, CliInvocation host, CancellationToken cancellationToken)
    {
        DocumentAnswer answer = await answerer.AskAsync(question, cancellationToken: cancellationToken);
        host.Output.WriteLine(AnswerJson.Of(answer).ToJsonString(JsonText.Readable));
    }
}
