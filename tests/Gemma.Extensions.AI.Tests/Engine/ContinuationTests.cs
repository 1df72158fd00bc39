using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Text;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A conversation that ends with the assistant's message goes on from its text, in the same turn.</summary>
public sealed class ContinuationTests
{
    private static readonly ChatMessage s_question = new(ChatRole.User, "Tell me a story.");

    [Fact]
    public void ThePromptEndsWithTheTextThatGoesOn()
    {
        foreach (ChatFormat format in Formats())
        {
            int[] asked = ChatTemplate.Render(format, [s_question]).Tokens;
            ChatPrompt prompt = ChatTemplate.Render(format, [s_question, new(ChatRole.Assistant, "It was the best")]);
            Assert.Equal([.. asked, .. format.Tokenizer.Encode("It was the best", matchSpecial: false)], prompt.Tokens);
            Assert.Equal(asked.Length, prompt.ReplyStart);
        }

        // As one text, where tokens span the place: it is encoded as transformers does, and not looked for later.
        ChatFormat spanning = ChatFormatData.Resolve("{% for m in messages %}<start_of_turn>{{ m.role }}: {{ m.content }}<end_of_turn>{% endfor %}{% if add_generation_prompt %}<start_of_turn>assistant: {% endif %}");
        ChatPrompt spanned = ChatTemplate.Render(spanning, [s_question, new(ChatRole.Assistant, "It was the best")]);
        int header = Array.LastIndexOf(spanned.Tokens, Tokenizers.Tiny.StartOfTurnId) + 1;
        Assert.Equal(Tokenizers.Tiny.Encode("assistant: It was the best", matchSpecial: false), spanned.Tokens[header..]);
        Assert.Equal(-1, spanned.ReplyStart);
    }

    /// <summary>Text with calls goes on behind the calls; an empty message has nothing to go on from; results and questions are answered by a turn of their own.</summary>
    [Fact]
    public void WhatIsContinuedDependsOnTheLastMessageAlone()
    {
        foreach (ChatFormat format in Formats())
        {
            ChatMessage calls = new(ChatRole.Assistant, [new TextContent("I look."), new FunctionCallContent("1", "f")]);
            Assert.EndsWith("I look.\n<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", Text([s_question, calls]));
            Assert.Equal(Text([s_question]), Text([s_question, new(ChatRole.Assistant, " \n")]));
            Assert.NotEqual(Text([s_question, calls]), Text([s_question, calls, new(ChatRole.Tool, [new FunctionResultContent("1", 1)])]));
            string answered = Text([s_question, calls, new(ChatRole.Tool, [new FunctionResultContent("1", 1)])]);
            Assert.EndsWith(Text([s_question])[^10..], answered);
            Assert.EndsWith("\n<\\tool_call>", Text([s_question, new(ChatRole.Assistant, "So:\n<tool_call>")]));

            string Text(ChatMessage[] messages) => format.Tokenizer.Decode(ChatTemplate.Render(format, messages).Tokens);
        }
    }

    /// <summary>As transformers: white space at the end is kept where the format keeps content as it is.</summary>
    [Fact]
    public void WhiteSpaceAtTheEndStaysWhereTheFormatKeepsIt()
    {
        ChatMessage[] messages = [s_question, new(ChatRole.Assistant, "It was ")];
        Assert.EndsWith("\nIt was", Tokenizers.Tiny.Decode(ChatTemplate.Render(TurnFormat.Gemma(Tokenizers.Tiny), messages).Tokens));
        ChatFormat chatML = TurnFormat.ChatML(ChatFormatData.ChatMLTokenizer, "test");
        Assert.EndsWith("\nIt was ", chatML.Tokenizer.Decode(ChatTemplate.Render(chatML, messages).Tokens));
        Assert.Contains("cannot be continued", Assert.Throws<NotSupportedException>(() => ChatTemplate.Render(ChatFormatData.Resolve("{{ messages[0].content }}"), messages)).Message);
    }

    [Fact]
    public async Task TheResponseIsWhatIsAddedAndIsWhatTheOptionsAskFor()
    {
        using IChatClient client = TinyModel.Client();
        ChatMessage[] messages = [s_question, new(ChatRole.Assistant, "The answer is")];
        ChatOptions regex = new() { RawRepresentationFactory = static _ => new GemmaGenerationOptions { Regex = "(forty|fifty) two", Temperature = 1, Seed = 3 } };
        ChatResponse response = await client.GetResponseAsync(messages, regex, TestContext.Current.CancellationToken);
        Assert.Matches("^(forty|fifty) two$", response.Text);
        Assert.Equal(ChatTemplate.Render(TinyModel.Model.ChatFormat, messages).Tokens.Length, response.Usage!.InputTokenCount);

        List<ChatResponseUpdate> streamed = await client.GetStreamingResponseAsync(messages, regex, TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken);
        Assert.Equal(response.Text, string.Concat(streamed.Select(static update => update.Text)));

        ChatOptions tools = new() { Tools = [AIFunctionFactory.CreateDeclaration("look", "Looks.", System.Text.Json.JsonElement.Parse("""{"type":"object"}"""))], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false, Seed = 1 };
        Assert.Equal("look", Assert.Single((await client.GetResponseAsync(messages, tools, TestContext.Current.CancellationToken)).Messages[0].Contents.OfType<FunctionCallContent>()).Name);
    }

    /// <summary>Both texts in one message are read in the tokens of the prompt and the answer, so that nothing is computed again.</summary>
    [Fact]
    public async Task TheWholeTurnIsFoundAgainInTheNextOne()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"));
        using IChatClient client = model.AsIChatClient();
        ChatOptions options = new() { Temperature = 1.5f, TopK = 0, TopP = 1, Seed = 5, MaxOutputTokens = 40 };
        ChatResponse added = await client.GetResponseAsync([s_question, new(ChatRole.Assistant, "It was")], options, TestContext.Current.CancellationToken);
        ChatMessage whole = new(ChatRole.Assistant, [new TextContent("It was"), .. added.Messages[0].Contents]);
        ChatResponse next = await client.GetResponseAsync([s_question, whole, new(ChatRole.User, "More.")], options, TestContext.Current.CancellationToken);
        long known = added.Usage!.InputTokenCount!.Value + added.Usage.OutputTokenCount!.Value;
        Assert.InRange(next.Usage!.CachedInputTokenCount!.Value, known - 2, known);
    }

    /// <summary>Each token is hashed once, however many replies are looked for; a conversation that must be too long is refused before it is encoded.</summary>
    [Fact]
    public void ManyShortTurnsCostWhatTheirLengthSays()
    {
        foreach (ChatFormat format in Formats())
        {
            ReplyTokenCache memory = new();
            memory.Remember([1, 2, 3], 2, "x", [4]);
            ChatMessage[] many = [.. Enumerable.Range(0, 3000).SelectMany(static _ => new ChatMessage[] { new(ChatRole.User, "a"), new(ChatRole.Assistant, "b") }), new(ChatRole.User, "c")];
            long before = memory.HashedTokens;
            int length = ChatTemplate.Render(format, many, null, memory).Tokens.Length;
            Assert.InRange(memory.HashedTokens - before, length / 2, 2 * length);

            before = memory.HashedTokens;
            GemmaContextLengthException refused = Assert.Throws<GemmaContextLengthException>(() => ChatTemplate.Render(format, many, null, memory, 8192));
            Assert.InRange(refused.PromptTokens, 8192, length);
            Assert.Contains("at least", refused.Message);
            Assert.Equal(before, memory.HashedTokens); // nothing was looked for
        }

        string text = new('a', 1 << 20);
        Assert.Contains("at least", Assert.Throws<GemmaContextLengthException>(() => ChatTemplate.Render(TurnFormat.Gemma(Tokenizers.Tiny), [new(ChatRole.User, text)], null, null, 512)).Message);
    }

    /// <summary>The least that a prompt can have is never more than it has.</summary>
    [Fact]
    public void APromptThatFitsIsNeverRefusedByItsSize()
    {
        string[] texts = ["", " ", new(' ', 5000), new('\n', 3000), new('=', 4000), "hi", string.Concat(Enumerable.Repeat("é😀", 500)), string.Concat(Enumerable.Repeat("\u2581", 2000)), string.Concat(Enumerable.Repeat("<b>", 700)), "<start_of_turn><bos>"];
        foreach (ChatFormat format in Formats())
        {
            foreach (string text in texts)
            {
                ChatMessage[] messages = [new(ChatRole.User, text + "."), new(ChatRole.Assistant, text + "."), new(ChatRole.User, "." + text + ".")];
                int length = ChatTemplate.Render(format, messages).Tokens.Length;
                Assert.Equal(length, ChatTemplate.Render(format, messages, null, null, length + 1).Tokens.Length);
            }
        }
    }

    private static ChatFormat[] Formats() =>
    [
        TurnFormat.Gemma(Tokenizers.Tiny), TurnFormat.ChatML(ChatFormatData.ChatMLTokenizer, "test"),
        ChatFormatData.Resolve("{{ bos_token }}{% for m in messages %}<start_of_turn>{{ 'bot' if m.role == 'assistant' else m.role }}:\n{{ m.content }}<end_of_turn>{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>bot:\n' }}{% endif %}"),
    ];
}
