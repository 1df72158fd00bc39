using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Chat;

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
}
