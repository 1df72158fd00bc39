using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Two models in one process, four chats of several turns each at once, some answers cancelled: every text is the one that the same chat gets alone.</summary>
public sealed class TwoModelsTests
{
    private const int Chats = 4, Turns = 3, Tokens = 20;

    [Fact]
    public async Task ChatsOfTwoModelsDoNotDisturbOneAnother()
    {
        string[] paths = [TestData.Local("tiny"), "nano"];
        List<string>[][] alone = [await AloneAsync(paths[0]), await AloneAsync(paths[1])];
        Assert.NotEqual(alone[0].SelectMany(texts => texts), alone[1].SelectMany(texts => texts));
        using GemmaModel first = GemmaModel.Load(paths[0], Options()), second = GemmaModel.Load(paths[1], Options());
        using IChatClient one = first.AsIChatClient(), two = second.AsIChatClient();
        int cancelled = 0;
        for (int round = 0; round < 3; round++)
        {
            Task<List<string>>[] chats = [.. new[] { one, two }.SelectMany(client => Enumerable.Range(0, Chats).Select(chat => Task.Run(() => ConverseAsync(client, chat))))];

            // Others begin answers of their own meanwhile and give them up, at their first, second … piece.
            await Task.WhenAll(new[] { one, two }.SelectMany(client => Enumerable.Range(0, Chats).Select(chat => Task.Run(async () =>
            {
                for (int turn = 0; turn < 6; turn++)
                {
                    Interlocked.Add(ref cancelled, await CancelAsync(client, chat, pieces: 1 + turn) ? 1 : 0);
                }
            }))));
            List<string>[] together = await Task.WhenAll(chats);
            Assert.Equal(alone[0], together[..Chats]);
            Assert.Equal(alone[1], together[Chats..]);
        }

        Assert.True(cancelled > 20, $"Only {cancelled} answers were cancelled.");
        Assert.All(new[] { first, second }, model =>
        {
            Eventually.IsTrue(() => model.Engine.Status.UsedBlocks == 0);
            Assert.False(model.Engine.Status.Failed);
        });
    }

    private static GemmaOptions Options() => new() { MaxConcurrentRequests = 6, Threads = 1 };

    private static async Task<List<string>[]> AloneAsync(string path)
    {
        using GemmaModel model = GemmaModel.Load(path, Options());
        using IChatClient client = model.AsIChatClient();
        List<List<string>> texts = [];
        for (int chat = 0; chat < Chats; chat++)
        {
            texts.Add(await ConverseAsync(client, chat));
        }

        return [.. texts];
    }

    private static async Task<List<string>> ConverseAsync(IChatClient client, int chat)
    {
        List<ChatMessage> history = [new(ChatRole.System, "Be brief.")];
        List<string> texts = [];
        for (int turn = 0; turn < Turns; turn++)
        {
            history.Add(new ChatMessage(ChatRole.User, $"Question {turn} of chat {chat}"));
            ChatResponse response = await client.GetResponseAsync(history, Settings(chat));
            history.AddRange(response.Messages);
            texts.Add(response.Text);
        }

        return texts;
    }

    /// <summary>True: the answer was cancelled before its end.</summary>
    private static async Task<bool> CancelAsync(IChatClient client, int chat, int pieces)
    {
        using CancellationTokenSource source = new();
        try
        {
            await foreach (ChatResponseUpdate _ in client.GetStreamingResponseAsync([new ChatMessage(ChatRole.System, "Be brief."), new(ChatRole.User, $"Question 0 of chat {chat}")], Settings(chat + 50), source.Token))
            {
                if (--pieces == 0)
                {
                    await source.CancelAsync();
                }
            }
        }
        catch (OperationCanceledException)
        {
            return true;
        }

        return false;
    }

    private static ChatOptions Settings(int chat) => new() { Temperature = chat % 2 == 0 ? 0 : 0.8f, Seed = chat, MaxOutputTokens = Tokens };
}
