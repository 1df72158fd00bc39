using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Text;

/// <summary>A prompt format as a checkpoint brings it.</summary>
/// <param name="Text">The template, in Jinja.</param>
/// <param name="Source">The file or key that it was found in.</param>
/// <param name="SpecialTokens">Further variables that it may use: <c>bos_token</c>, <c>eos_token</c> and the like, as the checkpoint spells them.</param>
internal sealed record ChatTemplateText(string Text, string Source, IReadOnlyDictionary<string, string> SpecialTokens);

/// <summary>
/// An unknown format: the checkpoint's template is evaluated for each prompt. Its capabilities (system text, repeated roles) were found by
/// trying; tools and system text that it has no place for are folded in as in Google's format.
/// </summary>
internal sealed class TemplateFormat : ChatFormat
{
    /// <summary>More turns than fit any context; marks distinguish that many.</summary>
    private const int MaxTurns = 60_000;

    private readonly JinjaTemplate _template;
    private readonly ChatTemplateText _text;
    private readonly Func<DateTime> _now;

    public TemplateFormat(GemmaTokenizer tokenizer, ChatTemplateText text, JinjaTemplate template, Func<DateTime>? now = null) : base(tokenizer)
    {
        (_text, _template, _now) = (text, template, now ?? (static () => DateTime.Now));
        (Source, Template) = (text.Source, text.Text);
        const string Content = "zq", Other = "qz", Third = "zzq";
        HasToolPlace = Try([new(TurnRole.User, Content)], PromptEnd.Answer, Probe("zqz"))?.Any(static part => part.Text.Contains("zqz", StringComparison.Ordinal)) == true;
        HasSystemTurn = Shows([new(TurnRole.System, Content), new(TurnRole.User, Other)]);
        HasSystemAnywhere = HasSystemTurn && Shows([new(TurnRole.User, Content), new(TurnRole.Model, Other), new(TurnRole.System, Third), new(TurnRole.User, Content)]);
        Alternates = !Shows([new(TurnRole.User, Content), new(TurnRole.User, Other)]);
        List<PromptPart>? spoken = Try([new(TurnRole.User, Content), new(TurnRole.Model, Other)], PromptEnd.Closed) ?? Try([new(TurnRole.User, Content), new(TurnRole.Model, Other), new(TurnRole.User, Third)], PromptEnd.Answer);
        EndMarker = FirstMarker(spoken);
        string own = string.Concat((spoken ?? []).Where(static part => part.Turn == PromptPart.Own).Select(static part => part.Text));
        Encoder = new PromptEncoder(tokenizer, tokenizer.UserDefinedPieces.Where(piece => piece.Any(char.IsLetter) && own.Contains(piece, StringComparison.Ordinal)));
    }

    public override string Name => "template";

    public override bool HasSystemTurn { get; }

    public override bool HasSystemAnywhere { get; }

    public override bool Alternates { get; }

    public override bool Trims => false;

    public override string? EndMarker { get; }

    public override PromptEncoder Encoder { get; }

    public override List<PromptPart> Write(IReadOnlyList<TurnText> turns, PromptEnd end)
    {
        try
        {
            return Render(turns, end);
        }
        catch (TemplateException e) when (e.Fault == TemplateFault.Raised)
        {
            throw new NotSupportedException($"The chat template of the checkpoint ({Source}) refuses this conversation: {e.Reason} {ChatFormats.HowToForce}", e);
        }
        catch (TemplateException e)
        {
            throw ChatFormats.Unusable(_text, e);
        }
    }

    /// <exception cref="TemplateException">The template raised an exception, failed, or did too much.</exception>
    internal List<PromptPart> Render(IReadOnlyList<TurnText> turns, PromptEnd end, List<object?>? tools = null)
    {
        if (turns.Count > MaxTurns)
        {
            throw new NotSupportedException($"The conversation has {turns.Count:N0} turns, expected at most {MaxTurns:N0}. Leave out what is old.");
        }

        long budget = 1 << 20;
        List<object?> messages = [];
        for (int i = 0; i < turns.Count; i++)
        {
            (TurnRole role, string text) = turns[i];
            TemplateMapping message = new();
            message["role"] = new TemplateText(role switch { TurnRole.System => "system", TurnRole.User => "user", _ => "assistant" });
            message["content"] = TemplateText.Content(text, (char)(i + 1));
            messages.Add(message);
            budget += 4096 + (64L * text.Length);
        }

        Dictionary<string, object?> variables = new(StringComparer.Ordinal)
        {
            ["messages"] = messages,
            ["tools"] = tools,
            ["documents"] = null,
            ["add_generation_prompt"] = end == PromptEnd.Answer,
        };
        AddToken("bos_token", Tokenizer.BosId);
        AddToken("eos_token", Tokenizer.EosId);
        AddToken("pad_token", Tokenizer.PadId);
        AddToken("unk_token", Tokenizer.UnknownId);
        foreach ((string name, string token) in _text.SpecialTokens)
        {
            variables[name] = new TemplateText(token);
        }

        return Parts(_template.Render(variables, budget, _now), turns.Count, end);

        void AddToken(string name, int id)
        {
            if (id >= 0)
            {
                variables[name] = new TemplateText(Tokenizer.GetPiece(id));
            }
        }
    }

    /// <summary>Runs of equal marks; if the last turn is continued, the text behind its content is cut off.</summary>
    private List<PromptPart> Parts(TemplateText rendered, int turns, PromptEnd end)
    {
        string marks = rendered.Marks ?? new string('\0', rendered.Length);
        int length = rendered.Length;
        if (end == PromptEnd.Continue)
        {
            length = marks.LastIndexOf((char)turns) + 1;
            if (length == 0)
            {
                throw new NotSupportedException($"The conversation ends with a message of the assistant, which the chat template of the checkpoint ({Source}) leaves out, so it cannot be continued. {ChatFormats.HowToForce}");
            }
        }

        List<PromptPart> parts = [];
        for (int at = 0; at < length;)
        {
            int run = marks.AsSpan(at, length - at).IndexOfAnyExcept(marks[at]) is var other and >= 0 ? other : length - at;
            parts.Add(new(rendered.Value.Substring(at, run), marks[at] switch { '\0' => PromptPart.Own, TemplateValues.OtherContent => PromptPart.Other, char mark => mark - 1 }));
            at += run;
        }

        return parts;
    }

    /// <summary>True if the template accepts a conversation and shows each of its turns.</summary>
    private bool Shows(TurnText[] turns) =>
        Try(turns, PromptEnd.Answer) is { } parts && Enumerable.Range(0, turns.Length).All(turn => parts.Any(part => part.Turn == turn && part.Text == turns[turn].Text));

    private List<PromptPart>? Try(TurnText[] turns, PromptEnd end, List<object?>? tools = null)
    {
        try
        {
            return Render(turns, end, tools);
        }
        catch (TemplateException e) when (e.Fault is TemplateFault.Raised or TemplateFault.Failed)
        {
            return null;
        }
    }

    /// <summary>A tool of this name, declared as transformers declares them.</summary>
    private static List<object?> Probe(string name)
    {
        TemplateMapping tool = new(), function = new(), parameters = new();
        (tool["type"], tool["function"]) = (new TemplateText("function"), function);
        (function["name"], function["description"], function["parameters"]) = (new TemplateText(name), new TemplateText("D"), parameters);
        (parameters["type"], parameters["properties"], parameters["required"]) = (new TemplateText("object"), new TemplateMapping(), new List<object?>());
        return [tool];
    }

    /// <summary>The first marker after the model's text.</summary>
    private string? FirstMarker(List<PromptPart>? parts)
    {
        int at = parts?.FindIndex(static part => part.Turn == 1) ?? -1;
        if (at < 0)
        {
            return null;
        }

        foreach (PromptPart part in parts!.Skip(at + 1).TakeWhile(static part => part.Turn == PromptPart.Own))
        {
            int start = 0;
            if (Tokenizer.Controls.Next(part.Text, ref start, out int length, out _))
            {
                return part.Text.Substring(start, length);
            }
        }

        return null;
    }
}
