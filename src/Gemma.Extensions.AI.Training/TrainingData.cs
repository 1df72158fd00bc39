using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Training;

/// <summary>Text files as documents: <c>.jsonl</c> holds a conversation a line, anything else is plain text cut into pieces of the longest length.</summary>
internal static class TrainingData
{
    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <param name="paths">Files.</param>
    /// <param name="format">How the model reads conversations, and its vocabulary.</param>
    /// <param name="maxLength">Tokens of the longest document; longer conversations are left out, and counted in <paramref name="tooLong"/>.</param>
    /// <param name="modelTurnsOnly">In conversations, train on what the model says only.</param>
    /// <param name="tooLong">Conversations that were left out.</param>
    /// <exception cref="FormatException">A path is a directory, a file is not text, or a line is no conversation; the message names file and line.</exception>
    public static List<TrainingDocument> Read(IEnumerable<string> paths, ChatFormat format, int maxLength, bool modelTurnsOnly, out int tooLong)
    {
        List<TrainingDocument> documents = new();
        tooLong = 0;
        foreach (string path in paths)
        {
            if (Directory.Exists(path))
            {
                throw new FormatException($"'{path}' is a directory. Name the files in it.");
            }

            try
            {
                if (path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase))
                {
                    tooLong += AddConversations(documents, format, path, maxLength, modelTurnsOnly);
                }
                else
                {
                    AddText(documents, format.Tokenizer, File.ReadAllText(path, s_strict), maxLength);
                }
            }
            catch (DecoderFallbackException exception)
            {
                // Replacement characters would be learnt.
                throw new FormatException($"'{path}' is not text in UTF-8: it has the bytes {Convert.ToHexString(exception.BytesUnknown ?? [])}. Convert it, or leave it out.", exception);
            }
        }

        return documents;
    }

    private static int AddConversations(List<TrainingDocument> documents, ChatFormat format, string path, int maxLength, bool modelTurnsOnly)
    {
        int number = 0, tooLong = 0;
        foreach (string line in File.ReadLines(path, s_strict))
        {
            number++;
            if (string.IsNullOrWhiteSpace(line))
            {
                continue;
            }

            TrainingDocument document = Document(format, line, path, number, modelTurnsOnly);
            if (document.Tokens.Length <= maxLength)
            {
                documents.Add(document);
            }
            else
            {
                tooLong++;
            }
        }

        return tooLong;
    }

    /// <summary>A conversation that ends with the model's turn, as the format writes it; the model's turns with their ends are marked as trained.</summary>
    public static TrainingDocument Conversation(ChatFormat format, IReadOnlyList<ChatMessage> messages, bool modelTurnsOnly, ChatOptions? options = null)
    {
        int last = messages.Count - 1;
        if (last < 1 || messages[last].Role != ChatRole.Assistant)
        {
            throw new ArgumentException("A conversation to train on ends with a message of the assistant, after at least one other.");
        }

        ChatPrompt whole = ChatTemplate.RenderWhole(format, messages, options);
        if (!modelTurnsOnly)
        {
            return new TrainingDocument(whole.Tokens);
        }

        bool[] trained = new bool[whole.Tokens.Length];
        foreach (Range turn in whole.ModelTurns)
        {
            trained.AsSpan(turn).Fill(true);
        }

        return new TrainingDocument(whole.Tokens, trained);
    }

    private static void AddText(List<TrainingDocument> documents, GemmaTokenizer tokenizer, string text, int maxLength)
    {
        int[] tokens = tokenizer.Encode(text, matchSpecial: false);
        for (int start = 0; start < tokens.Length; start += maxLength - 1)
        {
            int[] piece = [.. tokenizer.BosId >= 0 ? [tokenizer.BosId] : Array.Empty<int>(), .. tokens.AsSpan(start, Math.Min(maxLength - 1, tokens.Length - start))];
            if (piece.Length >= 2)
            {
                documents.Add(new TrainingDocument(piece));
            }
        }
    }

    private static TrainingDocument Document(ChatFormat format, string line, string path, int number, bool modelTurnsOnly)
    {
        List<ChatMessage> messages;
        try
        {
            using JsonDocument json = JsonDocument.Parse(line);
            messages = [.. json.RootElement.GetProperty("messages").EnumerateArray().Select(message => new ChatMessage(Role(message.GetProperty("role").GetString()),
                message.GetProperty("content").GetString() ?? throw new ArgumentException("A message has null as its content.")))];
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new FormatException($"'{path}', line {number:N0}: expected {{\"messages\":[{{\"role\":\"user\",\"content\":\"…\"}},…]}}. {exception.Message}", exception);
        }

        try
        {
            return Conversation(format, messages, modelTurnsOnly);
        }
        catch (ArgumentException exception)
        {
            throw new FormatException($"'{path}', line {number:N0}: {exception.Message}", exception);
        }
    }

    /// <summary>The template takes an unknown role for the user; what 'model' said would be trained as that.</summary>
    private static ChatRole Role(string? name) => name is "system" or "developer" or "user" or "assistant" or "tool"
        ? new ChatRole(name)
        : throw new ArgumentException($"The role '{name}' is none of system, developer, user, assistant and tool.");
}
