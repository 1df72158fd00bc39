using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Gemma 2's prompt: one bos, turns of user and model in alternation, no system role. System text and the description of the tools open the first user
/// turn; messages of one role that follow each other are one turn; content is trimmed. Calls and results are lines of text, since Gemma 2 has no format
/// of its own for them. Content is encoded with turn markers switched off, so that nothing a user types or a tool returns can end a turn.
/// </summary>
/// <remarks>
/// A turn that the model generated is encoded again from its text, which gives the same tokens wherever the model spelt it as the tokenizer does;
/// where it did not, a <see cref="ReplyMemory"/> has the tokens, as long as the conversation before it is the same. Either way the cached prefix covers the turn.
/// </remarks>
internal static class ChatTemplate
{
    public const string CallStart = "<tool_call>";
    public const string CallEnd = "</tool_call>";
    private const string ResultStart = "<tool_result>";
    private const string ResultEnd = "</tool_result>";
    private const string Blank = "\n\n";

    public const string ToolsIntroduction =
        "You can call tools. To call one, write " + CallStart + """{"name":"…","arguments":{…}}""" + CallEnd + " and nothing else.\nTools:";

    /// <summary>The prompt of a conversation, up to where the model's turn begins, or the conversation alone.</summary>
    /// <param name="tokenizer">The vocabulary.</param>
    /// <param name="messages">The conversation; see <see cref="ConversationContents"/> for what becomes of contents other than text.</param>
    /// <param name="options">Instructions, Tools and ToolMode are used; with ToolMode None no tool is described, and of the others those that are functions.</param>
    /// <param name="replies">Tokens of replies that the model spelt in its own way.</param>
    /// <param name="opensReply">Whether the model's turn is begun; false for conversations that are judged, not answered.</param>
    /// <exception cref="NotSupportedException">A message holds content that Gemma 2 cannot read; the message names its type.</exception>
    public static int[] Render(GemmaTokenizer tokenizer, IEnumerable<ChatMessage> messages, ChatOptions? options = null, ReplyMemory? replies = null, bool opensReply = true)
    {
        List<int> tokens = [];
        if (tokenizer.BosId >= 0)
        {
            tokens.Add(tokenizer.BosId);
        }

        foreach (Turn turn in Turns(messages, options))
        {
            AppendTurn(tokenizer, turn, replies, tokens);
        }

        if (opensReply)
        {
            OpenTurn(tokenizer, "model\n", tokens);
        }

        return [.. tokens];
    }

    /// <summary>What the model has to generate to give an answer: the text or the calls of an assistant message, and the end of the turn.</summary>
    /// <exception cref="NotSupportedException">The message holds content other than text and calls.</exception>
    public static int[] RenderReply(GemmaTokenizer tokenizer, ChatMessage reply)
    {
        List<int> tokens = [];
        tokenizer.Encode(string.Concat(Turns([reply], null).Select(static turn => turn.Text)), tokens, matchSpecial: false);
        AppendMarker(tokenizer, tokenizer.EndOfTurnId, "<end_of_turn>", tokens);
        return [.. tokens];
    }

    /// <summary>The text of the call, as the model writes it.</summary>
    public static string RenderCall(FunctionCallContent call)
    {
        StringBuilder text = new();
        AppendCall(text, call);
        return text.ToString();
    }

    /// <summary>Remembers how the model spelt its reply to a prompt, if not as the tokenizer does and without anything that could end a turn.</summary>
    public static void Remember(GemmaTokenizer tokenizer, ReplyMemory replies, ReadOnlySpan<int> prompt, ChatMessage reply, int[] generated)
    {
        string text = string.Concat(Turns([reply], null).Select(static turn => turn.Text));
        List<int> encoded = [];
        tokenizer.Encode(text, encoded, matchSpecial: false);
        if (!encoded.SequenceEqual(generated) && generated.All(id => tokenizer.GetKind(id) != TokenKind.Control && id != tokenizer.StartOfTurnId && id != tokenizer.EndOfTurnId))
        {
            replies.Remember(prompt, text, generated);
        }
    }

    private static void AppendTurn(GemmaTokenizer tokenizer, Turn turn, ReplyMemory? replies, List<int> tokens)
    {
        if (!turn.IsModel || replies is null || !TryRespell(tokenizer, turn.Text, replies, tokens))
        {
            OpenTurn(tokenizer, (turn.IsModel ? "model\n" : "user\n") + turn.Text, tokens);
        }

        AppendMarker(tokenizer, tokenizer.EndOfTurnId, "<end_of_turn>", tokens);
        tokenizer.Encode("\n", tokens, matchSpecial: false);
    }

    /// <summary>Adds the model's turn in the tokens in which the model generated it, where they are known.</summary>
    private static bool TryRespell(GemmaTokenizer tokenizer, string text, ReplyMemory replies, List<int> tokens)
    {
        int before = tokens.Count;
        OpenTurn(tokenizer, "model\n", tokens); // with it, the tokens are the prompt that the turn answered
        if (replies.Find(CollectionsMarshal.AsSpan(tokens), text) is { } spelt)
        {
            tokens.AddRange(spelt);
            return true;
        }

        tokens.RemoveRange(before, tokens.Count - before);
        return false;
    }

    private static void OpenTurn(GemmaTokenizer tokenizer, string text, List<int> tokens)
    {
        AppendMarker(tokenizer, tokenizer.StartOfTurnId, "<start_of_turn>", tokens);
        tokenizer.Encode(text, tokens, matchSpecial: false);
    }

    /// <summary>A vocabulary without turn markers (a base model's, a test's) spells them.</summary>
    private static void AppendMarker(GemmaTokenizer tokenizer, int id, string spelling, List<int> tokens)
    {
        if (id >= 0)
        {
            tokens.Add(id);
        }
        else
        {
            tokenizer.Encode(spelling, tokens, matchSpecial: false);
        }
    }

    private static List<Turn> Turns(IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        List<string> preface = [];
        AddBlock(preface, options?.Instructions);
        List<Turn> turns = [];
        CallLog calls = new();
        foreach (ChatMessage message in ConversationContents.Reduce(messages))
        {
            if (ConversationContents.IsSystem(message))
            {
                AddBlock(preface, message.Text);
                continue;
            }

            bool isModel = message.Role == ChatRole.Assistant;
            if (turns.Count == 0 || turns[^1].IsModel != isModel)
            {
                turns.Add(new Turn(isModel));
            }

            AddContents(turns[^1], message, calls);
        }

        AddBlock(preface, DescribeTools(options));
        turns.RemoveAll(static turn => turn.IsEmpty);
        Merge(turns);
        if (preface.Count > 0 || turns.Count == 0)
        {
            if (turns is not [{ IsModel: false }, ..])
            {
                turns.Insert(0, new Turn(isModel: false));
            }

            turns[0].Preface = string.Join(Blank, preface);
        }

        return turns;
    }

    /// <summary>Turns that an empty one stood between are one turn.</summary>
    private static void Merge(List<Turn> turns)
    {
        for (int i = turns.Count - 1; i > 0; i--)
        {
            if (turns[i].IsModel == turns[i - 1].IsModel)
            {
                turns[i - 1].Append(turns[i]);
                turns.RemoveAt(i);
            }
        }
    }

    private static void AddContents(Turn turn, ChatMessage message, CallLog calls)
    {
        StringBuilder text = new();
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    text.Append(part.Text);
                    break;
                case FunctionCallContent call:
                    turn.AddText(text);
                    calls.Add(turn, call);
                    turn.AddLine(RenderCall(call), 0);
                    break;
                case FunctionResultContent result:
                    turn.AddText(text);
                    (string? name, int order) = calls.Answer(result.CallId);
                    turn.AddLine(RenderResult(result, name), order);
                    break;
            }
        }

        turn.AddText(text);
    }

    private static void AddBlock(List<string> blocks, string? text)
    {
        if (text?.Trim() is { Length: > 0 } trimmed)
        {
            blocks.Add(trimmed);
        }
    }

    private static string? DescribeTools(ChatOptions? options)
    {
        if (options?.Tools is not { } tools || options.ToolMode is NoneChatToolMode || !tools.OfType<AIFunctionDeclaration>().Any())
        {
            return null;
        }

        StringBuilder text = new(ToolsIntroduction);
        foreach (AIFunctionDeclaration tool in tools.OfType<AIFunctionDeclaration>())
        {
            text.Append("\n- ");
            ToolSignature.Append(text, tool);
        }

        return text.ToString();
    }

    private static void AppendCall(StringBuilder text, FunctionCallContent call)
    {
        text.Append(CallStart).Append("{\"name\":");
        CompactJson.AppendString(text, call.Name);
        text.Append(",\"arguments\":{");
        string comma = "";
        foreach ((string name, object? value) in call.Arguments ?? new Dictionary<string, object?>())
        {
            text.Append(comma);
            CompactJson.AppendString(text, name);
            text.Append(':');
            CompactJson.Append(text, value);
            comma = ",";
        }

        text.Append("}}").Append(CallEnd);
    }

    private static string RenderResult(FunctionResultContent result, string? name)
    {
        StringBuilder text = new(ResultStart);
        text.Append('{');
        if (name is not null)
        {
            text.Append("\"name\":");
            CompactJson.AppendString(text, name);
            text.Append(',');
        }

        text.Append("\"result\":");
        if (result.Exception is { } exception)
        {
            // FunctionInvokingChatClient puts what the model may know of the exception into the result.
            ToolResultText.AppendError(text, result.Result as string ?? exception.Message);
        }
        else
        {
            ToolResultText.Append(text, result.Result);
        }

        return text.Append('}').Append(ResultEnd).ToString();
    }

    /// <summary>
    /// The calls of a conversation so far. Ids need not differ (Semantic Kernel leaves them empty where a history has none): results of one id answer the calls
    /// of a turn one after the other.
    /// </summary>
    private sealed class CallLog
    {
        private readonly Dictionary<string, (Turn Turn, List<(string Name, int Order)> Calls, int Answered)> _byId = new(StringComparer.Ordinal);
        private int _count;

        public void Add(Turn turn, FunctionCallContent call)
        {
            if (!_byId.TryGetValue(call.CallId, out var known) || known.Turn != turn)
            {
                _byId[call.CallId] = known = (turn, [], 0);
            }

            known.Calls.Add((call.Name, _count++));
        }

        /// <summary>The name of the call that a result answers, null where there is none, and its place among all calls: results are listed in that order.</summary>
        public (string? Name, int Order) Answer(string callId)
        {
            if (!_byId.TryGetValue(callId, out var known))
            {
                return (null, int.MaxValue);
            }

            int next = Math.Min(known.Answered, known.Calls.Count - 1);
            _byId[callId] = known with { Answered = next + 1 };
            return known.Calls[next];
        }
    }

    /// <summary>One turn: paragraphs, and runs of lines that are calls or results.</summary>
    private sealed class Turn(bool isModel)
    {
        private readonly List<Block> _blocks = [];

        public bool IsModel { get; } = isModel;

        public string Preface { get; set; } = "";

        public bool IsEmpty => _blocks.Count == 0;

        public string Text
        {
            get
            {
                StringBuilder text = new(Preface);
                foreach (Block block in _blocks)
                {
                    // A call follows the model's text on the next line, as the model writes it.
                    text.Append(text.Length == 0 ? "" : IsModel && block.AreLines ? "\n" : Blank);
                    text.AppendJoin('\n', block.Parts.OrderBy(static part => part.Order).Select(static part => part.Text));
                }

                return text.ToString();
            }
        }

        /// <summary>Adds what was collected as a paragraph, and clears it.</summary>
        public void AddText(StringBuilder text)
        {
            if (text.ToString().Trim() is { Length: > 0 } trimmed)
            {
                _blocks.Add(new Block(false, [(trimmed, 0)]));
            }

            text.Clear();
        }

        /// <summary>Adds a line to the run that the turn ends with; lines of a run are listed by <paramref name="order"/>.</summary>
        public void AddLine(string line, int order)
        {
            if (_blocks is not [.., { AreLines: true }])
            {
                _blocks.Add(new Block(true, []));
            }

            _blocks[^1].Parts.Add((line, order));
        }

        public void Append(Turn other) => _blocks.AddRange(other._blocks);

        private sealed record Block(bool AreLines, List<(string Text, int Order)> Parts);
    }
}
