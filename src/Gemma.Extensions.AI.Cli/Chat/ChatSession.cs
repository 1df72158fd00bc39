using Gemma.Extensions.AI.Cli.Terminal;
using Microsoft.Extensions.AI;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Chat;

/// <summary>Answers a conversation, or continues its last text.</summary>
internal delegate IAsyncEnumerable<ChatResponseUpdate> Answerer(IList<ChatMessage> messages, ChatOptions options, CancellationToken cancellationToken);

/// <summary>A conversation at the terminal.</summary>
internal sealed class ChatSession
{
    private readonly Answerer _answerer;
    private readonly GemmaModel _model;
    private readonly ChatOptions _options;
    private readonly CliInvocation _host;
    private readonly IAnsiConsole _console;
    private readonly LineEditor? _editor;
    private readonly SlashCommand[] _commands;
    private readonly Func<string, string> _translate;
    private readonly List<ChatMessage> _history = [];
    private readonly bool _isRaw;
    private readonly bool _showsMarkdown;
    private string? _question;
    private string? _saved;
    private TurnStatistics? _last;

    /// <param name="answerer">Answers.</param>
    /// <param name="model">What it answers with.</param>
    /// <param name="options">Of all answers.</param>
    /// <param name="host">Input and output.</param>
    /// <param name="isRaw">Texts are continued and not answered: there is no system text, and no Markdown.</param>
    /// <param name="isPlain">Answers are shown as they are written.</param>
    /// <param name="translate">Puts messages of the library into words of the command line.</param>
    public ChatSession(Answerer answerer, GemmaModel model, ChatOptions options, CliInvocation host, bool isRaw, bool isPlain, Func<string, string> translate)
    {
        (_answerer, _model, _options, _host, _isRaw, _translate) = (answerer, model, options, host, isRaw, translate);
        _console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(host.Output), Ansi = host.Keys is null ? AnsiSupport.Detect : AnsiSupport.Yes });
        if (host.Keys is not null)
        {
            _console.Profile.Width = TerminalSize.Columns;
        }

        bool isTerminal = host.IsInteractive && _console.Profile.Capabilities.Ansi;
        _showsMarkdown = isTerminal && !isRaw && !isPlain;
        _editor = isTerminal ? new LineEditor(host.Keys ?? new ConsoleKeys(), host.Output, () => TerminalSize.Columns, Complete) : null;
        _commands =
        [
            new("/help", "", "list these commands", (_, _) => Continue(Help)),
            new("/system", "TEXT", "set the instructions that hold from here on; without TEXT show them, with - remove them", (text, _) => Continue(() => SetSystem(text))),
            new("/retry", "", "answer the last message again", RetryAsync),
            new("/clear", "", "forget the conversation", (_, _) => Continue(Clear)),
            new("/save", "FILE", "write the conversation as JSON, as 'gemma train' reads it", (path, _) => Continue(() => Save(path))),
            new("/load", "FILE", "go on with a conversation that was saved", (path, _) => Continue(() => Load(path))),
            new("/stats", "", "tokens and speed of the last answer, and how full the context is", (_, _) => Continue(ShowStatistics)),
            new("/exit", "", "end; Ctrl+D does it too", (_, _) => Task.FromResult(false)),
        ];
    }

    /// <summary>Answers once and ends.</summary>
    public async Task AnswerOnceAsync(string question, CancellationToken cancellationToken) => await AnswerAsync([new ChatMessage(ChatRole.User, question)], cancellationToken);

    /// <summary>Converses until the input ends.</summary>
    public async Task<int> RunAsync(CancellationToken cancellationToken)
    {
        if (_host.IsInteractive)
        {
            _console.MarkupLineInterpolated($"[grey]{_model.ModelId}, {_model.ContextLength:N0} tokens of context. /help lists commands, Ctrl+D ends.[/]");
        }

        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string? line = await Task.Run(ReadLine, cancellationToken).WaitAsync(cancellationToken);
            if (line is null)
            {
                return GemmaCli.Success;
            }

            string text = line.Trim();
            if (text.StartsWith('/') && !text.StartsWith("//", StringComparison.Ordinal))
            {
                if (!await RunCommandAsync(text, cancellationToken))
                {
                    return GemmaCli.Success;
                }
            }
            else if (text.Length > 0)
            {
                await AskAsync(text.StartsWith('/') ? text[1..] : line, cancellationToken);
            }
        }
    }

    private string? ReadLine()
    {
        if (_editor is not null)
        {
            return _editor.Read(("> ", "\e[1;32m>\e[0m "));
        }

        if (_host.IsInteractive)
        {
            _host.Output.Write("> ");
        }

        return _host.Input.ReadLine();
    }

    private string[] Complete(string begun) =>
        [.. begun.StartsWith('/') ? _commands.Select(command => command.Name).Where(name => name.StartsWith(begun, StringComparison.OrdinalIgnoreCase)) : []];

    private async Task<bool> RunCommandAsync(string line, CancellationToken cancellationToken)
    {
        string name = line.Split(' ', 2)[0], argument = line[name.Length..].Trim();
        name = name == "/quit" ? "/exit" : name;
        if (_commands.FirstOrDefault(command => command.Name.Equals(name, StringComparison.OrdinalIgnoreCase)) is not { } command)
        {
            Complain($"There is no command '{name}'.{Typos.DidYouMean(name, _commands.Select(known => known.Name))} /help lists all; a message that begins with a slash is written with two.");
            return true;
        }

        try
        {
            return await command.RunAsync(argument, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or FormatException)
        {
            Complain(e.Message);
            return true;
        }
    }

    private static Task<bool> Continue(Action action)
    {
        action();
        return Task.FromResult(true);
    }

    private void Say(string text) => _host.Output.WriteLine(text);

    private void Complain(string text) => _host.Error.WriteLine(text.ReplaceLineEndings(" "));

    private void Help()
    {
        int width = _commands.Max(command => command.Name.Length + command.Argument.Length) + 3;
        foreach (SlashCommand command in _commands)
        {
            Say($"  {$"{command.Name} {command.Argument}".PadRight(width)}{command.Help}");
        }

        Say("Ctrl+C stops an answer. Arrow keys fetch what was written before, Alt+Enter starts a new line.");
    }

    private void SetSystem(string text)
    {
        if (_isRaw)
        {
            throw new ArgumentException("--raw continues the text itself, so instructions have no place in it.");
        }

        _options.Instructions = text.Length == 0 ? _options.Instructions : text == "-" ? null : text;
        Say(_options.Instructions is { } now ? $"Instructions: {now}" : "There are no instructions.");
    }

    private void Clear()
    {
        _history.Clear();
        (_question, _last) = (null, null);
    }

    private void Save(string path)
    {
        string full = path.Length > 0 ? Path.GetFullPath(path) : throw new ArgumentException("/save needs the name of a file.");
        if (full != _saved && Path.Exists(full))
        {
            throw new IOException($"'{path}' exists. Give another name.");
        }

        ConversationFile.Write(full, _options.Instructions, _history);
        _saved = full;
        Say($"{_history.Count:N0} messages saved to '{path}'.");
    }

    private void Load(string path)
    {
        (string? system, List<ChatMessage> messages) = ConversationFile.Read(path.Length > 0 ? Path.GetFullPath(path) : throw new ArgumentException("/load needs the name of a file."));
        Clear();
        _options.Instructions = system;
        _history.AddRange(messages);
        Say($"{messages.Count:N0} messages loaded from '{path}'.");
    }

    private void ShowStatistics() => Say(_last?.Describe(_model.ContextLength) ?? "Nothing was answered yet.");

    private async Task<bool> RetryAsync(string argument, CancellationToken cancellationToken)
    {
        string question = _question ?? _history.LastOrDefault(message => message.Role == ChatRole.User)?.Text ?? throw new ArgumentException("There is no message to answer again.");
        int last = _history.FindLastIndex(message => message.Role == ChatRole.User);
        if (last >= 0 && _history[last].Text == question)
        {
            _history.RemoveRange(last, _history.Count - last);
        }

        await AskAsync(question, cancellationToken);
        return true;
    }

    private async Task AskAsync(string question, CancellationToken cancellationToken)
    {
        _question = question;
        _history.Add(new ChatMessage(ChatRole.User, question));
        using Interrupts.Scope answer = _host.Interrupts.Begin();
        try
        {
            _history.AddMessages(await AnswerAsync(_history, answer.Token));
            if (_host.IsInteractive && _last?.FinishReason == ChatFinishReason.Length)
            {
                Complain("(cut: no room for more; /stats tells how full the context is)");
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            _history.RemoveAt(_history.Count - 1);
            _host.Output.WriteLine();
            Say("(stopped)");
        }
        catch (GemmaContextLengthException e)
        {
            _history.RemoveAt(_history.Count - 1);
            Complain($"{_translate(e.Message)} /clear starts again.");
        }
    }

    private async Task<List<ChatResponseUpdate>> AnswerAsync(IList<ChatMessage> messages, CancellationToken cancellationToken)
    {
        TurnStatistics statistics = _last = new TurnStatistics();
        List<ChatResponseUpdate> updates = [];
        WordWrap words = WordWrap.For(_host);
        MarkdownWriter? markdown = _showsMarkdown ? new MarkdownWriter(_console) : null;
        await foreach (ChatResponseUpdate update in _answerer(messages, _options, cancellationToken))
        {
            updates.Add(update);
            statistics.Add(update);
            if (markdown is not null)
            {
                markdown.Write(update.Text);
            }
            else
            {
                words.Write(update.Text);
            }

            await _host.Output.FlushAsync(cancellationToken);
        }

        if (markdown is not null)
        {
            markdown.End();
        }
        else if (_host.IsInteractive)
        {
            words.EndLine();
        }
        else
        {
            _host.Output.WriteLine(); // always one, so that programs find the ends of answers
        }

        return updates;
    }
}
