using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Playwright;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>Places of things on the chat page, however long the conversation is.</summary>
public sealed class WebChatLayoutTests(BrowserFixture browser) : IClassFixture<BrowserFixture>
{
    private const string Answer = "A paragraph of an answer that goes over more than one line of a narrow window.\n\n- one\n- two\n\n```csharp\nint answer = 42;\n```\n\n| part | price |\n|---|---|\n| pump | 12 |";

    public static TheoryData<int, string> Windows => [.. from width in (int[])[1280, 400] from scheme in (string[])["light", "dark"] select (width, scheme)];

    /// <summary>
    /// After 1, 10 and 40 turns the document is as high as the window: only the conversation scrolls, header and input stay. Set WEBCHAT_SCREENSHOTS to a folder to look at it.
    /// </summary>
    [Theory]
    [MemberData(nameof(Windows))]
    public async Task OnlyTheConversationScrolls(int width, string scheme)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => [Answer]), "--Chat:QuestionsPerMinute=1000");
        Tab page = await browser.OpenAsync(server.Address, new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = scheme == "dark" ? ColorScheme.Dark : ColorScheme.Light });
        for (int turn = 1; turn <= 40; turn++)
        {
            await page.EvaluateAsync<bool>("document.getElementById('question').focus(), true");
            await page.TypeAsync($"Question {turn}: what does it cost?");
            await page.PressAsync("Enter");
            await page.WaitForAsync($"document.querySelectorAll('#messages li.assistant .note').length === {turn} && document.getElementById('stop').hidden");
            if (turn is 1 or 5 or 10 or 40)
            {
                await CheckAsync(page, width);
                if (Environment.GetEnvironmentVariable("WEBCHAT_SCREENSHOTS") is { } folder)
                {
                    await page.Page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{width}-{scheme}-{turn}.png") });
                }
            }
        }

        // Whoever scrolls up to read has the header and the input still.
        await page.EvaluateAsync<bool>("document.getElementById('scroller').scrollTop = 0, true");
        await CheckAsync(page, width);
        Assert.Empty(page.Complaints);
        await page.Page.CloseAsync();
    }

    /// <summary>An answer that comes in one piece tells nothing of a speed. The page's clock is the test's, since between two pieces a busy machine may pause.</summary>
    [Fact]
    public async Task ASpeedIsShownOnlyWhereItWasMeasured()
    {
        TaskCompletionSource<string> rest = new();
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages => messages[^1].Text == "slow" ? ["some", rest.Task] : ["all at once"]));
        Tab page = await browser.OpenAsync(server.Address);
        await page.EvaluateAsync<bool>("performance.now = () => window.clock, window.clock = 0, true");
        await AskAsync(page, "fast", 1);
        Assert.DoesNotContain("tokens/s", await page.TextAsync("#messages li:last-child .note"), StringComparison.Ordinal);
        Task slow = AskAsync(page, "slow", 2);
        await page.WaitForAsync("document.querySelectorAll('#messages li.assistant')[1]?.textContent.includes('some')");
        await page.EvaluateAsync<bool>("window.clock = 400, true");
        rest.SetResult(" more");
        await slow;
        string note = await page.TextAsync("#messages li:last-child .note");
        Assert.Contains(" · 5.0 tokens/s · ", note, StringComparison.Ordinal); // two more tokens in 0.4 s
        await page.Page.CloseAsync();
    }

    /// <summary>A request that is wrong would be refused again, so its question goes back to be changed; a failure that may pass offers another try.</summary>
    [Theory]
    [InlineData("long", false)]
    [InlineData("broken", true)]
    public async Task TryAgainIsOfferedWhereItCanHelp(string how, bool offered)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => [how == "long" ? new GemmaContextLengthException(9000, 8192) : new InvalidOperationException("once")]));
        Tab page = await browser.OpenAsync(server.Address);
        await page.EvaluateAsync<bool>("document.getElementById('question').focus(), true");
        await page.TypeAsync("What is this?");
        await page.PressAsync("Enter");
        await page.WaitForAsync("document.querySelector('.note.error') && document.getElementById('stop').hidden");
        Assert.Equal(offered ? 1 : 0, await page.EvaluateAsync<int>("document.querySelectorAll('.retry').length"));
        Assert.Equal(offered ? "" : "What is this?", await page.EvaluateAsync<string>("document.getElementById('question').value"));
        Assert.Equal(offered ? 2 : 1, await page.EvaluateAsync<int>("document.querySelectorAll('#messages li').length")); // what is in the box again is not shown twice
        Assert.Equal(!offered, (await page.TextAsync(".note.error")).Contains("Start a new chat", StringComparison.Ordinal));
        Assert.True(await page.EvaluateAsync<bool>("document.getElementById('scroller').scrollHeight - document.getElementById('scroller').scrollTop - document.getElementById('scroller').clientHeight < 2"));
        await page.Page.CloseAsync();
    }

    private static async Task AskAsync(Tab page, string text, int answers)
    {
        await page.EvaluateAsync<bool>("document.getElementById('question').focus(), true");
        await page.TypeAsync(text);
        await page.PressAsync("Enter");
        await page.WaitForAsync($"document.querySelectorAll('#messages li.assistant .note').length === {answers} && document.getElementById('stop').hidden");
    }

    private static async Task CheckAsync(Tab page, int width)
    {
        JsonElement box = JsonElement.Parse(await page.EvaluateAsync<string>("""
            JSON.stringify({
              document: document.documentElement.scrollHeight, body: document.body.scrollHeight, wide: document.documentElement.scrollWidth, window: innerHeight,
              header: document.querySelector("header").getBoundingClientRect().top, footer: document.querySelector("footer").getBoundingClientRect().bottom,
              scrolled: scrollY
            })
            """));
        Assert.Equal(800, box.GetProperty("window").GetInt32());
        Assert.Equal(800, box.GetProperty("document").GetInt32());
        Assert.Equal(800, box.GetProperty("body").GetInt32());
        Assert.Equal(width, box.GetProperty("wide").GetInt32());
        Assert.Equal(0, box.GetProperty("header").GetDouble());
        Assert.Equal(800, box.GetProperty("footer").GetDouble(), 0.6);
        Assert.Equal(0, box.GetProperty("scrolled").GetDouble());
    }
}
