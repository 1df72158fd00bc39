using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>A value that is not there: it prints as nothing and is false, but has no attributes.</summary>
internal sealed class TemplateUndefined(string what)
{
    public string What { get; } = what;
}

/// <summary>A mapping that keeps the order of its keys.</summary>
internal sealed class TemplateMapping
{
    private readonly OrderedDictionary<string, object?> _values = new(StringComparer.Ordinal);

    public int Count => _values.Count;

    public IEnumerable<KeyValuePair<string, object?>> Pairs => _values;

    public object? this[string key]
    {
        set => _values[key] = value;
    }

    public bool TryGet(string key, out object? value) => _values.TryGetValue(key, out value);
}

/// <summary>A list that prints in parentheses.</summary>
internal sealed class TemplateTuple(IEnumerable<object?> items) : List<object?>(items);

/// <summary>A value with attributes only: <c>loop</c> and <c>namespace</c>.</summary>
internal abstract class TemplateObject
{
    public abstract object? Get(string name);
}

/// <summary>The one kind of variable that a loop can change.</summary>
internal sealed class TemplateNamespace : TemplateObject
{
    public Dictionary<string, object?> Values { get; } = new(StringComparer.Ordinal);

    public override object? Get(string name) => Values.TryGetValue(name, out object? value) ? value : new TemplateUndefined($"the namespace's attribute '{name}'");
}

/// <summary>A function, macro or bound method.</summary>
internal delegate object? TemplateFunction(TemplateCall call);

/// <summary>
/// Python's rules for testing, comparing and printing values. Values are null (None), bool, long, double, <see cref="TemplateText"/>, a list of values,
/// <see cref="TemplateMapping"/>, <see cref="TemplateUndefined"/>, <see cref="TemplateObject"/> and <see cref="TemplateFunction"/>.
/// </summary>
internal static class TemplateValues
{
    /// <summary>Content that is no part of a message: names and descriptions of tools, say.</summary>
    public const char OtherContent = '\uFFFF';

    public static string TypeName(object? value) => value switch
    {
        null => "None",
        bool => "a truth value",
        long => "a whole number",
        double => "a number",
        TemplateText => "a string",
        List<object?> => "a list",
        TemplateMapping => "a mapping",
        TemplateUndefined undefined => $"undefined ({undefined.What})",
        TemplateFunction => "a function",
        _ => "an object",
    };

    public static bool IsTrue(object? value) => value switch
    {
        null or TemplateUndefined => false,
        bool truth => truth,
        long number => number != 0,
        double number => number != 0,
        TemplateText text => text.Length > 0,
        List<object?> list => list.Count > 0,
        TemplateMapping mapping => mapping.Count > 0,
        _ => true,
    };

    /// <summary>A number as double, with truth values as 0 and 1; null where it is none.</summary>
    public static double? Number(object? value) => value switch
    {
        bool truth => truth ? 1 : 0,
        long number => number,
        double number => number,
        _ => null,
    };

    public static bool AreEqual(TemplateContext context, object? left, object? right)
    {
        context.Spend(1);
        if (left is bool or long or double)
        {
            return left is long a && right is long b ? a == b : Number(right) is { } number && Number(left) == number;
        }

        switch (left, right)
        {
            case (null, null) or (TemplateUndefined, TemplateUndefined):
                return true;
            case (TemplateText a, TemplateText b):
                return string.Equals(a.Value, b.Value, StringComparison.Ordinal);
            case (List<object?> a, List<object?> b):
                using (context.Nested())
                {
                    return a.Count == b.Count && a.Zip(b).All(pair => AreEqual(context, pair.First, pair.Second));
                }

            case (TemplateMapping a, TemplateMapping b):
                using (context.Nested())
                {
                    return a.Count == b.Count && a.Pairs.All(pair => b.TryGet(pair.Key, out object? other) && AreEqual(context, pair.Value, other));
                }

            default:
                return ReferenceEquals(left, right);
        }
    }

    public static int Compare(TemplateContext context, object? left, object? right)
    {
        context.Spend(1);
        return (left, right) switch
        {
            (long a, long b) => a.CompareTo(b),
            (TemplateText a, TemplateText b) => string.CompareOrdinal(a.Value, b.Value),
            _ when Number(left) is { } a && Number(right) is { } b => a.CompareTo(b),
            _ => throw context.Failed($"{TypeName(left)} and {TypeName(right)} cannot be compared"),
        };
    }

    public static bool Contains(TemplateContext context, object? container, object? item)
    {
        switch (container)
        {
            case TemplateText text when item is TemplateText part:
                context.Spend(text.Length / 8);
                return text.Value.Contains(part.Value, StringComparison.Ordinal);
            case TemplateMapping mapping:
                return item is TemplateText key && mapping.TryGet(key.Value, out _);
            default:
                return Items(context, container).Any(other => AreEqual(context, other, item));
        }
    }

    public static long Length(TemplateContext context, object? value) => value switch
    {
        TemplateText text => RuneCount(text.Value),
        List<object?> list => list.Count,
        TemplateMapping mapping => mapping.Count,
        TemplateUndefined => 0,
        _ => throw context.Failed($"{TypeName(value)} has no length"),
    };

    /// <summary>Python counts characters, not halves of surrogate pairs.</summary>
    public static int RuneCount(string text)
    {
        int pairs = 0;
        for (int at = 0; at + 1 < text.Length; at++)
        {
            pairs += char.IsSurrogatePair(text[at], text[at + 1]) ? 1 : 0;
        }

        return text.Length - pairs;
    }

    /// <summary>The items that a loop over the value visits.</summary>
    public static List<object?> Items(TemplateContext context, object? value)
    {
        switch (value)
        {
            case List<object?> list:
                return list;
            case TemplateMapping mapping:
                context.Spend(mapping.Count);
                return [.. mapping.Pairs.Select(static pair => TemplateText.Content(pair.Key, OtherContent))];
            case TemplateUndefined:
                return [];
            case TemplateText text:
                context.Spend(4L * text.Length);
                List<object?> characters = [];
                for (int at = 0, size; at < text.Length; at += size)
                {
                    size = char.IsSurrogatePair(text.Value, at) ? 2 : 1;
                    characters.Add(text.Slice(at, size));
                }

                return characters;
            default:
                throw context.Failed($"{TypeName(value)} cannot be looped over");
        }
    }

    /// <summary>The value as a tag prints it.</summary>
    public static TemplateText Print(TemplateContext context, object? value)
    {
        switch (value)
        {
            case TemplateText text:
                return text;
            case TemplateUndefined undefined:
                return context.IsStrict ? throw context.Failed($"{undefined.What} is not defined") : TemplateText.Empty;
            default:
                TemplateTextBuilder output = new();
                Represent(context, value, output);
                return output.ToText();
        }
    }

    private static void Represent(TemplateContext context, object? value, TemplateTextBuilder output)
    {
        context.Spend(1);
        switch (value)
        {
            case null:
                output.Append("None");
                break;
            case bool truth:
                output.Append(truth ? "True" : "False");
                break;
            case long number:
                output.Append(number.ToString(CultureInfo.InvariantCulture));
                break;
            case double number:
                output.Append(Spell(number));
                break;
            case TemplateText text:
                context.Spend(text.Length);
                output.Append(text.Whole(Quote(text.Value)));
                break;
            case List<object?> list:
                using (context.Nested())
                {
                    bool isTuple = list is TemplateTuple;
                    output.Append(isTuple ? "(" : "[");
                    for (int i = 0; i < list.Count; i++)
                    {
                        output.Append(i == 0 ? "" : ", ");
                        Represent(context, list[i], output);
                    }

                    output.Append(!isTuple ? "]" : list.Count == 1 ? ",)" : ")");
                }

                break;
            case TemplateMapping mapping:
                using (context.Nested())
                {
                    string comma = "{";
                    foreach ((string key, object? item) in mapping.Pairs)
                    {
                        output.Append(comma);
                        Represent(context, TemplateText.Content(key, OtherContent), output);
                        output.Append(": ");
                        Represent(context, item, output);
                        comma = ", ";
                    }

                    output.Append(mapping.Count == 0 ? "{}" : "}");
                }

                break;
            case TemplateUndefined:
                output.Append("Undefined");
                break;
            default:
                throw context.Failed($"{TypeName(value)} cannot be printed");
        }
    }

    /// <summary>A string as Python's <c>repr</c> writes it.</summary>
    private static string Quote(string value)
    {
        char quote = value.Contains('\'') && !value.Contains('"') ? '"' : '\'';
        StringBuilder text = new();
        text.Append(quote);
        foreach (Rune rune in value.EnumerateRunes())
        {
            _ = rune.Value switch
            {
                '\n' => text.Append("\\n"),
                '\r' => text.Append("\\r"),
                '\t' => text.Append("\\t"),
                '\\' => text.Append("\\\\"),
                int code when code == quote => text.Append('\\').Append(quote),
                int code when IsPrintable(rune) => text.Append(rune.ToString()),
                <= 0xFF => text.Append(CultureInfo.InvariantCulture, $"\\x{rune.Value:x2}"),
                <= 0xFFFF => text.Append(CultureInfo.InvariantCulture, $"\\u{rune.Value:x4}"),
                _ => text.Append(CultureInfo.InvariantCulture, $"\\U{rune.Value:x8}"),
            };
        }

        return text.Append(quote).ToString();
    }

    private static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate
        or UnicodeCategory.PrivateUse or UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    /// <summary>A number as Python spells it: 1.0, 0.5, 1e+16.</summary>
    public static string Spell(double number)
    {
        if (!double.IsFinite(number))
        {
            return double.IsNaN(number) ? "nan" : number > 0 ? "inf" : "-inf";
        }

        // The shortest digits that read back as the same number, and where their point is.
        string[] parts = Math.Abs(number).ToString("R", CultureInfo.InvariantCulture).Split('E');
        int point = parts[0].IndexOf('.') is var at and >= 0 ? at : parts[0].Length;
        string digits = parts[0].Replace(".", "", StringComparison.Ordinal).TrimStart('0');
        point += (parts.Length > 1 ? int.Parse(parts[1], CultureInfo.InvariantCulture) : 0) + digits.Length - parts[0].Replace(".", "", StringComparison.Ordinal).Length;
        digits = digits.TrimEnd('0');
        string sign = double.IsNegative(number) ? "-" : "";
        return digits.Length == 0 ? sign + "0.0"
            : point is > 16 or < -3 ? string.Create(CultureInfo.InvariantCulture, $"{sign}{digits[0]}{(digits.Length > 1 ? "." : "")}{digits[1..]}e{(point > 0 ? '+' : '-')}{Math.Abs(point - 1):00}")
            : point <= 0 ? sign + "0." + new string('0', -point) + digits
            : sign + (point >= digits.Length ? digits.PadRight(point, '0') + ".0" : digits[..point] + "." + digits[point..]);
    }
}
