using Gemma.Extensions.AI.Chat;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>Exceptions as they travel: the caller sees the type and the words that a model in its own process would have thrown.</summary>
internal static class Faults
{
    public static WireFault ToWire(Exception exception) => exception switch
    {
        GemmaContextLengthException e => new() { Kind = WireFaultKind.ContextLength, First = e.PromptTokens, Second = e.ContextTokens, Message = e.Message },
        GemmaKvCacheException e => new() { Kind = WireFaultKind.KvCache, First = e.NeededBytes, Second = e.BudgetBytes, Message = e.Message },
        AnswerDivergedException e => new() { Kind = WireFaultKind.Diverged, Message = e.Message },
        GemmaModelFormatException e => new() { Kind = WireFaultKind.Format, Message = e.Message },
        ArgumentOutOfRangeException e => new() { Kind = WireFaultKind.ArgumentRange, Parameter = e.ParamName, Message = Bare(e) },
        ArgumentException e => new() { Kind = WireFaultKind.Argument, Parameter = e.ParamName, Message = Bare(e) },
        NotSupportedException e => new() { Kind = WireFaultKind.NotSupported, Message = e.Message },
        TimeoutException e => new() { Kind = WireFaultKind.Timeout, Message = e.Message },
        GemmaException e => new() { Message = e.Message },
        { } e => new() { Message = $"The node failed with an unexpected error, which its log has in full: {e.GetType().Name}." },
    };

    public static Exception FromWire(WireFault fault) => fault.Kind switch
    {
        WireFaultKind.ContextLength => new GemmaContextLengthException(fault.Message, (int)fault.First, (int)fault.Second),
        WireFaultKind.KvCache => new GemmaKvCacheException(fault.Message, fault.First, fault.Second),
        WireFaultKind.Diverged => new GemmaHandoverException(fault.Message),
        WireFaultKind.Format => new GemmaModelFormatException(fault.Message),
        WireFaultKind.ArgumentRange => new ArgumentOutOfRangeException(fault.Parameter, fault.Message),
        WireFaultKind.Argument => new ArgumentException(fault.Message, fault.Parameter),
        WireFaultKind.NotSupported => new NotSupportedException(fault.Message),
        WireFaultKind.Timeout => new TimeoutException(fault.Message),
        _ => new GemmaException(fault.Message),
    };

    /// <summary>The message without what the runtime adds to it, and adds again.</summary>
    private static string Bare(ArgumentException exception)
    {
        string message = exception.Message;
        int added = exception.ParamName is { } name ? message.IndexOf($" (Parameter '{name}')", StringComparison.Ordinal) : -1;
        return added < 0 ? message : message[..added];
    }
}
