using System.Text;
using Gemma.Extensions.AI.Text.Templates;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Renders a conversation in a model's <see cref="ChatFormat"/>. Where the format has no turns of the system, system text opens the first user turn, as does the
/// description of the tools; where user and model must alternate, messages of one role that follow each other are one turn. Calls and results are lines of text.
/// Content is encoded with turn markers switched off, so that nothing a user types or a tool returns can end a turn, and content that looks like the frame of a call or
/// result is escaped (<see cref="ToolMarkup.Escape"/>).
/// </summary>
/// <remarks>
/// A turn that the model generated is encoded again from its text, which gives the same tokens wherever the model spelt it as the tokenizer does;
/// where it did not, a <see cref="ReplyTokenCache"/> has the tokens, as long as the conversation before it is the same. Either way the cached prefix covers the turn.
/// </remarks>
internal static class ChatTemplate
{
    private const string Blank = "\n\n";

    /// <summary>The prompt of a conversation, up to the start of the model's turn; if the last message is the model's, up to the end of its text, which is continued.</summary>
    /// <param name="format">The model's format.</param>
    /// <param name="messages">The conversation; see <see cref="ConversationContents"/> for what becomes of contents other than text.</param>
    /// <param name="options">Instructions, Tools and ToolMode are used; with ToolMode None no tool is described, and of the others those that are functions.</param>
    /// <param name="replies">Tokens of replies that the model spelt in its own way.</param>
    /// <param name="contextLength">A prompt that must have at least that many tokens, judging by its size, is refused before it is encoded.</param>
    /// <param name="opensReply">True to open or continue the model's turn; false for conversations that are scored, not answered.</param>
    /// <exception cref="NotSupportedException">A message holds content that Gemma 2 cannot read, or the checkpoint's template refuses the conversation.</exception>
    /// <exception cref="GemmaContextLengthException">The prompt is much longer than the context.</exception>
    public static ChatPrompt Render(ChatFormat format, IEnumerable<ChatMessage> messages, ChatOptions? options = null, ReplyTokenCache? replies = null, int contextLength = int.MaxValue, bool opensReply = true)
    {
        ChatMessage[] all = [.. messages];
        List<TurnText> turns = Texts(format, all, options);
        bool endsWithModel = all is [.., { } last] && last.Role == ChatRole.Assistant && turns is [.., { Role: TurnRole.Model }];
        if (opensReply && endsWithModel && string.IsNullOrWhiteSpace(turns[^1].Text))
        {
            // There is nothing to continue.
            turns.RemoveAt(turns.Count - 1);
            endsWithModel = false;
        }

        PromptEnd end = !opensReply ? PromptEnd.Closed : endsWithModel ? PromptEnd.Continue : PromptEnd.Answer;
        return format.Encoder.Encode(format.Write(turns, end), turns, end, replies, contextLength) with { Format = format };
    }

    /// <summary>The tokens of a prompt in Google's format.</summary>
    public static int[] Render(GemmaTokenizer tokenizer, IEnumerable<ChatMessage> messages, ChatOptions? options = null, bool opensReply = true) =>
        Render(TurnFormat.Gemma(tokenizer), messages, options, opensReply: opensReply).Tokens;

    /// <summary>A conversation to train on, up to the marker behind the model's last turn: the model's turns are encoded by themselves, as it generates them.</summary>
    public static ChatPrompt RenderWhole(ChatFormat format, IEnumerable<ChatMessage> messages, ChatOptions? options = null)
    {
        List<TurnText> turns = Texts(format, messages, options);
        ChatPrompt whole = format.Encoder.Encode(format.Write(turns, PromptEnd.Closed), turns, PromptEnd.Closed, splitsReplies: true) with { Format = format };
        return whole.ModelTurns is [.., { } last] ? whole with { Tokens = whole.Tokens[..last.End] } : whole;
    }

    /// <summary>The text of the call, as the model writes it.</summary>
    public static string RenderCall(FunctionCallContent call, ToolMarkup? markup = null)
    {
        StringBuilder text = new();
        AppendCall(text, markup ?? ToolMarkup.Own, call);
        return text.ToString();
    }

    /// <summary>The JSON value that stands for the result of a call, or for its error.</summary>
    public static string ResultText(FunctionResultContent result)
    {
        StringBuilder text = new();
        if (result.Exception is { } exception)
        {
            // FunctionInvokingChatClient puts what the model may know of the exception into the result.
            ToolResultText.AppendError(text, result.Result as string ?? exception.Message);
        }
        else
        {
            ToolResultText.Append(text, result.Result);
        }

        return text.ToString();
    }

    /// <summary>Remembers how the model spelt its reply to a prompt, if not as the tokenizer does and without anything that could end a turn.</summary>
    /// <param name="replies">Where to keep it.</param>
    /// <param name="prompt">The prompt.</param>
    /// <param name="said">What it said, the text that it went on from not included.</param>
    /// <param name="generated">The tokens.</param>
    public static void Remember(ReplyTokenCache replies, ChatPrompt prompt, IReadOnlyList<AIContent> said, int[] generated)
    {
        ChatFormat format = prompt.Format;
        if (prompt.ReplyStart < 0 || said.Any(content => content is TextContent text && format.Tools.Escape(text.Text) != text.Text))
        {
            return; // the history does not contain what was generated
        }

        ChatMessage reply = new(ChatRole.Assistant, prompt.Begun.Length > 0 ? [new TextContent(format.Tools.Unescape(prompt.Begun)), .. said] : [.. said]);
        string text = string.Concat(Texts(format, [reply], null).Select(static turn => turn.Text));
        GemmaTokenizer tokenizer = format.Tokenizer;
        int[] spelt = [.. prompt.Tokens.AsSpan(prompt.ReplyStart), .. generated];
        if (!tokenizer.Encode(text, matchSpecial: false).AsSpan().SequenceEqual(spelt) && !spelt.Any(id => tokenizer.GetKind(id) == TokenKind.Control || id == format.EndId))
        {
            replies.Remember(prompt.Tokens.AsSpan(0, prompt.ReplyStart), prompt.Settled, text, spelt);
        }
    }

    private static List<TurnText> Texts(ChatFormat format, IEnumerable<ChatMessage> messages, ChatOptions? options) =>
        Turns(format, messages, options).ConvertAll(static turn => new TurnText(turn.Role, turn.Text));

    private static List<Turn> Turns(ChatFormat format, IEnumerable<ChatMessage> messages, ChatOptions? options)
    {
        List<(string Text, bool IsOwn)> preface = [];
        AddBlock(preface, format, options?.Instructions);
        List<Turn> turns = [];
        CallLog calls = new();
        bool hasSystem = false;
        ChatRole? previous = null;
        foreach (ChatMessage message in ConversationContents.Reduce(messages))
        {
            bool isSystem = ConversationContents.IsSystem(message);
            if (isSystem && (!format.HasSystemAnywhere || (turns.Count == 0 && !hasSystem)))
            {
                AddBlock(preface, format, message.Text);
                hasSystem = true;
                continue;
            }

            TurnRole role = isSystem ? TurnRole.System : message.Role == ChatRole.Assistant ? TurnRole.Model : TurnRole.User;
            bool goesOn = turns is [.., var last] && last.Role == role && (format.Alternates || (message.Role == ChatRole.Tool && previous == ChatRole.Tool));
            if (!goesOn)
            {
                turns.Add(new Turn(role, format));
            }

            AddContents(turns[^1], message, calls, format.Tools);
            previous = message.Role;
        }

        turns.RemoveAll(static turn => turn.IsEmpty);
        if (format.Alternates)
        {
            turns = Merged(turns);
        }

        AddBlock(preface, format, DescribeTools(options, format.Tools), isOwn: true);
        AddPreface(turns, format, preface);
        return turns;
    }

    /// <summary>System text and the tools go into a turn of the system, or open the first user turn.</summary>
    private static void AddPreface(List<Turn> turns, ChatFormat format, List<(string Text, bool IsOwn)> preface)
    {
        if (preface.Count == 0 && turns.Count > 0)
        {
            return;
        }

        TurnRole role = format.HasSystemTurn && preface.Count > 0 ? TurnRole.System : TurnRole.User;
        if (role == TurnRole.System || turns is not [{ Role: TurnRole.User }, ..])
        {
            turns.Insert(0, new Turn(role, format));
        }

        turns[0].Preface = preface.Count == 1 ? preface : preface.ConvertAll(static part => (part.Text.Trim(), part.IsOwn));
    }

    /// <summary>Turns that an empty one stood between are one turn.</summary>
    private static List<Turn> Merged(List<Turn> turns)
    {
        List<Turn> merged = [];
        foreach (Turn turn in turns)
        {
            if (merged is [.., var last] && last.Role == turn.Role)
            {
                last.Append(turn);
            }
            else
            {
                merged.Add(turn);
            }
        }

        return merged;
    }

    private static void AddContents(Turn turn, ChatMessage message, CallLog calls, ToolMarkup markup)
    {
        StringBuilder text = new();
        bool hasText = false;
        foreach (AIContent content in message.Contents)
        {
            switch (content)
            {
                case TextContent part:
                    text.Append(part.Text);
                    hasText = true;
                    break;
                case FunctionCallContent call:
                    turn.AddText(text);
                    calls.Add(turn, call);
                    turn.AddLine(RenderCall(call, markup), 0);
                    break;
                case FunctionResultContent result:
                    turn.AddText(text);
                    (string? name, int order) = calls.Answer(result.CallId);
                    turn.AddLine(RenderResult(markup, result, name), order);
                    break;
            }
        }

        turn.AddText(text, keepsBlank: hasText && turn.IsEmpty);
    }

    private static void AddBlock(List<(string Text, bool IsOwn)> blocks, ChatFormat format, string? text, bool isOwn = false)
    {
        if (!string.IsNullOrWhiteSpace(text))
        {
            blocks.Add((format.Trims ? TextTools.Trim(text) : text, isOwn));
        }
    }

    private static string? DescribeTools(ChatOptions? options, ToolMarkup markup)
    {
        if (options?.Tools is not { } tools || options.ToolMode is NoneChatToolMode || !tools.OfType<AIFunctionDeclaration>().Any())
        {
            return null;
        }

        StringBuilder text = new();
        foreach (AIFunctionDeclaration tool in tools.OfType<AIFunctionDeclaration>())
        {
            text.Append("\n- ");
            ToolSignatureText.Append(text, tool);
        }

        return markup.Introduction + markup.Escape(text.ToString());
    }

    private static void AppendCall(StringBuilder prompt, ToolMarkup markup, FunctionCallContent call)
    {
        StringBuilder text = new("{\"name\":");
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

        text.Append("}}");
        prompt.Append(markup.CallStart).Append(markup.EscapeJson(text.ToString())).Append(markup.CallEnd);
    }

    private static string RenderResult(ToolMarkup markup, FunctionResultContent result, string? name)
    {
        StringBuilder text = new("{");
        if (name is not null)
        {
            text.Append("\"name\":");
            CompactJson.AppendString(text, name);
            text.Append(',');
        }

        text.Append("\"result\":").Append(ResultText(result));
        return markup.ResultStart + markup.EscapeJson(text.Append('}').ToString()) + markup.ResultEnd;
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
            if (!_byId.TryGetValue(call.CallId, out (Turn Turn, List<(string Name, int Order)> Calls, int Answered) known) || known.Turn != turn)
            {
                _byId[call.CallId] = known = (turn, [], 0);
            }

            known.Calls.Add((call.Name, _count++));
        }

        /// <summary>The name of the call that a result answers, null where there is none, and its place among all calls: results are listed in that order.</summary>
        public (string? Name, int Order) Answer(string callId)
        {
            if (!_byId.TryGetValue(callId, out (Turn Turn, List<(string Name, int Order)> Calls, int Answered) known))
            {
                return (null, int.MaxValue);
            }

            int next = Math.Min(known.Answered, known.Calls.Count - 1);
            _byId[callId] = known with { Answered = next + 1 };
            return known.Calls[next];
        }
    }

    /// <summary>One turn: paragraphs, and runs of lines that are calls or results.</summary>
    private sealed class Turn(TurnRole role, ChatFormat format)
    {
        private readonly List<Block> _blocks = [];

        public TurnRole Role { get; } = role;

        /// <summary>The text before all turns: content, and our own.</summary>
        public List<(string Text, bool IsOwn)> Preface { get; set; } = [];

        public bool IsEmpty => _blocks.Count == 0;

        public string Text
        {
            get
            {
                if (!format.Trims && Preface.Count == 0 && _blocks is [{ AreLines: false } only])
                {
                    return format.Tools.Escape(only.Parts[0].Text);
                }

                // Paragraphs are escaped together: what looks like a frame may begin in one message and end in the next.
                StringBuilder text = new(), content = new();
                foreach ((string part, bool isOwn) in Preface)
                {
                    Add(isOwn, Blank, part);
                }

                foreach (Block block in _blocks)
                {
                    // A call follows the model's text on the next line, as the model writes it.
                    string[] parts = [.. block.Parts.OrderBy(static part => part.Order).Select(static part => part.Text.Trim())];
                    Add(block.AreLines, Role == TurnRole.Model && block.AreLines ? "\n" : Blank, string.Join('\n', parts));
                }

                return text.Append(format.Tools.Escape(content.ToString())).ToString();

                void Add(bool isOwn, string gap, string part)
                {
                    gap = text.Length + content.Length == 0 ? "" : gap;
                    if (isOwn)
                    {
                        text.Append(format.Tools.Escape(content.ToString())).Append(gap).Append(part);
                        content.Clear();
                    }
                    else
                    {
                        content.Append(gap).Append(part);
                    }
                }
            }
        }

        /// <summary>Adds the collected text as a paragraph and clears it. White space alone is dropped, unless the format keeps content verbatim and there is no other.</summary>
        public void AddText(StringBuilder text, bool keepsBlank = false)
        {
            string said = text.ToString();
            if (!string.IsNullOrWhiteSpace(said) || (keepsBlank && !format.Trims))
            {
                _blocks.Add(new Block(false, [(format.Trims ? TextTools.Trim(said) : said, 0)]));
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
