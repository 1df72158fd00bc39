using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Hosting;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Questions to the tokenizer and chat template of a Gemma model, in this process or where it is computed.</summary>
internal static class PromptTokens
{
    /// <summary>Tokens that the model reads before it answers.</summary>
    public static async Task<int> CountAsync(ChatRequest request, CancellationToken cancellation) =>
        (await AskAsync(request.Model, new TokenQuestion { Messages = request.Messages, Options = request.Options }, cancellation).ConfigureAwait(false)).Tokens.Length;

    /// <exception cref="Http.ServerErrorException">The model is none of this library.</exception>
    /// <exception cref="ArgumentException">A token is not in the vocabulary.</exception>
    public static async Task<TokenAnswer> AskAsync(ModelChoice model, TokenQuestion question, CancellationToken cancellation)
    {
        question = question with { Adapter = model.Adapter };
        if (model.Model.Remote is { } remote)
        {
            return await remote.AskAsync(question, cancellation).ConfigureAwait(false);
        }

        using ModelLease lease = await RawCompletion.ReferenceOf(model).LeaseAsync(cancellation).ConfigureAwait(false);
        return question.AnsweredBy(lease.Model);
    }
}
