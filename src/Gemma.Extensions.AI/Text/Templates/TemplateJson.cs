using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The filter <c>tojson</c> as chat templates have it: Python's <c>json.dumps</c> without escapes for other scripts.</summary>
internal static class TemplateJson
{
    public static TemplateText Write(TemplateCall call)
    {
        long indent = call.GetInteger(1, "indent", -1);
        (string comma, string colon) = Separators(call, indent >= 0);
        Writer writer = new(call.Context, indent < 0 ? -1 : (int)Math.Min(indent, 100), comma, colon, TemplateValues.IsTrue(call.Get(3, "sort_keys")), TemplateValues.IsTrue(call.Get(0, "ensure_ascii")));
        writer.Write(call.Self, 0);
        string json = writer.Text.ToString();
        return writer.Mark == '\0' ? new TemplateText(json) : TemplateText.Content(json, writer.Mark);
    }

    private static (string, string) Separators(TemplateCall call, bool indented) => call.Get(2, "separators") switch
    {
        null => (indented ? "," : ", ", ": "),
        List<object?> and [TemplateText comma, TemplateText colon] => (comma.Value, colon.Value),
        _ => throw call.Context.Failed("'separators' of 'tojson' are not two strings"),
    };

    private sealed class Writer(TemplateContext context, int indent, string comma, string colon, bool sorts, bool escapes)
    {
        public StringBuilder Text { get; } = new();

        /// <summary>The mark of the text, if any of it came from a message.</summary>
        public char Mark { get; private set; }

        public void Write(object? value, int depth)
        {
            context.Spend(1);
            switch (value)
            {
                case null:
                    Text.Append("null");
                    break;
                case bool truth:
                    Text.Append(truth ? "true" : "false");
                    break;
                case long number:
                    Text.Append(number.ToString(CultureInfo.InvariantCulture));
                    break;
                case double number:
                    Text.Append(!double.IsFinite(number) ? double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity" : TemplateValues.Spell(number));
                    break;
                case TemplateText text:
                    Mark = Mark == '\0' ? text.FirstMark : Mark;
                    WriteString(text.Value);
                    break;
                case List<object?> list:
                    WriteEach('[', ']', list, depth, item => Write(item, depth + 1));
                    break;
                case TemplateMapping mapping:
                    Mark = Mark == '\0' && mapping.Count > 0 ? TemplateValues.OtherContent : Mark;
                    IEnumerable<KeyValuePair<string, object?>> pairs = sorts ? mapping.Pairs.OrderBy(static pair => pair.Key, StringComparer.Ordinal) : mapping.Pairs;
                    WriteEach('{', '}', pairs, depth, pair =>
                    {
                        WriteString(pair.Key);
                        Text.Append(colon);
                        Write(pair.Value, depth + 1);
                    });
                    break;
                default:
                    throw context.Failed($"{TemplateValues.TypeName(value)} cannot be written as JSON");
            }
        }

        private void WriteEach<T>(char open, char close, IEnumerable<T> items, int depth, Action<T> write)
        {
            using TemplateContext.NestedScope nested = context.Nested();
            Text.Append(open);
            bool any = false;
            foreach (T item in items)
            {
                Text.Append(any ? comma : "");
                NewLine(depth + 1);
                write(item);
                any = true;
            }

            if (any)
            {
                NewLine(depth);
            }

            Text.Append(close);
        }

        private void NewLine(int depth)
        {
            if (indent >= 0)
            {
                context.Spend(indent * depth);
                Text.Append('\n').Append(' ', indent * depth);
            }
        }

        private void WriteString(string value)
        {
            context.Spend(value.Length);
            Text.Append('"');
            foreach (char next in value)
            {
                _ = next switch
                {
                    '"' or '\\' => Text.Append('\\').Append(next),
                    '\n' => Text.Append("\\n"),
                    '\r' => Text.Append("\\r"),
                    '\t' => Text.Append("\\t"),
                    '\b' => Text.Append("\\b"),
                    '\f' => Text.Append("\\f"),
                    < ' ' => Text.Append(CultureInfo.InvariantCulture, $"\\u{(int)next:x4}"),
                    > '~' when escapes => Text.Append(CultureInfo.InvariantCulture, $"\\u{(int)next:x4}"),
                    _ => Text.Append(next),
                };
            }

            Text.Append('"');
        }
    }
}
