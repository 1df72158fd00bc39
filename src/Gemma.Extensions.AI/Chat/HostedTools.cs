using System.Collections.Concurrent;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Chat;

/// <summary>
/// Tools that only mark what a hosted service can run (web search, code interpreter, file search, MCP servers, image generation, search among tools). There is
/// no such service in this process, so they are not offered to the model; the log says so once a kind of tool.
/// </summary>
internal sealed partial class HostedTools(ILogger logger)
{
    private readonly ConcurrentDictionary<Type, bool> _reported = new();

    /// <summary>Checks that the caller does not insist on a tool that is not a function, and logs those that are left out.</summary>
    /// <exception cref="ArgumentException">A tool is null.</exception>
    /// <exception cref="NotSupportedException">The tool mode demands a tool that only a hosted service can run.</exception>
    public void Check(ChatOptions? options)
    {
        if (options?.Tools is not { Count: > 0 } tools || options.ToolMode is NoneChatToolMode)
        {
            return;
        }

        AITool[] hosted = [.. tools.Where(static tool => tool is null ? throw new ArgumentException("ChatOptions.Tools holds null. Leave it out.") : tool is not AIFunctionDeclaration)];
        if (hosted.Length == 0)
        {
            return;
        }

        if (options.ToolMode is RequiredChatToolMode required && (required.RequiredFunctionName is { } name
            ? hosted.Any(tool => tool.Name == name) && !tools.Any(tool => tool is AIFunctionDeclaration && tool.Name == name)
            : hosted.Length == tools.Count))
        {
            throw new NotSupportedException(
                $"ChatOptions.ToolMode requires a call of {Describe(hosted)}, which only a hosted service can run. Gemma runs in this process and calls functions: offer an AIFunction, or take another tool mode.");
        }

        if (hosted.Where(tool => _reported.TryAdd(tool.GetType(), true)).ToArray() is { Length: > 0 } unreported)
        {
            LogLeftOut(logger, Describe(unreported));
        }
    }

    private static string Describe(IEnumerable<AITool> tools) => string.Join(", ", tools.Select(static tool => $"'{tool.Name}' ({tool.GetType().Name})").Distinct());

    [LoggerMessage(6, LogLevel.Warning, "Tools that only a hosted service can run are not offered to the model: {Tools}. This is said once a kind of tool.")]
    private static partial void LogLeftOut(ILogger logger, string tools);
}
