using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Finds the format of a checkpoint. Its template is evaluated for a few conversations: if the output equals that of a known format, that one is used, however the
/// template says it; otherwise the template itself.
/// </summary>
internal static class ChatFormats
{
    public const string HowToForce = "Set GemmaOptions.ChatFormat (in the configuration Gemma:ChatFormat, on the command line --chat-format) to use a built-in format instead: Gemma, GemmaSystem or ChatML.";

    private const string Odd = " Say {{ bos_token }} & </think> <|x|> {\"name\": \"é😀\"}\\n \n\n twice.\n";
    private const string Plain = "2 + 2?";

    /// <summary>Conversations that a known format writes in one way, whatever its details; white space at the ends shows whether it is trimmed.</summary>
    private static readonly TurnText[][] s_probes =
    [
        [new(TurnRole.User, Odd)],
        [new(TurnRole.User, Plain), new(TurnRole.Model, Odd), new(TurnRole.User, Odd)],
        [new(TurnRole.User, Odd), new(TurnRole.Model, "<think>\nHm.\n</think>\n\nYes, " + Plain), new(TurnRole.User, Plain), new(TurnRole.Model, Plain), new(TurnRole.User, "A"), new(TurnRole.Model, "B"), new(TurnRole.User, "C")],
    ];

    private static readonly TurnText[] s_withSystem = [new(TurnRole.System, Odd), new(TurnRole.User, Plain), new(TurnRole.Model, Odd), new(TurnRole.User, "A")];
    private static readonly TurnText[] s_withLateSystem = [new(TurnRole.System, "S"), new(TurnRole.User, Plain), new(TurnRole.Model, "B"), new(TurnRole.System, Odd), new(TurnRole.User, "A")];
    private static readonly TurnText[] s_repeated = [new(TurnRole.User, Plain), new(TurnRole.User, Odd), new(TurnRole.Model, "B"), new(TurnRole.Model, Odd), new(TurnRole.User, "A")];

    /// <summary>The format that a checkpoint's template describes; Google's where there is none.</summary>
    /// <exception cref="GemmaModelFormatException">The template is outside of the subset that is evaluated, or fails on every conversation; says why, where, and how to force a format.</exception>
    public static ChatFormat Resolve(GemmaTokenizer tokenizer, ChatTemplateText? template)
    {
        if (template is null)
        {
            return TurnFormat.Gemma(tokenizer);
        }

        try
        {
            TemplateFormat own = new(tokenizer, template, JinjaTemplate.Parse(template.Text));
            if (Recognise(own) is { } known)
            {
                return known;
            }

            own.Render([new(TurnRole.User, Plain)], PromptEnd.Answer); // one that takes not even this is of no use
            return own;
        }
        catch (TemplateException e)
        {
            throw Unusable(template, e);
        }
    }

    public static GemmaModelFormatException Unusable(ChatTemplateText template, TemplateException e) =>
        new($"The chat template of the checkpoint ({template.Source}) cannot be used: {e.Message}. {HowToForce}", e);

    private static TurnFormat? Recognise(TemplateFormat own)
    {
        foreach (TurnMarkers markers in new[] { TurnMarkers.Gemma, TurnMarkers.ChatML })
        {
            foreach ((bool trims, bool bos) in new[] { (true, true), (false, true), (true, false), (false, false) })
            {
                TurnRules rules = new(HasSystem: false, SystemAnywhere: false, Alternates: true, trims, bos);
                if (s_probes.All(probe => Equal(own, Make(rules), probe, PromptEnd.Answer) && Equal(own, Make(rules), [.. probe, new(TurnRole.Model, Odd)], PromptEnd.Closed)))
                {
                    return Refine(rules, Make);
                }

                TurnFormat Make(TurnRules detailed) => new(own.Tokenizer, markers, detailed) { Source = own.Source, Template = own.Template, HasToolPlace = own.HasToolPlace };
            }
        }

        return null;

        // The basic turns match a known format. Anything else that the template supports must match it too, or the format counts as unknown.
        TurnFormat? Refine(TurnRules rules, Func<TurnRules, TurnFormat> make)
        {
            TurnRules full = rules with { HasSystem = true, SystemAnywhere = true, Alternates = false };
            if (own.HasSystemTurn && !IsFolded(own, make(rules)))
            {
                if (!Equal(own, make(full), s_withSystem, PromptEnd.Answer))
                {
                    return null;
                }

                rules = rules with { HasSystem = true };
                if (own.HasSystemAnywhere)
                {
                    if (!Equal(own, make(full), s_withLateSystem, PromptEnd.Answer))
                    {
                        return null;
                    }

                    rules = rules with { SystemAnywhere = true };
                }
            }

            return own.Alternates ? make(rules) : Equal(own, make(full), s_repeated, PromptEnd.Answer) ? make(rules with { Alternates = false }) : null;
        }
    }

    /// <summary>True if the template puts system text where we would: before the first user's text, separated by a blank line.</summary>
    private static bool IsFolded(TemplateFormat own, TurnFormat known)
    {
        TurnText[] folded = [new(TurnRole.User, "S\n\n" + Plain), new(TurnRole.Model, "B"), new(TurnRole.User, "A")];
        return TextOf(own, [new(TurnRole.System, "S"), new(TurnRole.User, Plain), .. folded[1..]], PromptEnd.Answer) is { } text
            && text == string.Concat(known.Write(folded, PromptEnd.Answer).Select(static part => part.Text));
    }

    private static bool Equal(TemplateFormat own, TurnFormat known, TurnText[] turns, PromptEnd end) =>
        TextOf(own, turns, end) == string.Concat(known.Write(turns, end).Select(static part => part.Text));

    private static string? TextOf(TemplateFormat own, TurnText[] turns, PromptEnd end)
    {
        try
        {
            return string.Concat(own.Render(turns, end).Select(static part => part.Text));
        }
        catch (TemplateException e) when (e.Fault is TemplateFault.Raised or TemplateFault.Failed)
        {
            return null;
        }
    }
}
