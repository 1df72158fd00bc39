namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The tests: what may follow <c>is</c>.</summary>
internal static class TemplateTests
{
    private static readonly Dictionary<string, Func<TemplateCall, bool>> s_tests = new(StringComparer.Ordinal)
    {
        ["defined"] = static call => call.Self is not TemplateUndefined,
        ["undefined"] = static call => call.Self is TemplateUndefined,
        ["none"] = static call => call.Self is null,
        ["boolean"] = static call => call.Self is bool,
        ["true"] = static call => call.Self is true,
        ["false"] = static call => call.Self is false,
        ["string"] = static call => call.Self is TemplateText,
        ["number"] = static call => call.Self is long or double or bool,
        ["integer"] = static call => call.Self is long,
        ["float"] = static call => call.Self is double,
        ["mapping"] = static call => call.Self is TemplateMapping,
        ["sequence"] = static call => call.Self is TemplateText or List<object?> or TemplateMapping or TemplateUndefined,
        ["iterable"] = static call => call.Self is TemplateText or List<object?> or TemplateMapping or TemplateUndefined,
        ["callable"] = static call => call.Self is TemplateFunction,
        ["odd"] = static call => Math.Abs(Whole(call) % 2) == 1,
        ["even"] = static call => Whole(call) % 2 == 0,
        ["divisibleby"] = static call => call.GetInteger(0, "num", 0) is var number and not 0 ? Whole(call) % number == 0 : throw call.Context.Failed("division by zero"),
        ["lower"] = static call => IsCased(call, char.IsUpper),
        ["upper"] = static call => IsCased(call, char.IsLower),
        ["eq"] = static call => TemplateValues.AreEqual(call.Context, call.Self, call.Get(0, "other")),
        ["ne"] = static call => !TemplateValues.AreEqual(call.Context, call.Self, call.Get(0, "other")),
        ["lt"] = static call => TemplateValues.Compare(call.Context, call.Self, call.Get(0, "other")) < 0,
        ["le"] = static call => TemplateValues.Compare(call.Context, call.Self, call.Get(0, "other")) <= 0,
        ["gt"] = static call => TemplateValues.Compare(call.Context, call.Self, call.Get(0, "other")) > 0,
        ["ge"] = static call => TemplateValues.Compare(call.Context, call.Self, call.Get(0, "other")) >= 0,
        ["in"] = static call => TemplateValues.Contains(call.Context, call.Get(0, "seq"), call.Self),
        ["sameas"] = static call => call.Get(0, "other") is var other && (call.Self is null or bool or long ? Equals(call.Self, other) : ReferenceEquals(call.Self, other)),
    };

    private static readonly Dictionary<string, string> s_otherNames = new(StringComparer.Ordinal)
    {
        ["equalto"] = "eq",
        ["lessthan"] = "lt",
        ["greaterthan"] = "gt",
    };

    public static Func<TemplateCall, bool>? Find(string name) => s_tests.GetValueOrDefault(s_otherNames.GetValueOrDefault(name, name));

    private static long Whole(TemplateCall call) => call.Self is long number ? number : throw call.Context.Failed($"'{call.Name}' wants a whole number, but it is {TemplateValues.TypeName(call.Self)}");

    private static bool IsCased(TemplateCall call, Func<char, bool> isOther)
    {
        string text = TemplateValues.Print(call.Context, call.Self).Value;
        call.Context.Spend(text.Length);
        return text.Any(char.IsLetter) && !text.Any(isOther);
    }
}
