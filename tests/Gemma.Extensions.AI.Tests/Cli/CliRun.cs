using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Cli.Terminal;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>A command of <c>gemma</c> in this process, without a terminal unless keys are given.</summary>
internal static class CliRun
{
    public static async Task<(int Exit, string Output, string Error)> RunAsync(string input, IKeyReader? keys, params string[] args)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(args, new CliInvocation(interrupts)
        {
            Output = output, Error = error, Input = new StringReader(input), IsInputPiped = keys is null, IsInteractive = keys is not null, Keys = keys,
        });
        return (exit, output.ToString(), error.ToString());
    }

    public static Task<(int Exit, string Output, string Error)> RunAsync(string input, params string[] args) => RunAsync(input, null, args);

    public static async Task<string> SucceedAsync(params string[] args)
    {
        (int exit, string output, string error) = await RunAsync("", args);
        Assert.Equal("", error);
        Assert.Equal(0, exit);
        return output;
    }

    public static async Task<string> FailAsync(params string[] args)
    {
        (int exit, _, string error) = await RunAsync("", args);
        Assert.Equal(1, exit);
        return Assert.Single(error.TrimEnd().Split('\n'));
    }
}
