using System.Runtime.ExceptionServices;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Waits for the end of a request whose tokens nobody reads.</summary>
internal sealed class CompletionSink : GenerationSink
{
    private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Waits until the request has ended.</summary>
    /// <param name="cancellationToken">The token that the request was submitted with.</param>
    /// <exception cref="OperationCanceledException">The request was cancelled. Where it failed, its own exception is thrown.</exception>
    public async Task<GenerationResult> WaitAsync(CancellationToken cancellationToken)
    {
        GenerationResult result = await _completion.Task.ConfigureAwait(false);
        if (result.Finish == EngineFinish.Cancelled)
        {
            throw new OperationCanceledException(cancellationToken);
        }

        if (result.Error is not null)
        {
            ExceptionDispatchInfo.Throw(result.Error);
        }

        return result;
    }

    public override bool OnToken(int token) => true;

    public override void OnCompleted(GenerationResult result) => _completion.SetResult(result);
}
