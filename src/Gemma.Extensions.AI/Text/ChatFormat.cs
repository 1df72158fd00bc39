namespace Gemma.Extensions.AI.Text;

/// <summary>Who speaks in a turn.</summary>
internal enum TurnRole
{
    System,
    User,
    Model,
}

/// <summary>A turn as a format writes it.</summary>
internal readonly record struct TurnText(TurnRole Role, string Text);

/// <summary>The end of a prompt.</summary>
internal enum PromptEnd
{
    /// <summary>The beginning of the model's turn.</summary>
    Answer,

    /// <summary>The model's last turn, left open.</summary>
    Continue,

    /// <summary>The last turn, closed.</summary>
    Closed,
}

/// <summary>A piece of a prompt.</summary>
/// <param name="Text">Its characters.</param>
/// <param name="Turn">The turn whose content it is; <see cref="Own"/> for the format's text, in which markers count; <see cref="Other"/> for content of no turn.</param>
internal readonly record struct PromptPart(string Text, int Turn)
{
    public const int Own = -1;
    public const int Other = -2;
}

/// <summary>
/// The conversation format that a model was trained on: the one place that knows how turns begin and end, which roles exist, and the markers around calls and
/// results. Template, parser, grammar and stop tokens all ask it. Bound to a vocabulary; immutable and safe for concurrent use.
/// </summary>
internal abstract class ChatFormat(GemmaTokenizer tokenizer)
{
    private int? _endId;

    public GemmaTokenizer Tokenizer { get; } = tokenizer;

    /// <summary>Name for logs and reports.</summary>
    public abstract string Name { get; }

    /// <summary>Its source: a file, the metadata, an option, or the default.</summary>
    public string Source { get; init; } = "no template";

    /// <summary>The checkpoint's template; null if the format was chosen in another way.</summary>
    public string? Template { get; init; }

    /// <summary>
    /// The markers around calls and results, the same in every format. Templates with a place for tools differ in everything: the declarations that they show, the syntax of a
    /// call (JSON, Python, tags) and the turn of a result; in general their output cannot be parsed back. Ours is described to the model where tools are
    /// offered, and parser and grammar know it, so that a call is valid whatever a model was trained on.
    /// </summary>
    public ToolMarkup Tools { get; } = ToolMarkup.Own;

    /// <summary>True if the checkpoint's template has its own description of tools, which is not used.</summary>
    public bool HasToolPlace { get; init; }

    /// <summary>True if a conversation may begin with a system turn; otherwise system text opens the first user turn.</summary>
    public abstract bool HasSystemTurn { get; }

    /// <summary>True if system turns may also occur later.</summary>
    public abstract bool HasSystemAnywhere { get; }

    /// <summary>True if user and model must alternate: consecutive messages of one role are then one turn.</summary>
    public abstract bool Alternates { get; }

    /// <summary>True if white space around content is dropped.</summary>
    public abstract bool Trims { get; }

    /// <summary>The end marker of the model's turn; null if the format has none.</summary>
    public abstract string? EndMarker { get; }

    /// <summary>The token that ends the model's turn, -1 if it is not a single token.</summary>
    public int EndId => _endId ??= EndMarker is { } marker ? Tokenizer.FindMarker(marker) : -1;

    /// <summary>Turns parts into tokens.</summary>
    public abstract PromptEncoder Encoder { get; }

    /// <summary>The ends of a reply: those of the model in any conversation, and the end of a turn.</summary>
    public int[] StopTokens(int[] ofModel) => EndId < 0 || ofModel.Contains(EndId) ? ofModel : [.. ofModel, EndId];

    /// <summary>Writes a conversation.</summary>
    /// <exception cref="NotSupportedException">The checkpoint's template refuses the conversation.</exception>
    /// <exception cref="GemmaModelFormatException">The checkpoint's template fails.</exception>
    public abstract List<PromptPart> Write(IReadOnlyList<TurnText> turns, PromptEnd end);
}
