using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Conversations of <c>gemma chat</c>: commands, at a pipe and at a terminal.</summary>
public sealed partial class ChatConversationTests : IDisposable
{
    private static readonly string[] s_chat = ["chat", "--model", TestData.Local("tiny"), "--temperature", "0", "--max-tokens", "8"];

    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task HelpListsTheCommands()
    {
        (int exit, string output, string error) = await CliRun.RunAsync("/help\n/exit\nnever\n", s_chat);
        Assert.Equal((0, ""), (exit, error));
        Assert.Equal(["/help", "/system", "/retry", "/clear", "/save", "/load", "/stats", "/exit"], CommandName().Matches(output).Select(match => match.Groups[1].Value));
    }

    [Theory]
    [InlineData("/sytem x", "There is no command '/sytem'. Did you mean '/system'?")]
    [InlineData("/usr/bin is what?", "There is no command '/usr/bin'.")]
    [InlineData("/retry", "There is no message to answer again.")]
    [InlineData("/save", "/save needs the name of a file.")]
    [InlineData("/load /there/is/nothing", "Could not find")]
    public async Task WhatIsNoMessageIsNotSent(string line, string expected)
    {
        (int exit, string output, string error) = await CliRun.RunAsync(line + "\n", s_chat);
        Assert.Equal((0, ""), (exit, output));
        Assert.StartsWith(expected, Assert.Single(error.TrimEnd().Split('\n')), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TwoSlashesBeginAMessageWithOne()
    {
        string one = await CliRun.SucceedAsync([.. s_chat, "--prompt", "/usr"]);
        Assert.Equal((0, one, ""), await CliRun.RunAsync("//usr\n", s_chat));
    }

    [Fact]
    public async Task RetryAnswersTheLastMessageAgainAndOnlyThat()
    {
        (_, string twice, _) = await CliRun.RunAsync("Hello\nAnd you?\n", s_chat);
        string[] answers = twice.TrimEnd('\n').Split('\n');
        (int exit, string again, string error) = await CliRun.RunAsync("Hello\nAnd you?\n/retry\n/retry\n", s_chat);
        Assert.Equal((0, ""), (exit, error));
        Assert.Equal(twice + string.Concat(Enumerable.Repeat(answers[^1] + "\n", 2)), again);
    }

    [Fact]
    public async Task SystemTextHoldsFromThenOn()
    {
        (_, string with, _) = await CliRun.RunAsync("Hello\n", [.. s_chat, "--system", "Be brief."]);
        (_, string set, _) = await CliRun.RunAsync("/system\n/system Be brief.\nHello\n/system -\n", s_chat);
        Assert.Equal($"There are no instructions.\nInstructions: Be brief.\n{with}There are no instructions.\n", set);
        Assert.NotEqual(with, (await CliRun.RunAsync("Hello\n", s_chat)).Output);
        Assert.Contains("--raw continues", (await CliRun.RunAsync("/system x\n", [.. s_chat, "--raw"])).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AConversationIsSavedAndGoesOn()
    {
        string file = _temp.File("chat.json");
        (_, string saved, string error) = await CliRun.RunAsync($"/system Be brief.\nHello\n/save {file}\n/save {file}\n", s_chat);
        Assert.Equal("", error);
        Assert.EndsWith($"2 messages saved to '{file}'.\n2 messages saved to '{file}'.\n", saved, StringComparison.Ordinal);
        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(file));
        Assert.Equal(["system", "user", "assistant"], json.RootElement.GetProperty("messages").EnumerateArray().Select(message => message.GetProperty("role").GetString()));

        (_, string loaded, _) = await CliRun.RunAsync($"/load {file}\nAnd you?\n", s_chat);
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"));
        ChatMessage[] conversation = [new(ChatRole.User, "Hello"), new(ChatRole.Assistant, json.RootElement.GetProperty("messages")[2].GetProperty("content").GetString()), new(ChatRole.User, "And you?")];
        string expected = (await model.AsIChatClient().GetResponseAsync(conversation, new ChatOptions { Instructions = "Be brief.", Temperature = 0, MaxOutputTokens = 8 })).Text;
        Assert.Equal($"2 messages loaded from '{file}'.\n{expected}\n", loaded);
        Assert.Contains("exists. Give another name", (await CliRun.RunAsync($"/save {file}\n", s_chat)).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{\"messages\":1}")]
    [InlineData("{\"messages\":[{\"role\":\"tool\",\"content\":\"x\"}]}")]
    [InlineData("{\"messages\":[{\"role\":\"user\",\"content\":{}}]}")]
    [InlineData("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},{\"role\":\"system\",\"content\":\"x\"}]}")]
    public async Task AFileThatIsNoConversationIsNamed(string text)
    {
        string file = _temp.File("chat.json");
        File.WriteAllText(file, text);
        (int exit, string output, string error) = await CliRun.RunAsync($"/load {file}\n", s_chat);
        Assert.Equal((0, ""), (exit, output));
        Assert.StartsWith($"'{file}' is no conversation, expected", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task StatisticsAreThoseOfTheLastAnswer()
    {
        (_, string output, _) = await CliRun.RunAsync("/stats\nHello\n/stats\n", s_chat);
        string[] lines = output.TrimEnd('\n').Split('\n');
        Assert.Equal("Nothing was answered yet.", lines[0]);
        Assert.Matches(@"^\d+ tokens read \(\d+ of them from the cache\), 8 written(, [\d.]+ tokens a second)?; first after [\d.]+ s\. \d+ of 512 tokens of context are used \(\d+%\)\.$", lines[^1]);
    }

    [Fact]
    public async Task KeysAndMarkdownAtATerminal()
    {
        (int exit, string output, string error) = await CliRun.RunAsync("", new ScriptedKeys().Type("Helo<Left>l<Enter><Up><Enter>/st<Tab><Tab><Backspace><Backspace><Enter>/exit<Enter>"), s_chat);
        Assert.Equal(0, exit);
        Assert.Contains("There is no command '/stat'. Did you mean '/stats'?", error, StringComparison.Ordinal);
        Assert.Contains("/help lists commands", output, StringComparison.Ordinal);
        Assert.Contains("Hello", output, StringComparison.Ordinal);
    }

    /// <summary>The real program in a real terminal.</summary>
    [Fact]
    public async Task AConversationInAPseudoTerminal()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/usr/bin/script"), "The 'script' program, which gives a command a terminal, is not on this machine.");
        ProcessStartInfo start = new("/usr/bin/script", ["-qec", $"stty cols 60; dotnet '{CliProcess.Program}' {string.Join(' ', s_chat)}", _temp.File("record")]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.Environment["TERM"] = "xterm";
        using Process process = Process.Start(start)!;
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        patience.CancelAfter(TimeSpan.FromMinutes(2));
        try
        {
            await ConverseAsync(new Terminal(process, patience.Token));
            await process.WaitForExitAsync(patience.Token);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }

        Assert.Equal(0, process.ExitCode);
    }

    private static async Task ConverseAsync(Terminal terminal)
    {
        await terminal.WaitForAsync(">\e[0m ");
        await terminal.TypeAsync("Helo\e[Dl\r"); // the arrow goes left
        await terminal.WaitForAsync("Hello");
        await terminal.WaitForAsync(">\e[0m ");
        await terminal.TypeAsync("/nothing\r");
        await terminal.WaitForAsync("There is no command '/nothing'.");
        await terminal.WaitForAsync(">\e[0m ");
        await terminal.TypeAsync("\x4"); // Ctrl+D
    }

    [GeneratedRegex(@"(?m)^  (/\w+)")]
    private static partial Regex CommandName();

    /// <summary>The output of a program, as far as it was waited for.</summary>
    private sealed class Terminal(Process process, CancellationToken cancellationToken)
    {
        private readonly char[] _buffer = new char[4096];
        private string _shown = "";

        public async Task WaitForAsync(string text)
        {
            while (!_shown.Contains(text, StringComparison.Ordinal))
            {
                int read = await process.StandardOutput.ReadAsync(_buffer, cancellationToken);
                Assert.True(read > 0, $"The program ended before it showed '{text}': {_shown}");
                _shown += new string(_buffer, 0, read);
            }

            _shown = _shown[(_shown.IndexOf(text, StringComparison.Ordinal) + text.Length)..];
        }

        public async Task TypeAsync(string keys)
        {
            await process.StandardInput.WriteAsync(keys);
            await process.StandardInput.FlushAsync(cancellationToken);
        }
    }
}
