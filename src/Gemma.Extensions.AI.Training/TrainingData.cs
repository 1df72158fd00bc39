using System.Text.Json;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Training;

/// <summary>Text files as documents: <c>.jsonl</c> holds a conversation a line, anything else is plain text cut into pieces of the longest length.</summary>
internal static class TrainingData
{
    /// <param name="paths">Files.</param>
    /// <param name="tokenizer">Vocabulary of the model.</param>
    /// <param name="maxLength">Tokens of the longest document; longer conversations are left out, and counted in <paramref name="tooLong"/>.</param>
    /// <param name="modelTurnsOnly">In conversations, train on what the model says only.</param>
    /// <param name="tooLong">Conversations that were left out.</param>
    /// <exception cref="FormatException">A line is no conversation; the message names file and line.</exception>
    public static List<TrainingDocument> Read(IEnumerable<string> paths, GemmaTokenizer tokenizer, int maxLength, bool modelTurnsOnly, out int tooLong)
    {
        var documents = new List<TrainingDocument>();
        tooLong = 0;
        foreach (string path in paths)
        {
            if (!path.EndsWith(".jsonl", StringComparison.OrdinalIgnoreCase))
            {
                AddText(documents, tokenizer, File.ReadAllText(path), maxLength);
                continue;
            }

            int number = 0;
            foreach (string line in File.ReadLines(path))
            {
                number++;
                if (string.IsNullOrWhiteSpace(line))
                {
                    continue;
                }

                TrainingDocument document = Conversation(tokenizer, Messages(line, path, number), modelTurnsOnly);
                if (document.Tokens.Length <= maxLength)
                {
                    documents.Add(document);
                }
                else
                {
                    tooLong++;
                }
            }
        }

        return documents;
    }

    /// <summary>A conversation that ends with the model's turn, as the chat template renders it; the model's turns with their ends are marked as trained.</summary>
    public static TrainingDocument Conversation(GemmaTokenizer tokenizer, IReadOnlyList<ChatMessage> messages, bool modelTurnsOnly, ChatOptions? options = null)
    {
        int last = messages.Count - 1;
        if (last < 1 || messages[last].Role != ChatRole.Assistant)
        {
            throw new ArgumentException("A conversation to train on ends with a message of the assistant, after at least one other.", nameof(messages));
        }

        int[] tokens = [.. ChatTemplate.Render(tokenizer, messages.Take(last), options), .. ChatTemplate.RenderReply(tokenizer, messages[last])];
        return new TrainingDocument(tokens, modelTurnsOnly ? ModelTurns(tokenizer, tokens) : null);
    }

    /// <summary>Everything after "&lt;start_of_turn&gt;model\n" up to and with &lt;end_of_turn&gt;.</summary>
    private static bool[] ModelTurns(GemmaTokenizer tokenizer, int[] tokens)
    {
        bool[] trained = new bool[tokens.Length];
        int[] opening = [tokenizer.StartOfTurnId, .. tokenizer.Encode("model\n", matchSpecial: false)];
        for (int i = 0; i + opening.Length <= tokens.Length; i++)
        {
            if (!tokens.AsSpan(i, opening.Length).SequenceEqual(opening))
            {
                continue;
            }

            for (i += opening.Length; i < tokens.Length; i++)
            {
                trained[i] = true;
                if (tokens[i] == tokenizer.EndOfTurnId)
                {
                    break;
                }
            }
        }

        return trained;
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

    private static List<ChatMessage> Messages(string line, string path, int number)
    {
        try
        {
            using JsonDocument json = JsonDocument.Parse(line);
            return [.. json.RootElement.GetProperty("messages").EnumerateArray().Select(message => new ChatMessage(
                new ChatRole(message.GetProperty("role").GetString()!), message.GetProperty("content").GetString()))];
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or ArgumentException)
        {
            throw new FormatException($"'{path}', line {number:N0}: expected {{\"messages\":[{{\"role\":\"user\",\"content\":\"…\"}},…]}}. {exception.Message}", exception);
        }
    }
}
