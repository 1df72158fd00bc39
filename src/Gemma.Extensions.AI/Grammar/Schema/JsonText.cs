using System.Text;

namespace Gemma.Extensions.AI.Grammar.Schema;

internal static class JsonText
{
    /// <summary>The content of a JSON string with minimal escapes.</summary>
    public static byte[] Escape(string text)
    {
        StringBuilder result = new(text.Length + 2);
        foreach (char c in text)
        {
            result.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\b' => "\\b",
                '\f' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                < ' ' => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        }

        return Encoding.UTF8.GetBytes(result.ToString());
    }
}
