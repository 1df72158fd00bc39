using System.Diagnostics;
using System.Text;

namespace Gemma.Extensions.AI.Tests;

/// <summary>A program that a test runs to its end.</summary>
internal static class ProgramRun
{
    /// <summary>Runs a program and reads what it says. One that has not ended in time is killed with all that it started, and fails the test with what it had said until then.</summary>
    /// <param name="start">The program; both its streams are redirected.</param>
    /// <param name="limit">Far more than it needs on a busy machine: it is there so that nothing hangs.</param>
    /// <param name="input">What it reads from its input, which then ends; null: its input is that of the tests.</param>
    public static async Task<(int Exit, string Output, string Errors)> ToEndAsync(ProcessStartInfo start, TimeSpan limit, string? input = null)
    {
        (start.RedirectStandardOutput, start.RedirectStandardError, start.RedirectStandardInput) = (true, true, input is not null);
        StringBuilder output = new(), errors = new();
        using Process process = new() { StartInfo = start };
        process.OutputDataReceived += (_, line) => Keep(output, line.Data);
        process.ErrorDataReceived += (_, line) => Keep(errors, line.Data);
        process.Start();
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using CancellationTokenSource late = new(limit);
        try
        {
            if (input is not null)
            {
                await process.StandardInput.WriteAsync(input.AsMemory(), late.Token);
                process.StandardInput.Close();
            }

            await process.WaitForExitAsync(late.Token); // and for the end of both streams
        }
        catch (OperationCanceledException)
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{start.FileName} {string.Join(' ', start.ArgumentList)} did not end within {limit.TotalMinutes} minutes. It said:\n{Text(output)}{Text(errors)}");
        }

        return (process.ExitCode, Text(output), Text(errors));
    }

    private static void Keep(StringBuilder text, string? line)
    {
        if (line is not null)
        {
            lock (text)
            {
                text.AppendLine(line);
            }
        }
    }

    private static string Text(StringBuilder text)
    {
        lock (text)
        {
            return text.ToString();
        }
    }
}
