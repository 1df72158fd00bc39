using System.Globalization;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The filters: what may follow a bar.</summary>
internal static class TemplateFilters
{
    private static readonly Dictionary<string, TemplateFunction> s_filters = new(StringComparer.Ordinal)
    {
        ["trim"] = static call => TextTools.Trim(call.Context, Printed(call), call.GetText(0, "chars")?.Value, start: true, end: true),
        ["upper"] = static call => TextTools.Upper(call.Context, Printed(call)),
        ["lower"] = static call => TextTools.Lower(call.Context, Printed(call)),
        ["capitalize"] = static call => TextTools.Capitalize(call.Context, Printed(call)),
        ["title"] = static call => TextTools.Title(call.Context, Printed(call)),
        ["string"] = static call => Printed(call),
        ["safe"] = static call => call.Self,
        ["replace"] = static call => TextTools.Replace(call.Context, Printed(call), call.RequireText(0, "old"), call.RequireText(1, "new"), call.GetInteger(2, "count", -1)),
        ["indent"] = Indent,
        ["escape"] = static call => new[] { ("&", "&amp;"), (">", "&gt;"), ("<", "&lt;"), ("'", "&#39;"), ("\"", "&#34;") }
            .Aggregate(Printed(call), (text, pair) => TextTools.Replace(call.Context, text, new(pair.Item1), new(pair.Item2), -1)),
        ["tojson"] = static call => TemplateJson.Write(call),
        ["length"] = static call => TemplateValues.Length(call.Context, call.Self),
        ["default"] = static call => call.Self is TemplateUndefined || (TemplateValues.IsTrue(call.Get(1, "boolean")) && !TemplateValues.IsTrue(call.Self))
            ? call.Get(0, "default_value", TemplateText.Empty) : call.Self,
        ["first"] = static call => Items(call) is [var first, ..] ? first : new TemplateUndefined("the first of no items"),
        ["last"] = static call => Items(call) is [.., var last] ? last : new TemplateUndefined("the last of no items"),
        ["list"] = static call => new List<object?>(Items(call)),
        ["reverse"] = Reverse,
        ["join"] = static call => TextTools.Join(call.Context, Selected(call, 1).ConvertAll(item => TemplateValues.Print(call.Context, item)), call.GetText(0, "d") ?? TemplateText.Empty),
        ["map"] = Map,
        ["select"] = static call => Choose(call, attribute: false, keep: true),
        ["reject"] = static call => Choose(call, attribute: false, keep: false),
        ["selectattr"] = static call => Choose(call, attribute: true, keep: true),
        ["rejectattr"] = static call => Choose(call, attribute: true, keep: false),
        ["items"] = static call => call.Self is TemplateUndefined ? new List<object?>() : TemplateMethods.Find(call.Self, "items") is { } items && call.Self is TemplateMapping
            ? items(call) : throw call.Context.Failed($"'items' wants a mapping, but it is {TemplateValues.TypeName(call.Self)}"),
        ["dictsort"] = static call => Sorted(call, ((List<object?>)s_filters!["items"](call)!).ConvertAll(static pair => (((List<object?>)pair!)[0], (object?)pair)), false),
        ["sort"] = static call => Sorted(call, Keyed(call, 2), TemplateValues.IsTrue(call.Get(0, "reverse"))),
        ["unique"] = Unique,
        ["min"] = static call => Sorted(call, Keyed(call, 1), false) is [var least, ..] ? least : new TemplateUndefined("the least of no items"),
        ["max"] = static call => Sorted(call, Keyed(call, 1), false) is [.., var greatest] ? greatest : new TemplateUndefined("the greatest of no items"),
        ["sum"] = Sum,
        ["int"] = static call => ToInteger(call),
        ["float"] = static call => TemplateValues.Number(call.Self) ?? (call.Self is TemplateText text && double.TryParse(text.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            ? number : call.Get(0, "default", 0.0)),
        ["abs"] = static call => call.Self is long number and not long.MinValue ? (object)Math.Abs(number) : Math.Abs(RequireNumber(call)),
        ["round"] = static call => call.Self is long number ? (object)number : Math.Round(RequireNumber(call), (int)Math.Clamp(call.GetInteger(0, "precision", 0), 0, 15), MidpointRounding.ToEven),
    };

    private static readonly Dictionary<string, string> s_otherNames = new(StringComparer.Ordinal)
    {
        ["count"] = "length",
        ["d"] = "default",
        ["e"] = "escape",
    };

    public static TemplateFunction? Find(string name) => s_filters.GetValueOrDefault(s_otherNames.GetValueOrDefault(name, name));

    private static TemplateText Printed(TemplateCall call) => TemplateValues.Print(call.Context, call.Self);

    private static List<object?> Items(TemplateCall call) => TemplateValues.Items(call.Context, call.Self);

    private static double RequireNumber(TemplateCall call) =>
        TemplateValues.Number(call.Self) ?? throw call.Context.Failed($"'{call.Name}' wants a number, but it is {TemplateValues.TypeName(call.Self)}");

    private static object? ToInteger(TemplateCall call) => call.Self switch
    {
        long or bool => (long)TemplateValues.Number(call.Self)!,
        double number and > long.MinValue and < long.MaxValue => (long)number,
        TemplateText text when long.TryParse(text.Value, NumberStyles.AllowLeadingSign | NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out long number) => number,
        TemplateText text when double.TryParse(text.Value, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) && Math.Abs(number) < long.MaxValue => (long)number,
        _ => call.Get(0, "default", 0L),
    };

    private static TemplateText Indent(TemplateCall call)
    {
        TemplateText text = Printed(call);
        TemplateText width = call.Get(0, "width", 4L) switch
        {
            TemplateText given => given,
            long number => new TemplateText(new string(' ', (int)Math.Clamp(number, 0, 1000))),
            var other => throw call.Context.Failed($"'indent' wants a number or a string, but it is {TemplateValues.TypeName(other)}"),
        };
        bool blank = TemplateValues.IsTrue(call.Get(2, "blank"));
        TemplateText newline = new("\n");
        List<object?> lines = TextTools.Split(call.Context, text, "\n", -1, fromEnd: false);
        List<TemplateText> indented = [];
        for (int i = 0; i < lines.Count; i++)
        {
            TemplateText line = (TemplateText)lines[i]!;
            bool indents = i == 0 ? TemplateValues.IsTrue(call.Get(1, "first")) : blank || line.Length > 0;
            indented.Add(indents ? Concatenation.Join(call.Context, width, line) : line);
        }

        return TextTools.Join(call.Context, indented, newline);
    }

    private static object Reverse(TemplateCall call)
    {
        List<object?> reversed = [.. Items(call).AsEnumerable().Reverse()];
        call.Context.Spend(reversed.Count);
        return call.Self is TemplateText ? TextTools.Join(call.Context, reversed.ConvertAll(static item => (TemplateText)item!), TemplateText.Empty) : reversed;
    }

    /// <summary>An attribute of a value: <c>function.name</c>.</summary>
    private static object? Attribute(TemplateCall call, object? value, TemplateText path)
    {
        foreach (string name in path.Value.Split('.'))
        {
            call.Context.Spend(1);
            value = value switch
            {
                TemplateMapping mapping when mapping.TryGet(name, out object? item) => item,
                TemplateObject other => other.Get(name),
                List<object?> list when int.TryParse(name, CultureInfo.InvariantCulture, out int at) && at >= 0 && at < list.Count => list[at],
                _ => new TemplateUndefined($"'{name}' of {TemplateValues.TypeName(value)}"),
            };
        }

        return value;
    }

    /// <summary>The items, or an attribute of each where one is named.</summary>
    private static List<object?> Selected(TemplateCall call, int index) =>
        call.GetText(index, "attribute") is { } path ? Items(call).ConvertAll(item => Attribute(call, item, path)) : Items(call);

    private static object Map(TemplateCall call)
    {
        if (call.Positional.Count == 0)
        {
            TemplateText path = call.RequireText(0, "attribute");
            return Items(call).ConvertAll(item => Attribute(call, item, path) is var value && value is TemplateUndefined && call.TryGet(int.MaxValue, "default", out object? fallback) ? fallback : value);
        }

        string name = call.RequireText(0, "filter").Value;
        TemplateFunction filter = Find(name) ?? throw call.Context.Unsupported($"the filter '{name}' is not supported");
        return Items(call).ConvertAll(item =>
        {
            call.Context.Spend(1);
            return filter(new TemplateCall(call.Context, name, item, call.Positional[1..], call.Named));
        });
    }

    private static object Choose(TemplateCall call, bool attribute, bool keep)
    {
        int skipped = attribute ? 1 : 0;
        TemplateText? path = attribute ? call.RequireText(0, "attribute") : null;
        string? name = call.GetText(skipped, "test")?.Value;
        Func<TemplateCall, bool> test = name is null ? static call => TemplateValues.IsTrue(call.Self)
            : TemplateTests.Find(name) ?? throw call.Context.Unsupported($"the test '{name}' is not supported");
        List<object?> rest = call.Positional[Math.Min(skipped + 1, call.Positional.Count)..];
        return Items(call).Where(item =>
        {
            call.Context.Spend(1);
            object? value = path is null ? item : Attribute(call, item, path);
            return test(new TemplateCall(call.Context, name ?? call.Name, value, rest, call.Named)) == keep;
        }).ToList();
    }

    private static List<(object? Key, object? Item)> Keyed(TemplateCall call, int attribute)
    {
        List<object?> items = Items(call);
        List<object?> keys = Selected(call, attribute);
        bool matters = TemplateValues.IsTrue(call.Get(attribute - 1, "case_sensitive"));
        return items.Zip(keys, (item, key) => (key is TemplateText text && !matters ? TextTools.Lower(call.Context, text) : key, item)).ToList();
    }

    private static List<object?> Sorted(TemplateCall call, List<(object? Key, object? Item)> items, bool reverse)
    {
        // Enumerable.Order is stable, as Python's sort is.
        Comparer<object?> order = Comparer<object?>.Create((left, right) => TemplateValues.Compare(call.Context, left, right));
        try
        {
            return [.. (reverse ? items.OrderByDescending(static item => item.Key, order) : items.OrderBy(static item => item.Key, order)).Select(static item => item.Item)];
        }
        catch (InvalidOperationException e) when (e.InnerException is TemplateException inner)
        {
            throw inner;
        }
    }

    private static object Unique(TemplateCall call)
    {
        List<(object? Key, object? Item)> kept = [];
        foreach ((object? key, object? item) in Keyed(call, 1))
        {
            if (!kept.Exists(other => TemplateValues.AreEqual(call.Context, other.Key, key)))
            {
                kept.Add((key, item));
            }
        }

        return kept.ConvertAll(static pair => pair.Item);
    }

    private static object Sum(TemplateCall call)
    {
        double total = 0;
        bool whole = true;
        foreach (object? item in Selected(call, 0))
        {
            call.Context.Spend(1);
            whole &= item is long or bool;
            total += TemplateValues.Number(item) ?? throw call.Context.Failed($"'sum' wants numbers, but one is {TemplateValues.TypeName(item)}");
        }

        return whole && Math.Abs(total) < 1L << 53 ? (object)(long)total : total;
    }
}
