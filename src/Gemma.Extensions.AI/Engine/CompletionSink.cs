namespace Gemma.Extensions.AI.Engine;

/// <summary>Waits for the end of a request whose tokens nobody reads.</summary>
internal sealed class CompletionSink : GenerationSink
{
    private readonly TaskCompletionSource<GenerationResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes with the outcome of the request; never faults.</summary>
    public Task<GenerationResult> Completion => _completion.Task;

    public override bool OnToken(int token) => true;

    public override void OnCompleted(GenerationResult result) => _completion.SetResult(result);
}
