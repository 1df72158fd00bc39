using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Continues texts without turns, which only Gemma models do: the abstractions have no such thing.</summary>
internal static class RawCompletion
{
    /// <summary>The source of answers that continue texts or tokens (<see cref="ChatRequest.Source"/>), each as its number says.</summary>
    /// <exception cref="ServerErrorException">The model is none of this library.</exception>
    public static Func<int, ChatOptions, CancellationToken, IAsyncEnumerable<ChatResponseUpdate>> Of(ModelChoice model, Func<int, RawPrompt> prompts)
    {
        if (model.Model.Remote is { } remote)
        {
            return (choice, options, cancellation) => remote.CompleteStreamingAsync(prompts(choice), options, cancellation);
        }

        ModelReference reference = ReferenceOf(model);
        return (choice, options, cancellation) => RunAsync(reference, prompts(choice), options, cancellation);
    }

    /// <summary>The Gemma model that a request needs itself, for what the abstractions do not have.</summary>
    /// <exception cref="ServerErrorException">The model is none of this library.</exception>
    public static ModelReference ReferenceOf(ModelChoice model) => model.Model.Reference
        ?? throw new ServerErrorException(new(ErrorKind.InvalidRequest, $"'{model.Name}' is no Gemma model of this library, and its client has no way to do this.", "unsupported", "model"));

    private static async IAsyncEnumerable<ChatResponseUpdate> RunAsync(ModelReference reference, RawPrompt prompt, ChatOptions options, [EnumeratorCancellation] CancellationToken cancellation)
    {
        using ModelLease lease = await reference.LeaseAsync(cancellation).ConfigureAwait(false);
        await foreach (ChatResponseUpdate update in lease.Model.CompleteStreamingAsync(prompt.TokensFor(lease.Model), options, cancellation).ConfigureAwait(false))
        {
            yield return update;
        }
    }
}
