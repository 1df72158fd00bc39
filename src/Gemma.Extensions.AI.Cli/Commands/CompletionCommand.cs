using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma completion</c>: a script by which a shell completes commands, options and their values.</summary>
internal static class CompletionCommand
{
    // What comes next is asked of gemma itself, by the directive of System.CommandLine: [suggest:POSITION] "LINE".
    private static readonly Dictionary<string, string> s_scripts = new()
    {
        ["bash"] = """
            _gemma() {
                local IFS=$'\n'
                COMPREPLY=($(compgen -W "$(gemma "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)" -- "${COMP_WORDS[COMP_CWORD]}"))
            }
            complete -o default -F _gemma gemma
            """,
        ["zsh"] = """
            _gemma() {
                local -a found=("${(@f)$(gemma "[suggest:$CURSOR]" "$BUFFER" 2>/dev/null)}")
                compadd -a found
                _files
            }
            compdef _gemma gemma
            """,
        ["pwsh"] = """
            Register-ArgumentCompleter -Native -CommandName gemma -ScriptBlock {
                param($word, $line, $position)
                gemma "[suggest:$position]" "$line" 2>$null | Where-Object { $_ -like "$word*" } | ForEach-Object {
                    [System.Management.Automation.CompletionResult]::new($_, $_, 'ParameterValue', $_)
                }
            }
            """,
    };

    public static Command Create()
    {
        Argument<string> shell = new("shell") { Description = $"One of {string.Join(", ", s_scripts.Keys)}." };
        shell.AcceptOnlyFromAmong([.. s_scripts.Keys]);
        Command command = new("completion", "Print a script for your shell that completes commands. It is run when the shell starts.\n\nExamples:\n  eval \"$(gemma completion bash)\"                              # in ~/.bashrc\n  eval \"$(gemma completion zsh)\"                               # in ~/.zshrc, after compinit\n  gemma completion pwsh | Out-String | Invoke-Expression       # in $PROFILE") { shell };
        command.SetAction(parsed => parsed.Host().Output.WriteLine(s_scripts[parsed.GetRequiredValue(shell)]));
        return command;
    }
}
