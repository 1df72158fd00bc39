namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The methods of Python's strings, mappings and lists that templates call. None changes its value.</summary>
internal static class TemplateMethods
{
    private static readonly Dictionary<string, TemplateFunction> s_text = new(StringComparer.Ordinal)
    {
        ["strip"] = static call => TextTools.Trim(call.Context, call.Text, call.GetText(0, "chars")?.Value, start: true, end: true),
        ["lstrip"] = static call => TextTools.Trim(call.Context, call.Text, call.GetText(0, "chars")?.Value, start: true, end: false),
        ["rstrip"] = static call => TextTools.Trim(call.Context, call.Text, call.GetText(0, "chars")?.Value, start: false, end: true),
        ["split"] = static call => TextTools.Split(call.Context, call.Text, call.GetText(0, "sep")?.Value, call.GetInteger(1, "maxsplit", -1), fromEnd: false),
        ["rsplit"] = static call => TextTools.Split(call.Context, call.Text, call.GetText(0, "sep")?.Value, call.GetInteger(1, "maxsplit", -1), fromEnd: true),
        ["splitlines"] = static call => TextTools.Lines(call.Context, call.Text),
        ["replace"] = static call => TextTools.Replace(call.Context, call.Text, call.RequireText(0, "old"), call.RequireText(1, "new"), call.GetInteger(2, "count", -1)),
        ["startswith"] = static call => Affixes(call).Any(affix => call.Text.Value.StartsWith(affix, StringComparison.Ordinal)),
        ["endswith"] = static call => Affixes(call).Any(affix => call.Text.Value.EndsWith(affix, StringComparison.Ordinal)),
        ["removeprefix"] = static call => call.Text is var text && call.RequireText(0, "prefix").Length is var length && text.Value.StartsWith(call.RequireText(0, "prefix").Value, StringComparison.Ordinal)
            ? text.Slice(length, text.Length - length) : text,
        ["removesuffix"] = static call => call.Text is var text && call.RequireText(0, "suffix").Length is var length && text.Value.EndsWith(call.RequireText(0, "suffix").Value, StringComparison.Ordinal)
            ? text.Slice(0, text.Length - length) : text,
        ["find"] = static call => Place(call, call.Text.Value.IndexOf(call.RequireText(0, "sub").Value, StringComparison.Ordinal)),
        ["rfind"] = static call => Place(call, call.Text.Value.LastIndexOf(call.RequireText(0, "sub").Value, StringComparison.Ordinal)),
        ["index"] = static call => call.Text.Value.IndexOf(call.RequireText(0, "sub").Value, StringComparison.Ordinal) is var at and >= 0 ? Place(call, at) : throw call.Context.Failed("the string is not found"),
        ["count"] = static call => TextTools.Count(call.Context, call.Text.Value, call.RequireText(0, "sub").Value),
        ["upper"] = static call => TextTools.Upper(call.Context, call.Text),
        ["lower"] = static call => TextTools.Lower(call.Context, call.Text),
        ["title"] = static call => TextTools.Title(call.Context, call.Text),
        ["capitalize"] = static call => TextTools.Capitalize(call.Context, call.Text),
        ["join"] = static call => TextTools.Join(call.Context, TemplateValues.Items(call.Context, call.Get(0, "iterable")).ConvertAll(item =>
            item as TemplateText ?? throw call.Context.Failed($"'join' wants strings, but one is {TemplateValues.TypeName(item)}")), call.Text),
        ["isdigit"] = static call => All(call, char.IsDigit),
        ["isalpha"] = static call => All(call, char.IsLetter),
        ["isalnum"] = static call => All(call, char.IsLetterOrDigit),
        ["isspace"] = static call => All(call, char.IsWhiteSpace),
        ["isupper"] = static call => TemplateTests.Find("upper")!(call),
        ["islower"] = static call => TemplateTests.Find("lower")!(call),
    };

    private static readonly Dictionary<string, TemplateFunction> s_mapping = new(StringComparer.Ordinal)
    {
        ["get"] = static call => ((TemplateMapping)call.Self!).TryGet(call.RequireText(0, "key").Value, out object? value) ? value : call.Get(1, "default"),
        ["keys"] = static call => TemplateValues.Items(call.Context, call.Self),
        ["values"] = static call => Pairs(call).Select(static pair => pair.Value).ToList(),
        ["items"] = static call => Pairs(call).Select(static pair => (object?)new TemplateTuple([TemplateText.Content(pair.Key, TemplateValues.OtherContent), pair.Value])).ToList(),
    };

    private static readonly Dictionary<string, TemplateFunction> s_list = new(StringComparer.Ordinal)
    {
        ["count"] = static call => (long)((List<object?>)call.Self!).Count(item => TemplateValues.AreEqual(call.Context, item, call.Get(0, "value"))),
        ["index"] = static call => ((List<object?>)call.Self!).FindIndex(item => TemplateValues.AreEqual(call.Context, item, call.Get(0, "value"))) is var at and >= 0
            ? (long)at : throw call.Context.Failed("the value is not in the list"),
    };

    /// <summary>A method bound to a value; null where it has none of that name.</summary>
    public static TemplateFunction? Find(object? self, string name)
    {
        Dictionary<string, TemplateFunction>? methods = self switch
        {
            TemplateText => s_text,
            TemplateMapping => s_mapping,
            List<object?> => s_list,
            _ => null,
        };
        return methods?.TryGetValue(name, out TemplateFunction? method) == true
            ? call =>
            {
                call.Context.Spend(self is TemplateText text ? 1 + (text.Length / 8) : 1);
                return method(new TemplateCall(call.Context, name, self, call.Positional, call.Named));
            }
            : null;
    }

    private static IEnumerable<KeyValuePair<string, object?>> Pairs(TemplateCall call)
    {
        TemplateMapping mapping = (TemplateMapping)call.Self!;
        call.Context.Spend(mapping.Count);
        return mapping.Pairs;
    }

    private static IEnumerable<string> Affixes(TemplateCall call) => call.Get(0, "prefix") switch
    {
        TemplateText text => [text.Value],
        List<object?> list => list.OfType<TemplateText>().Select(static text => text.Value),
        var other => throw call.Context.Failed($"'{call.Name}' wants a string, but it is {TemplateValues.TypeName(other)}"),
    };

    private static object Place(TemplateCall call, int at) => at < 0 ? -1L : (long)TemplateValues.RuneCount(call.Text.Value[..at]);

    private static bool All(TemplateCall call, Func<char, bool> belongs)
    {
        call.Context.Spend(call.Text.Length);
        return call.Text.Length > 0 && call.Text.Value.All(belongs);
    }
}
