using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The functions that templates may call.</summary>
internal static class TemplateFunctions
{
    private static readonly Dictionary<string, TemplateFunction> s_functions = new(StringComparer.Ordinal)
    {
        ["raise_exception"] = static call => throw call.Context.Raised(TemplateValues.Print(call.Context, call.Get(0, "message")).Value),
        ["range"] = Range,
        ["namespace"] = static call =>
        {
            TemplateNamespace space = new();
            if (call.Get(0, "") is TemplateMapping mapping)
            {
                call.Context.Spend(mapping.Count);
                mapping.Pairs.ToList().ForEach(pair => space.Values[pair.Key] = pair.Value);
            }

            call.Named.ForEach(argument => space.Values[argument.Name] = argument.Value);
            return space;
        },
        ["dict"] = static call =>
        {
            TemplateMapping mapping = new();
            if (call.Get(0, "") is TemplateMapping other)
            {
                call.Context.Spend(other.Count);
                other.Pairs.ToList().ForEach(pair => mapping[pair.Key] = pair.Value);
            }

            call.Named.ForEach(argument => mapping[argument.Name] = argument.Value);
            return mapping;
        },
        ["strftime_now"] = static call => new TemplateText(FormatTime(call, call.RequireText(0, "format").Value)),
    };

    public static TemplateFunction? Find(string name) => s_functions.GetValueOrDefault(name);

    private static object Range(TemplateCall call)
    {
        bool single = call.Positional.Count < 2;
        long start = single ? 0 : call.GetInteger(0, "start", 0);
        long stop = call.GetInteger(single ? 0 : 1, "stop", 0);
        long step = call.GetInteger(2, "step", 1);
        if (step == 0)
        {
            throw call.Context.Failed("the step of 'range' is 0");
        }

        List<object?> numbers = [];
        for (Int128 at = start; step > 0 ? at < stop : at > stop; at += step)
        {
            call.Context.Spend(1);
            numbers.Add((long)at);
        }

        return numbers;
    }

    private static string FormatTime(TemplateCall call, string format)
    {
        DateTime now = call.Context.Now();
        CultureInfo culture = CultureInfo.InvariantCulture;
        call.Context.Spend(format.Length);
        StringBuilder text = new();
        for (int at = 0; at < format.Length; at++)
        {
            if (format[at] != '%' || at + 1 == format.Length)
            {
                text.Append(format[at]);
                continue;
            }

            bool plain = format[++at] == '-' && at + 1 < format.Length;
            string part = format[plain ? ++at : at] switch
            {
                'd' => now.ToString("dd", culture),
                'e' => $"{now.Day,2}",
                'm' => now.ToString("MM", culture),
                'Y' => now.ToString("yyyy", culture),
                'y' => now.ToString("yy", culture),
                'b' or 'h' => now.ToString("MMM", culture),
                'B' => now.ToString("MMMM", culture),
                'a' => now.ToString("ddd", culture),
                'A' => now.ToString("dddd", culture),
                'H' => now.ToString("HH", culture),
                'I' => now.ToString("hh", culture),
                'M' => now.ToString("mm", culture),
                'S' => now.ToString("ss", culture),
                'f' => now.ToString("ffffff", culture),
                'p' => now.ToString("tt", culture),
                'j' => now.DayOfYear.ToString("000", culture),
                'F' => now.ToString("yyyy-MM-dd", culture),
                'T' => now.ToString("HH:mm:ss", culture),
                'D' => now.ToString("MM/dd/yy", culture),
                '%' => "%",
                char other => throw call.Context.Unsupported($"'%{other}' of 'strftime_now' is not supported"),
            };
            string stripped = part.TrimStart('0', ' ');
            text.Append(!plain ? part : stripped.Length == 0 ? "0" : stripped);
        }

        return text.ToString();
    }
}
