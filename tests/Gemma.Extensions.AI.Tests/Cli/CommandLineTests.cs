using System.Diagnostics;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Cli.Terminal;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Help, typing errors, completion, and the language of messages.</summary>
public sealed partial class CommandLineTests
{
    private static string Tiny => TestData.Local("tiny");

    /// <summary>Command lines that the library refuses, each in its own words.</summary>
    public static TheoryData<string> Refused =>
    [
        "chat --model /there/is/nothing --prompt x",
        "chat --model TINY --prompt x --context 100000",
        "chat --model TINY --prompt x --context 0",
        "chat --model TINY --prompt x --threads 0",
        "chat --model TINY --prompt x --kernel fast",
        "chat --model TINY --prompt x --device tpu",
        "chat --model TINY --prompt x --gpu-layers 3",
        "chat --model TINY --prompt x --temperature -1",
        "chat --model TINY --prompt x --max-tokens 0",
        "chat --model hf:nobody/nothing:Q4_K_M --prompt x",
        "serve --model TINY --parallel 0",
        "pull owner/name --connections 0",
        "train --model TINY --data x --output y --length 1",
        "train --model TINY --data x --output y --learning-rate -1",
        "embed hello --model TINY --context 100000",
        "ask FOLDER what --model TINY --context 100000",
    ];

    [Theory]
    [InlineData]
    [InlineData("--help")]
    public async Task GemmaAloneNamesEveryCommandInALine(params string[] args)
    {
        string help = await CliRun.SucceedAsync(args);
        Assert.All(help.Split('\n'), line => Assert.InRange(line.Length, 0, 100));
        foreach (string command in GemmaCli.CreateRoot().Subcommands.Select(command => command.Name))
        {
            Assert.Matches($@"(?m)^  {command}  +[A-Z].{{10,}}[a-z)]\r?$", help);
        }
    }

    [Theory]
    [InlineData("chta", "There is no command 'chta'. Did you mean 'chat'? See 'gemma --help'.")]
    [InlineData("Chat", "There is no command 'Chat'. Did you mean 'chat'? See 'gemma --help'.")]
    [InlineData("perp", "There is no command 'perp'. Did you mean 'perplexity'? See 'gemma --help'.")]
    [InlineData("xyzzy", "There is no command 'xyzzy'. See 'gemma --help'.")]
    [InlineData("chat --temprature 1", "'gemma chat' has no option '--temprature'. Did you mean '--temperature'? See 'gemma chat --help'.")]
    [InlineData("chat --max-token=3", "'gemma chat' has no option '--max-token'. Did you mean '--max-tokens'? See 'gemma chat --help'.")]
    [InlineData("chat --frobnicate", "'gemma chat' has no option '--frobnicate'. See 'gemma chat --help'.")]
    [InlineData("chat Hello", "'gemma chat' has no place for 'Hello'. Did you mean '--prompt \"Hello\"'? See 'gemma chat --help'.")]
    [InlineData("models remov x", "'gemma models' has no place for 'remov'. Did you mean 'remove'? See 'gemma models --help'.")]
    [InlineData("chat --chat-format foo", "--chat-format is 'foo', expected one of gemma, gemmasystem, chatml. See 'gemma chat --help'.")]
    public async Task WhatWasMistypedIsNamedAndWhatWasMeant(string line, string expected) => Assert.Equal("gemma: " + expected, await CliRun.FailAsync(line.Split(' ')));

    [Theory]
    [MemberData(nameof(Refused))]
    public async Task MessagesNameOptionsAsTheyAreWritten(string line)
    {
        using TempDirectory directory = new();
        File.WriteAllText(directory.File("a.txt"), "Text.");
        string error = await CliRun.FailAsync([.. line.Split(' ').Select(word => word switch { "TINY" => Tiny, "FOLDER" => directory.Path, _ => word })]);
        Assert.DoesNotMatch(NameOfDotNet(), error);
        Assert.Matches("--[a-z]|gemma pull", error);
    }

    [Fact]
    public void EveryOptionOfTheLibraryThatIsTranslatedExistsSomewhere()
    {
        HashSet<string> known = [.. GemmaCli.CreateRoot().Subcommands.SelectMany(command => command.Options).Select(option => option.Name)];
        string[] names = [.. typeof(GemmaOptions).GetProperties().Concat(typeof(global::Gemma.Extensions.AI.Training.GemmaTrainingOptions).GetProperties()).Select(property => property.Name)];
        string[] translated = [.. names.Select(OptionWords.Of).Where(name => name.StartsWith("--", StringComparison.Ordinal))];
        Assert.True(translated.Length > 15);
        Assert.All(translated, name => Assert.Contains(name, known));
    }

    /// <summary>Who has the finished tool has no project to set anything in.</summary>
    [Fact]
    public void OfWhatWasNotCompiledInTheToolNamesItsOwnCure()
    {
        string reason = (ProcessorSupport.Machine with { CompiledAhead = true }).Lacks(compiled: false, static _ => true, "AVX-512", "x86-64-v4")!;
        Assert.Equal("this program was compiled ahead of time without AVX-512, which the processor has; 'publish.sh FOLDER x86-64-v4' compiles it in, and the gemma of 'dotnet tool install' has it", OptionWords.OfTool(reason));
    }

    [Theory]
    [InlineData("chat", "chat", 0)]
    [InlineData("chta", "chat", 1)]
    [InlineData("cat", "chat", 1)]
    [InlineData("", "abc", 3)]
    [InlineData("kitten", "sitting", 3)]
    public void LettersToChange(string a, string b, int expected)
    {
        Assert.Equal(expected, Typos.Distance(a, b));
        Assert.Equal(expected, Typos.Distance(b, a));
    }

    [Theory]
    [InlineData("gemma ch", "chat")]
    [InlineData("gemma chat --ker", "--kernel")]
    [InlineData("gemma chat --kernel ", "avx2")]
    [InlineData("gemma chat --device ", "cuda")]
    [InlineData("gemma chat --model ", "nano")]
    [InlineData("gemma chat --chat-format ", "ChatML")]
    [InlineData("gemma completion ", "zsh")]
    public async Task ShellsAreTold(string line, string expected) => Assert.Contains(expected, (await CliRun.SucceedAsync($"[suggest:{line.Length}]", line)).Split('\n', StringSplitOptions.TrimEntries));

    /// <summary>The script in a real bash, over the real program.</summary>
    [Fact]
    public async Task BashCompletes()
    {
        Assert.SkipUnless(File.Exists("/bin/bash"), "There is no bash on this machine.");
        string script = $$"""
            gemma() { dotnet '{{CliProcess.Program}}' "$@"; }
            {{await CliRun.SucceedAsync("completion", "bash")}}
            COMP_LINE='gemma perp'; COMP_POINT=10; COMP_WORDS=(gemma perp); COMP_CWORD=1; _gemma; echo "${COMPREPLY[*]}"
            COMP_LINE='gemma chat --max'; COMP_POINT=16; COMP_WORDS=(gemma chat --max); COMP_CWORD=2; _gemma; echo "${COMPREPLY[*]}"
            complete -p gemma
            """;
        (_, string output, _) = await ProgramRun.ToEndAsync(new ProcessStartInfo("/bin/bash", ["--norc", "-c", script]), TimeSpan.FromMinutes(2));
        string[] lines = output.Split('\n');
        Assert.Equal(["perplexity", "--max-tokens", "complete -o default -F _gemma gemma", ""], lines);
    }

    /// <summary>The script in a real PowerShell, which .NET brings as a tool (dotnet tool install PowerShell), over the real program.</summary>
    [Fact]
    public async Task PowerShellCompletes()
    {
        string path = Environment.GetEnvironmentVariable("PATH") ?? "";
        Assert.SkipUnless(path.Split(Path.PathSeparator).Any(folder => File.Exists(Path.Combine(folder, "pwsh"))), "There is no pwsh on this machine, or it is Windows.");
        using TempDirectory temp = new();
        File.WriteAllText(temp.File("gemma"), $"#!/bin/sh\nexec dotnet '{CliProcess.Program}' \"$@\"\n");
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(temp.File("gemma"), UnixFileMode.UserRead | UnixFileMode.UserExecute);
        }

        File.WriteAllText(temp.File("complete.ps1"), """
            gemma completion pwsh | Out-String | Invoke-Expression
            foreach ($line in 'gemma perp', 'gemma chat --max') {
                ([System.Management.Automation.CommandCompletion]::CompleteInput($line, $line.Length, $null).CompletionMatches | ForEach-Object { $_.CompletionText }) -join ' '
            }
            """);
        ProcessStartInfo start = new("pwsh", ["-NoProfile", "-File", temp.File("complete.ps1")]);
        (start.Environment["PATH"], start.Environment["HOME"]) = ($"{Path.GetDirectoryName(temp.File("gemma"))}{Path.PathSeparator}{path}", Path.GetDirectoryName(temp.File("gemma")));
        (_, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(2));
        Assert.Equal(["perplexity", "--max-tokens", ""], output.Split('\n'));
        Assert.Equal("", errors);
    }

    /// <summary>Names of classes and properties: GemmaOptions, ModelPath, or one word of them where something is said of it.</summary>
    [GeneratedRegex(@"\b(?!HuggingFace|GiB|MiB)[A-Z][a-z]+[A-Z][a-z]\w*|\b(?:Threads|Kernel|Device|Temperature|Connections|Steps) is ")]
    private static partial Regex NameOfDotNet();
}
