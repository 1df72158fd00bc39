using System.CommandLine;
using Microsoft.Extensions.AI;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma chat</c>: a conversation at the terminal, or one answer.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        Option<string?> prompt = new("--prompt", "-p") { Description = "Answer this once and end.", HelpName = "text" };
        Option<bool> raw = new("--raw") { Description = "Continue the text itself, without turns or a chat template: for base models. Control tokens in it count." };
        Option<string?> system = new("--system", "-s") { Description = "Instructions that hold for the whole conversation.", HelpName = "text" };
        Option<float?> temperature = new("--temperature") { Description = "0 always takes the most probable token. Default: the checkpoint's, else 1.", HelpName = "number" };
        Option<long?> seed = new("--seed") { Description = "The same seed gives the same answer.", HelpName = "number" };
        Option<int?> maxTokens = new("--max-tokens") { Description = "Most tokens of an answer.", HelpName = "n" };
        Option<GemmaChatFormat?> format = new("--chat-format") { Description = "How conversations are put to the model. Default: as the checkpoint's template says.", HelpName = "gemma|gemmasystem|chatml" };
        Option<string?> lora = CommonOptions.Lora();
        Option<int?> threads = CommonOptions.Threads();
        Option<int?> context = CommonOptions.Context();
        Option<string?> kernel = CommonOptions.Kernel();
        Option<string> device = CommonOptions.Device();
        Option<int?> gpuLayers = CommonOptions.GpuLayers();
        Option<bool> ignoreMemory = CommonOptions.IgnoreMemory();
        Command command = new("chat", "Talk to a model. Ctrl+C stops an answer; /exit, Ctrl+D or Ctrl+C at the prompt ends.\n\nExample:\n  gemma chat --model gemma-2-2b-it-Q4_K_M.gguf --prompt \"Why is the sky blue?\"")
        {
            model, prompt, raw, system, temperature, seed, maxTokens, format, lora, threads, context, kernel, device, gpuLayers, ignoreMemory,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            if (parsed.GetValue(raw) && parsed.GetValue(system) is not null)
            {
                throw new ArgumentException("--raw continues the text itself, so --system has no place in it. Write the instructions into the text, or leave --raw out.");
            }

            GemmaOptions options = new()
            {
                Threads = parsed.GetValue(threads), ContextLength = parsed.GetValue(context), Kernel = parsed.GetValue(kernel), Device = parsed.GetRequiredValue(device), GpuLayers = parsed.GetValue(gpuLayers), MemoryCheck = parsed.MemoryCheck(ignoreMemory),
                ChatFormat = parsed.GetValue(format),
            };
            string? adapter = options.AddLora(parsed.GetValue(lora));
            using GemmaModel loaded = parsed.Host().Load(CommonOptions.ModelOrDefault(parsed.GetValue(model)), options, cancellationToken);
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
            if (parsed.GetValue(prompt) is { } question)
            {
                await AnswerAsync(answerer, [new ChatMessage(ChatRole.User, question)], chatOptions, host, cancellationToken);
                return GemmaCli.Success;
            }

            return await ConverseAsync(answerer, loaded, chatOptions, host, cancellationToken);
        });
        return command;
    }

    private static async Task<int> ConverseAsync(Answerer answerer, GemmaModel model, ChatOptions options, CliInvocation host, CancellationToken cancellationToken)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(host.Output) });
        if (host.IsInteractive)
        {
            console.MarkupLineInterpolated($"[grey]{model.ModelId}, {model.ContextLength:N0} tokens of context. /clear forgets the conversation, /exit ends.[/]");
        }

        List<ChatMessage> history = [];
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (host.IsInteractive)
            {
                console.Markup("[bold green]>[/] ");
            }

            string? line = await Task.Run(host.Input.ReadLine, cancellationToken).WaitAsync(cancellationToken);
            switch (line?.Trim())
            {
                case null or "/exit" or "/quit":
                    return GemmaCli.Success;
                case "":
                    continue;
                case "/clear":
                    history.Clear();
                    continue;
            }

            history.Add(new ChatMessage(ChatRole.User, line));
            using Interrupts.Scope answer = host.Interrupts.Begin();
            try
            {
                history.AddMessages(await AnswerAsync(answerer, history, options, host, answer.Token));
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                history.RemoveAt(history.Count - 1);
                host.Output.WriteLine();
                host.Output.WriteLine("(stopped)");
            }
            catch (GemmaContextLengthException e)
            {
                history.RemoveAt(history.Count - 1);
                host.Error.WriteLine($"{e.Message} /clear starts again.");
            }
        }
    }

    private static async Task<List<ChatResponseUpdate>> AnswerAsync(
        Answerer answerer, List<ChatMessage> messages, ChatOptions options, CliInvocation host, CancellationToken cancellationToken)
    {
        List<ChatResponseUpdate> updates = [];
        await foreach (ChatResponseUpdate update in answerer(messages, options, cancellationToken))
        {
            updates.Add(update);
            await host.Output.WriteAsync(update.Text);
            await host.Output.FlushAsync(cancellationToken);
        }

        host.Output.WriteLine();
        return updates;
    }

    /// <summary>Answers a conversation, or continues its last text.</summary>
    private delegate IAsyncEnumerable<ChatResponseUpdate> Answerer(IList<ChatMessage> messages, ChatOptions options, CancellationToken cancellationToken);
}
