using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI;

#pragma warning disable IDE0130 // Found wherever ChatResponse is.
namespace Microsoft.Extensions.AI;
#pragma warning restore IDE0130

/// <summary>Results of structured answers, and why there is none.</summary>
public static class GemmaAnswerResultExtensions
{
    /// <summary>The result of an answer; where it has none, why, and where the answer ends.</summary>
    /// <param name="response">What <c>GetResponseAsync&lt;T&gt;</c> returned.</param>
    /// <param name="result">The result.</param>
    /// <param name="problem">Why there is none. An answer that was cut has the finish reason <see cref="ChatFinishReason.Length"/>.</param>
    /// <returns>True if the answer could be read as a <typeparamref name="T"/>.</returns>
    public static bool TryGetResult<T>(this ChatResponse<T> response, [NotNullWhen(true)] out T? result, [NotNullWhen(false)] out GemmaAnswerProblem? problem)
    {
        ArgumentNullException.ThrowIfNull(response);
        if (response.TryGetResult(out result))
        {
            problem = null;
            return true;
        }

        problem = Explain(response.Text, response.FinishReason, typeof(T));
        return false;
    }

    private static GemmaAnswerProblem Explain(string text, ChatFinishReason? reason, Type type)
    {
        (string path, string? error, bool isWhole) = FindEnd(text);
        bool isCut = reason == ChatFinishReason.Length;
        string at = path.Length == 0 ? "at the top" : $"at '{path}'";
        string message = text.Length == 0 && !isCut ? $"The answer has no text{(reason is { } ended ? $" (finish reason '{ended}')" : "")}, expected JSON for {type.Name}."
            : isCut ? $"The answer was cut after {text.Length:N0} characters, {at} (finish reason 'length'): MaxOutputTokens or the context ended. Raise MaxOutputTokens, or keep texts and lists short: GemmaGenerationOptions.MaxStringLength, maxLength, maxItems."
            : error is not null ? $"The answer is no JSON {at}: {error}"
            : !isWhole ? $"The answer ends after {text.Length:N0} characters, {at}, before its JSON does (finish reason '{reason}'): a stop sequence, or a client that does not enforce the schema."
            : $"The answer is JSON, but cannot be read as {type.Name}: the client behind it did not keep to its schema.";
        return new GemmaAnswerProblem(isCut, path, text.Length, message);
    }

    /// <summary>The place (JSON pointer) where a text stops being JSON, or ends before its JSON does; empty where it is whole or at its first value.</summary>
    private static (string Path, string? Error, bool IsWhole) FindEnd(string text)
    {
        Stack<Place> places = [];
        byte[] utf8 = Encoding.UTF8.GetBytes(text);
        Utf8JsonReader reader = new(utf8, isFinalBlock: false, new JsonReaderState(new JsonReaderOptions { MaxDepth = 1024 }));
        try
        {
            while (reader.Read())
            {
                switch (reader.TokenType)
                {
                    case JsonTokenType.PropertyName:
                        places.Peek().Name = reader.GetString();
                        continue;
                    case JsonTokenType.StartObject or JsonTokenType.StartArray:
                        places.Push(new Place(reader.TokenType == JsonTokenType.StartArray));
                        continue;
                    case JsonTokenType.EndObject or JsonTokenType.EndArray:
                        places.Pop();
                        break;
                }

                places.TryPeek(out Place? around);
                around?.Next();
            }

            return (Pointer(places), null, reader.BytesConsumed == utf8.Length && places.Count == 0 && reader.TokenType != JsonTokenType.None);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return (Pointer(places), e.Message, false);
        }
    }

    private static string Pointer(Stack<Place> places) =>
        string.Concat(places.Reverse().Select(place => place.IsArray ? $"/{place.Index}" : place.Name is null ? "" : "/" + place.Name.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal)));

    /// <summary>The place of a reader in an object or array.</summary>
    private sealed class Place(bool isArray)
    {
        public bool IsArray => isArray;

        /// <summary>Of the value that is read now; null between properties.</summary>
        public string? Name { get; set; }

        public int Index { get; private set; }

        public void Next() => (Name, Index) = (null, Index + 1);
    }
}
