using System.Text.Encodings.Web;
using System.Text.Json;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Form of the JSON for programs that read the output.</summary>
internal static class JsonText
{
    /// <summary>On one line, letters of all scripts as they are.</summary>
    public static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
