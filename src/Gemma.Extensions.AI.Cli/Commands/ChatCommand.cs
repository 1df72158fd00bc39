using System.CommandLine;
using Gemma.Extensions.AI.Cli.Chat;
using Gemma.Extensions.AI.Cli.Terminal;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma chat</c>: a conversation at the terminal, or one answer.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        ModelArguments model = new();
        Option<string?> prompt = new("--prompt", "-p") { Description = "Answer this once and end. What is piped in follows it; - is the input alone.", HelpName = "text" };
        Option<bool> raw = new("--raw") { Description = "Continue the text itself, without turns or a chat template: for base models. Control tokens in it count." };
        Option<bool> plain = new("--plain") { Description = "Show answers as they are written. Otherwise a terminal shows their Markdown as headings, lists and tables." };
        Option<string?> system = new("--system", "-s") { Description = "Instructions that hold for the whole conversation.", HelpName = "text" };
        Option<float?> temperature = new("--temperature") { Description = "0 always takes the most probable token. Default: the checkpoint's, else 1.", HelpName = "number" };
        Option<long?> seed = new("--seed") { Description = "The same seed gives the same answer.", HelpName = "number" };
        Option<int?> maxTokens = new("--max-tokens") { Description = "Most tokens of an answer.", HelpName = "n" };
        Option<GemmaChatFormat?> format = new("--chat-format") { Description = "How conversations are put to the model. Default: as the checkpoint's template says.", HelpName = "gemma|gemmasystem|chatml" };
        Option<string?> lora = CommonOptions.Lora();
        Command command = new("chat", "Talk to a model. Ctrl+C stops an answer; /exit, Ctrl+D or Ctrl+C at the prompt ends; /help lists what else there is.\n\nExamples:\n  gemma chat --model gemma-2-2b-it-Q4_K_M.gguf --prompt \"Why is the sky blue?\"\n  gemma chat --prompt \"Sum this up in one sentence.\" < report.txt")
        {
            prompt, raw, plain, system, temperature, seed, maxTokens, format, lora,
        };
        model.AddTo(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            if (parsed.GetValue(raw) && parsed.GetValue(system) is not null)
            {
                throw new ArgumentException("--raw continues the text itself, so --system has no place in it. Write the instructions into the text, or leave --raw out.");
            }

            string? question = parsed.GetValue(prompt) is { } text ? await PromptInput.ReadAsync(text, "--prompt", host, cancellationToken) : null;
            GemmaOptions options = model.Read(parsed);
            options.ChatFormat = parsed.GetValue(format);
            string? adapter = options.AddLora(parsed.GetValue(lora));
            using GemmaModel loaded = host.Load(options.ModelPath!, options, cancellationToken);
            Answerer answerer = parsed.GetValue(raw)
                ? (messages, asked, ct) => loaded.CompleteStreamingAsync(messages[^1].Text, asked, ct)
                : loaded.AsIChatClient().GetStreamingResponseAsync;
            ChatOptions chatOptions = new()
            {
                AdditionalProperties = adapter is null ? null : new() { ["adapter"] = adapter },
                Instructions = parsed.GetValue(system),
                Temperature = parsed.GetValue(temperature),
                Seed = parsed.GetValue(seed),
                MaxOutputTokens = parsed.GetValue(maxTokens),
            };
            ChatSession session = new(answerer, loaded, chatOptions, host, parsed.GetValue(raw), parsed.GetValue(plain), message => OptionWords.Translate(message, parsed.CommandResult.Command));
            if (question is null)
            {
                return await session.RunAsync(cancellationToken);
            }

            await session.AnswerOnceAsync(question, cancellationToken);
            return GemmaCli.Success;
        });
        return command;
    }
}
