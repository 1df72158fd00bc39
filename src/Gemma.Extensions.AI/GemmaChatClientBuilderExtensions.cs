using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Guard;

#pragma warning disable IDE0130 // Found wherever ChatClientBuilder is.
namespace Microsoft.Extensions.AI;
#pragma warning restore IDE0130

/// <summary>Middleware around Gemma clients.</summary>
public static class GemmaChatClientBuilderExtensions
{
    /// <summary>
    /// Keeps conversations within the context: before the client behind it answers, the oldest turns are cut. Put it behind <c>UseFunctionInvocation</c>, so that
    /// it also sees what tools returned.
    /// </summary>
    /// <param name="builder">Builds the client.</param>
    /// <param name="options">Limits; null: the defaults.</param>
    /// <exception cref="ArgumentException">An option is out of range; building the client: there is no Gemma model behind it.</exception>
    public static ChatClientBuilder UseGemmaChatReducer(this ChatClientBuilder builder, GemmaChatReducerOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        GemmaChatReducerOptions? kept = options?.Checked();
        return builder.Use(inner => new ReducedChatClient(inner, new GemmaChatReducer(inner, kept)));
    }

    /// <summary>
    /// Has a ShieldGemma model check what users say before it is answered, and answers, whatever client gives them, before they are let out; streamed ones window by window. What is blocked is
    /// answered with <see cref="ChatFinishReason.ContentFilter"/> and the violated policies in the additional properties, or throws. Put it outermost, before <c>UseFunctionInvocation</c>.
    /// </summary>
    /// <param name="builder">Builds the client.</param>
    /// <param name="guard">The guard, with its policies and thresholds.</param>
    public static ChatClientBuilder UseShieldGemma(this ChatClientBuilder builder, ShieldGemma guard)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(guard);
        return builder.Use(inner => new GuardedChatClient(inner, guard));
    }

    /// <summary>
    /// Shows a model the tools of a call that fit best what the user says, where there are more: by words of their names, descriptions and parameters. Those that the user names, that
    /// <see cref="ChatOptions.ToolMode"/> requires and that were called since the user spoke are shown too. Where <see cref="ChatOptions.Tools"/> hold a <c>HostedToolSearchTool</c>, only the tools are
    /// searched that it defers. Put it behind <c>UseFunctionInvocation</c>, which has to know them all.
    /// </summary>
    /// <param name="builder">Builds the client.</param>
    /// <param name="count">Most tools that are shown for their words.</param>
    public static ChatClientBuilder UseToolSearch(this ChatClientBuilder builder, int count = 8)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return builder.Use(inner => new ToolSearchClient(inner, count));
    }
}
