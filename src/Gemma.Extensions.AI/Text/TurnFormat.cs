using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Text;

/// <summary>The kind of markers around the turns of a <see cref="TurnFormat"/>.</summary>
/// <param name="Name">Name for logs, reports and options.</param>
/// <param name="Start">Begins a turn, in front of the role's name.</param>
/// <param name="End">Ends a turn.</param>
/// <param name="Model">The model's name.</param>
internal sealed record TurnMarkers(string Name, string Start, string End, string Model)
{
    public static TurnMarkers Gemma { get; } = new("gemma", "<start_of_turn>", "<end_of_turn>", "model");

    public static TurnMarkers ChatML { get; } = new("chatml", "<|im_start|>", "<|im_end|>", "assistant");
}

/// <summary>Differences between formats with the same kind of markers.</summary>
/// <param name="HasSystem">Whether there are turns of the system.</param>
/// <param name="SystemAnywhere">True if they may also occur later than at the beginning.</param>
/// <param name="Alternates">Whether user and model must alternate.</param>
/// <param name="Trims">True if white space around content is dropped.</param>
/// <param name="BeginsWithBos">Whether a prompt begins with bos.</param>
internal sealed record TurnRules(bool HasSystem, bool SystemAnywhere, bool Alternates, bool Trims, bool BeginsWithBos);

/// <summary>
/// A format whose every turn is a marker, the role's name, a line break, the content and another marker: Google's for Gemma 2, the same with a system turn, and ChatML.
/// </summary>
internal sealed class TurnFormat(GemmaTokenizer tokenizer, TurnMarkers markers, TurnRules rules) : ChatFormat(tokenizer)
{
    public override string Name => markers == TurnMarkers.Gemma && rules.HasSystem ? "gemma-system" : markers.Name;

    public override bool HasSystemTurn => rules.HasSystem;

    public override bool HasSystemAnywhere => rules.SystemAnywhere;

    public override bool Alternates => rules.Alternates;

    public override bool Trims => rules.Trims;

    public override string? EndMarker => markers.End;

    public override PromptEncoder Encoder { get; } = new(tokenizer, [markers.Start, markers.End]);

    /// <summary>Gemma 2 as Google publishes it: no system role, user and model in alternation, content trimmed.</summary>
    public static TurnFormat Gemma(GemmaTokenizer tokenizer, string source = "no template") =>
        new(tokenizer, TurnMarkers.Gemma, new(HasSystem: false, SystemAnywhere: false, Alternates: true, Trims: true, BeginsWithBos: true)) { Source = source };

    /// <summary>The same with turns of the system.</summary>
    public static TurnFormat GemmaSystem(GemmaTokenizer tokenizer, string source) =>
        new(tokenizer, TurnMarkers.Gemma, new(HasSystem: true, SystemAnywhere: true, Alternates: false, Trims: true, BeginsWithBos: true)) { Source = source };

    /// <summary>ChatML, content unchanged.</summary>
    public static TurnFormat ChatML(GemmaTokenizer tokenizer, string source) =>
        new(tokenizer, TurnMarkers.ChatML, new(HasSystem: true, SystemAnywhere: true, Alternates: false, Trims: false, BeginsWithBos: true)) { Source = source };

    public override List<PromptPart> Write(IReadOnlyList<TurnText> turns, PromptEnd end)
    {
        List<PromptPart> parts = [];
        string before = rules.BeginsWithBos && Tokenizer.BosId >= 0 ? Tokenizer.GetPiece(Tokenizer.BosId) : "";
        for (int turn = 0; turn < turns.Count; turn++)
        {
            (TurnRole role, string text) = turns[turn];
            parts.Add(new(before + Open(role), PromptPart.Own));
            parts.Add(new(rules.Trims ? TextTools.Trim(text) : text, turn));
            before = markers.End + "\n";
        }

        parts.Add(new(end switch
        {
            PromptEnd.Answer => before + Open(TurnRole.Model),
            PromptEnd.Closed => before,
            _ => "",
        }, PromptPart.Own));
        return parts;
    }

    private string Open(TurnRole role) => $"{markers.Start}{(role == TurnRole.Model ? markers.Model : role == TurnRole.User ? "user" : "system")}\n";
}
