using System.Text.Json;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Playwright;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>The sample's page in a headless Chromium.</summary>
public sealed class WebChatPageTests(BrowserFixture browser) : IClassFixture<BrowserFixture>
{
    private const string Answer = "#messages li.assistant:last-child .body";

    [Fact]
    public async Task AMessageIsSentAndItsAnswerStreamsIn()
    {
        TaskCompletionSource<string> rest = new();
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages => [$"You said **{messages[^1].Text}**", rest.Task]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "good morning");
        await page.WaitForAsync($"document.querySelector('{Answer} strong')?.textContent === 'good morning'");
        Assert.Equal("true", await page.EvaluateAsync<string>($"document.querySelector('{Answer}').getAttribute('aria-busy')"));
        rest.SetResult(" and I answer.");
        await DoneAsync(page);
        Assert.Equal("You said good morning and I answer.", await page.TextAsync(Answer));
        Assert.Equal("good morning", await page.TextAsync("#messages li.user .body"));
        Assert.Contains("7 tokens read (5 from cache), 3 written", await page.TextAsync("#messages .note"), StringComparison.Ordinal);
        Assert.False(await page.EvaluateAsync<bool>($"document.querySelector('{Answer}').hasAttribute('aria-busy')"));
        await EndAsync(page);
    }

    [Fact]
    public async Task AConversationWithNano()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, "--Chat:MaxOutputTokens=40");
        Tab page = await browser.OpenAsync(server.Address);
        await page.WaitForAsync("document.getElementById('model').textContent !== ''");
        await page.ClickAsync(".suggestions button");
        await DoneAsync(page);
        Assert.NotEqual("", (await page.TextAsync(Answer)).Trim());
        await AskAsync(page, "Thank you.");
        await DoneAsync(page, answers: 2);
        Assert.DoesNotContain("(0 from cache)", await page.TextAsync("#messages li:last-child .note"), StringComparison.Ordinal);
        if (Environment.GetEnvironmentVariable("WEBCHAT_SCREENSHOTS") is { } folder)
        {
            await page.Page.ScreenshotAsync(new() { Path = Path.Combine(folder, "nano.png") });
        }

        await EndAsync(page);
    }

    [Theory]
    [InlineData("mouse")]
    [InlineData("Escape")]
    public async Task StopEndsTheAnswerOnTheServer(string how)
    {
        EndlessClient endless = null!;
        await using WebChatServer server = await WebChatServer.StartAsync(
            inner => endless = new EndlessClient(inner), "--Gemma:ModelPath=nano", "--Gemma:Kernel=reference", "--Gemma:Threads=1", "--Gemma:SpeculativeTokens=0");
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "Go on and on.");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent.length > 5");
        Assert.True(server.Model.Engine.Status.Running == 1);
        await (how == "mouse" ? page.ClickAsync("#stop") : page.PressAsync("Escape"));
        Assert.IsAssignableFrom<OperationCanceledException>(await endless.Ended);
        await WebChatTests.NothingRunsAsync(server);
        await DoneAsync(page);
        Assert.Equal("Stopped.", await page.TextAsync("#messages .note"));
        Assert.NotEqual("", await page.TextAsync(Answer)); // what was said stays
        await EndAsync(page);
    }

    [Fact]
    public async Task TwoTabsGetTheirOwnAnswers()
    {
        Dictionary<string, TaskCompletionSource<string>> gates = new() { ["first"] = new(), ["second"] = new() };
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages =>
            [$"{messages.Count} of {messages[^1].Text}: ", gates[messages[^1].Text].Task]));
        Tab first = await browser.OpenAsync(server.Address);
        await AskAsync(first, "first");
        Tab second = await browser.OpenAsync(server.Address);
        await AskAsync(second, "second");
        foreach (Tab page in (Tab[])[first, second])
        {
            await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent.startsWith('1 of')"); // both stream at the same time
        }

        gates["second"].SetResult("b");
        gates["first"].SetResult("a");
        await DoneAsync(first);
        await DoneAsync(second);
        Assert.Equal("1 of first: a", await first.TextAsync(Answer));
        Assert.Equal("1 of second: b", await second.TextAsync(Answer));
        await EndAsync(first);
        await EndAsync(second);
    }

    [Fact]
    public async Task TwoTabsOfOneModelAtOnce()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, $"--Gemma:ModelPath={TinyModel.Path}", "--Chat:MaxOutputTokens=60");
        Tab[] pages = [await browser.OpenAsync(server.Address), await browser.OpenAsync(server.Address)];
        foreach (Tab page in pages)
        {
            await AskAsync(page, "Hello");
        }

        foreach (Tab page in pages)
        {
            await DoneAsync(page);
            Assert.Contains("written", await page.TextAsync("#messages .note"), StringComparison.Ordinal);
            await EndAsync(page);
        }
    }

    /// <summary>Whatever the model writes: nothing runs, nothing is loaded, no element or attribute appears but those that Markdown has.</summary>
    [Fact]
    public async Task HostileAnswersStayInert()
    {
        const string Hostile =
            """
            <img src=x onerror="window.hacked=1"> <script>window.hacked=2</script> <svg/onload=window.hacked=3>
            <iframe src="javascript:parent.hacked=4"></iframe> <a href="javascript:window.hacked=5">raw</a>

            [one](javascript:window.hacked=6) [two](JaVaScRiPt:window.hacked=7) [three](data:text/html,<script>hacked=8</script>) [four](vbscript:x)
            [five](java&#x73;cript:hacked=9) [six]( javascript:hacked=10 ) ![seven](http://127.0.0.1:9/track.png) ![eight](x" onerror="hacked=11)
            [nine](https://example.org/"onmouseover="window.hacked=12) <javascript:hacked=13> [ten](\u0001javascript:hacked=14) [eleven](//example.org)

            # <b onclick=hacked=15>head</b>
            > <style>body{display:none}</style>

            | <img src=x onerror=hacked=16> | b |
            |---|---|
            | </td><script>hacked=17</script> | `<script>hacked=18</script>` |

            ```"><script>hacked=19</script>
            </code></pre><script>window.hacked=20</script><form action=javascript:hacked=21>
            ```
            - <details open ontoggle=hacked=22>
            """;
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => Hostile.Chunk(7).Select(piece => (object)new string(piece))));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "<img src=x onerror=window.hacked=23>");
        await DoneAsync(page);
        await page.EvaluateAsync<bool>($"[...document.querySelectorAll('{Answer} *')].forEach(e => e.tagName === 'A' || e.click()), true");
        Assert.Equal("", await AlienAsync(page, Answer));
        Assert.Equal("<img src=x onerror=window.hacked=23>", await page.TextAsync("#messages li.user .body"));
        string[] links = await page.EvaluateAsync<string[]>($"[...document.querySelectorAll('{Answer} a')].map(a => a.protocol)");
        Assert.NotEmpty(links);
        Assert.All(links, link => Assert.True(link is "http:" or "https:" or "mailto:", link));
        Assert.Contains("window.hacked=20", await page.TextAsync($"{Answer} .code pre"), StringComparison.Ordinal); // shown, as text
        Assert.True(await page.EvaluateAsync<bool>("window.hacked === undefined"));
        await EndAsync(page);
    }

    /// <summary>Random texts of marks: only known elements. What they cost, <see cref="MarkdownTests"/> count.</summary>
    [Fact]
    public async Task RandomMarkdownMakesKnownElementsOnly()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]));
        Tab page = await browser.OpenAsync(server.Address);
        await page.EvaluateAsync<bool>("document.body.append(Object.assign(document.createElement('div'), { id: 'box', className: 'body' })), import('/markdown.js').then(m => { window.show = m.show; return true; })");
        string[] parts = ["*", "**", "_", "`", "```", "~~", "[", "](", ")", "!", "<", ">", "> ", "\n", "\n\n", "- ", "1. ", "  ", "    ", "#", "|", "|---|---|", "http://a.b/", "javascript:x", "\"", "\\", "word", "<script>", "&lt;", "\t", "\r"];
        for (int seed = 0; seed < 150; seed++)
        {
            Random random = new(seed);
            string text = string.Concat(Enumerable.Range(0, random.Next(1, 80)).Select(_ => parts[random.Next(parts.Length)]));
            await ShowAsync(page, text);
            Assert.Equal("", await AlienAsync(page, "#box"));
        }

        await EndAsync(page);
    }

    [Theory]
    [InlineData("plain *em* **strong** `a*b*` ~~old~~", "<p>plain <em>em</em> <strong>strong</strong> <code>a*b*</code> <del>old</del></p>")]
    [InlineData("snake_case_name 2*3*4 \\*no\\*", "<p>snake_case_name 2*3*4 *no*</p>")]
    [InlineData("**bold with *em* inside**", "<p><strong>bold with <em>em</em> inside</strong></p>")]
    [InlineData("# One\ntext\n## Two", "<h3>One</h3><p>text</p><h4>Two</h4>")]
    [InlineData("- a\n- b\n  - c\n  - d\n- e", "<ul><li>a</li><li>b<ul><li>c</li><li>d</li></ul></li><li>e</li></ul>")]
    [InlineData("3. a\n4. b\n\nafter", "<ol start=\"3\"><li>a</li><li>b</li></ol><p>after</p>")]
    [InlineData("> quoted\n> more", "<blockquote><p>quoted<br>more</p></blockquote>")]
    [InlineData("a\n\n---\n\nb", "<p>a</p><hr><p>b</p>")]
    [InlineData("[text](https://example.org/a_(b))", "<p><a href=\"https://example.org/a_(b)\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">text</a></p>")]
    [InlineData("see https://example.org/x.", "<p>see <a href=\"https://example.org/x\" target=\"_blank\" rel=\"noopener noreferrer nofollow\">https://example.org/x</a>.</p>")]
    [InlineData("[bad](javascript:alert(1))", "<p><span>bad</span></p>")]
    [InlineData("| a | b |\n|---|:-:|\n| 1 | *2* |", "<div class=\"table\" tabindex=\"0\"><table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td><em>2</em></td></tr></tbody></table></div>")]
    [InlineData("```c#\nint a = 1;\n\n// *b*\n```\nafter", "<div class=\"code\"><div><span>c#</span><button type=\"button\">Copy</button></div><pre tabindex=\"0\"><code>int a = 1;\n\n// *b*</code></pre></div><p>after</p>")]
    [InlineData("```\nstill open", "<div class=\"code\"><div><span>code</span><button type=\"button\">Copy</button></div><pre tabindex=\"0\"><code>still open</code></pre></div>")]
    [InlineData("<b>x</b> & &amp;", "<p>&lt;b&gt;x&lt;/b&gt; &amp; &amp;amp;</p>")]
    public async Task MarkdownIsShown(string markdown, string expected)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => [markdown]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "Go");
        await DoneAsync(page);
        Assert.Equal(expected, await page.EvaluateAsync<string>($"document.querySelector('{Answer}').innerHTML"));
        await EndAsync(page);
    }

    [Fact]
    public async Task ABusyServerIsShownAndAskedAgain()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), "--Chat:QuestionsPerMinute=1");
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "one");
        await DoneAsync(page);
        await AskAsync(page, "two");
        await page.WaitForAsync("document.querySelector('.note.error')");
        Assert.Contains("faster than this server allows", await page.TextAsync(".note.error"), StringComparison.Ordinal);
        Assert.Matches(@"^Try again in \d+ s$", await page.TextAsync(".retry"));
        Assert.Contains("faster than this server allows", await page.TextAsync("#status"), StringComparison.Ordinal); // told to screen readers
        Assert.True(await page.EvaluateAsync<bool>("document.querySelector('.retry').disabled && !document.getElementById('send').hidden"));
        await EndAsync(page, refused: true);
    }

    [Fact]
    public async Task AServerThatWantsAKeyIsAskedWithTheOneThatIsGiven()
    {
        await using WebApplication app = AspNetCore.Hosting.ServerHost.Build(
            new() { ApiKeys = ["correct"], Port = 0 },
            builder =>
            {
                builder.Services.AddKeyedChatClient("one", new ScriptedClient(_ => ["I am one"]));
                builder.Services.AddKeyedChatClient("two", new ScriptedClient(_ => ["I am two"]));
            },
            (mapped, _) => mapped.MapGemmaChatPage());
        await app.StartAsync();
        Tab page = await browser.OpenAsync(new Uri(app.Urls.Single()));
        await page.WaitForAsync("!document.getElementById('access').hidden");
        await TypeKeyAsync("wrong");
        await AskAsync(page, "who?");
        await page.WaitForAsync("document.querySelector('.note.error')?.textContent.includes('key')");
        await TypeKeyAsync("correct");
        await page.WaitForAsync("document.getElementById('access').hidden && document.getElementById('models').options.length === 2");
        await page.EvaluateAsync<bool>("document.getElementById('models').value = 'two', true");
        await page.ClickAsync(".retry");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === 'I am two'");
        await EndAsync(page, refused: true);
        await app.StopAsync();

        async Task TypeKeyAsync(string key)
        {
            await page.EvaluateAsync<bool>("document.getElementById('key').focus(), true");
            await page.TypeAsync(key);
            await page.PressAsync("Enter");
        }
    }

    [Fact]
    public async Task ARefusedQuestionCanBeSentAgain()
    {
        int calls = 0;
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages => ++calls == 1 ? [new InvalidOperationException("once")] : [$"{messages.Count}: fine now"]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "one");
        await page.WaitForAsync("document.querySelector('.retry')");
        await page.ClickAsync(".retry");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === '1: fine now'"); // one message: the failed turn is gone
        Assert.Equal(2, await page.EvaluateAsync<int>("document.querySelectorAll('#messages li').length"));
        await EndAsync(page, refused: true);
    }

    [Fact]
    public async Task NewChatForgetsTheOldOneEvenWhileItIsAnswered()
    {
        TaskCompletionSource<string> never = new();
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages => messages[^1].Text == "old" ? ["a", never.Task] : [$"{messages.Count} messages"]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "old");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === 'a'");
        await page.ClickAsync("#new");
        await AskAsync(page, "new");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === '1 messages'");
        Assert.Equal(2, await page.EvaluateAsync<int>("document.querySelectorAll('#messages li').length"));
        await EndAsync(page);
    }

    /// <summary>The tab keeps its conversation. A question whose answer was cut off goes back to the box.</summary>
    [Fact]
    public async Task LoadingThePageAgainKeepsTheConversation()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages =>
            messages[^1].Text == "endless" ? ["begun", new TaskCompletionSource<string>().Task] : [$"**{messages.Count}** <i>messages</i>"]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "one");
        await DoneAsync(page);
        await AskAsync(page, "endless");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === 'begun'");
        await ReloadAsync(page);
        Assert.Equal("endless", await page.EvaluateAsync<string>("document.getElementById('question').value"));
        Assert.Equal("one\n1 <i>messages</i>", await page.EvaluateAsync<string>("[...document.querySelectorAll('#messages .body')].map(e => e.innerText).join('\\n')"));
        Assert.Equal("1", await page.TextAsync($"{Answer} strong")); // shown as Markdown, as before
        Assert.True(await page.EvaluateAsync<bool>("document.getElementById('welcome').hidden && document.getElementById('stop').hidden"));
        await page.EvaluateAsync<bool>("document.getElementById('question').value = '', true");
        await AskAsync(page, "three");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === '3 <i>messages</i>'");
        await page.ClickAsync("#new");
        await ReloadAsync(page);
        Assert.Equal(0, await page.EvaluateAsync<int>("document.querySelectorAll('#messages li').length"));
        Assert.False(await page.EvaluateAsync<bool>("document.getElementById('welcome').hidden"));
        Tab other = await browser.OpenAsync(server.Address); // a conversation belongs to its tab
        Assert.Equal(0, await other.EvaluateAsync<int>("document.querySelectorAll('#messages li').length"));
        await EndAsync(page);
        await EndAsync(other);

        static Task ReloadAsync(Tab page) => page.Page.ReloadAsync();
    }

    /// <summary>The end of an answer does not move whoever scrolled up to read.</summary>
    [Fact]
    public async Task WhoeverReadsFurtherUpStaysThere()
    {
        TaskCompletionSource<string> rest = new();
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => [string.Concat(Enumerable.Repeat("A line.\n\n", 100)), rest.Task]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "Go");
        await page.WaitForAsync("document.getElementById('scroller').scrollTop > 1000"); // follows the answer
        await page.EvaluateAsync<bool>("document.getElementById('scroller').scrollTop = 100, true");
        rest.SetResult("The end.");
        await DoneAsync(page);
        Assert.Equal(100, await page.EvaluateAsync<double>("document.getElementById('scroller').scrollTop"));
        await EndAsync(page);
    }

    /// <summary>Buttons that vanish when they are used leave the focus in the box, not at the beginning of the page.</summary>
    [Fact]
    public async Task TheKeyboardAloneIsEnough()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(messages => messages[^1].Text == "wait" ? ["a", new TaskCompletionSource<string>().Task] : ["ok"]));
        Tab page = await browser.OpenAsync(server.Address);
        await FocusAndPressAsync(".suggestions button");
        await DoneAsync(page);
        await AssertBoxAsync();
        await page.TypeAsync("wait");
        await FocusAndPressAsync("#send");
        await page.WaitForAsync($"document.querySelector('{Answer}')?.textContent === 'a'");
        await AssertBoxAsync();
        await FocusAndPressAsync("#stop");
        await DoneAsync(page, answers: 2);
        await AssertBoxAsync();
        await EndAsync(page);

        async Task FocusAndPressAsync(string selector)
        {
            await page.EvaluateAsync<bool>($"document.querySelector('{selector}').focus(), true");
            await page.PressAsync("Enter");
        }

        async Task AssertBoxAsync() => Assert.Equal("question", await page.EvaluateAsync<string>("document.activeElement.id"));
    }

    /// <summary>On a page that came without https there is no clipboard: the text is selected instead.</summary>
    [Fact]
    public async Task CodeCanBeCopiedOrIsSelected()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["```\nlet a = 1;\n```"]));
        Tab page = await browser.OpenAsync(server.Address);
        await AskAsync(page, "Go");
        await DoneAsync(page);
        await page.EvaluateAsync<bool>("Object.defineProperty(navigator, 'clipboard', { value: { writeText: async text => { window.copied = text; } }, configurable: true }), true");
        await page.ClickAsync(".code button");
        await page.WaitForAsync("document.querySelector('.code button').textContent === 'Copied'");
        Assert.Equal("let a = 1;", await page.EvaluateAsync<string>("window.copied"));
        await page.EvaluateAsync<bool>("Object.defineProperty(navigator, 'clipboard', { value: undefined }), true");
        await page.ClickAsync(".code button");
        await page.WaitForAsync("document.querySelector('.code button').textContent === 'Press Ctrl+C'");
        Assert.Equal("let a = 1;", await page.EvaluateAsync<string>("getSelection().toString()"));
        await EndAsync(page);
    }

    [Theory]
    [InlineData(320)]
    [InlineData(390)]
    public async Task ANarrowScreenScrollsNowhereSideways(int width)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => [$"{new string('x', 400)} `{new string('y', 400)}`\n\n```\n{new string('z', 400)}\n```\n\n|{string.Concat(Enumerable.Repeat(" column |", 20))}\n|{string.Concat(Enumerable.Repeat("---|", 20))}\n\n> > > https://example.org/{new string('p', 300)}"]));
        Tab page = await browser.OpenAsync(server.Address, new() { ViewportSize = new() { Width = width, Height = 640 }, DeviceScaleFactor = 2, IsMobile = true });
        await AskAsync(page, new string('w', 300));
        await DoneAsync(page);
        Assert.Equal([width, width], await page.EvaluateAsync<int[]>("[document.documentElement.scrollWidth, document.getElementById('scroller').scrollWidth]"));
        Assert.True(await page.EvaluateAsync<bool>("document.querySelector('th').offsetWidth > 60 && document.querySelector('.table').scrollWidth > innerWidth")); // the table scrolls by itself
        if (Environment.GetEnvironmentVariable("WEBCHAT_SCREENSHOTS") is { } folder)
        {
            await page.Page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{width}.png") });
        }

        await EndAsync(page);
    }

    [Fact]
    public async Task KeyboardDarkModeAndNames()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["# Title\n\ntext `code` [link](https://example.org)\n\n```js\nlet a = 1;\n```\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |"]));
        Tab page = await browser.OpenAsync(server.Address);
        Assert.Equal("question", await page.EvaluateAsync<string>("document.activeElement.id"));
        await page.TypeAsync("two");
        await page.PressAsync("Shift+Enter"); // with Shift
        await page.TypeAsync("lines");
        Assert.Equal("two\nlines", await page.EvaluateAsync<string>("document.getElementById('question').value"));
        await page.PressAsync("Enter");
        await DoneAsync(page);
        Assert.Equal("two\nlines", await page.TextAsync("#messages li.user .body"));
        Assert.Equal("question", await page.EvaluateAsync<string>("document.activeElement.id"));

        // Everything that can be used has a name: "- button" without one stands alone on its line of the snapshot.
        string tree = await page.Page.Locator("body").AriaSnapshotAsync();
        Assert.DoesNotMatch(@"(?m)^\s*- (button|textbox|link)\b(?! "")", tree);
        Assert.Contains("- textbox \"Your message\"", tree, StringComparison.Ordinal);
        Assert.Contains("- button \"Send\"", tree, StringComparison.Ordinal);
        Assert.Contains("- main", tree, StringComparison.Ordinal);
        Assert.Contains("- link \"link\"", tree, StringComparison.Ordinal);
        Assert.Equal("status", await page.EvaluateAsync<string>("document.getElementById('status').getAttribute('role')"));

        foreach (string scheme in (string[])["light", "dark"])
        {
            await page.Page.EmulateMediaAsync(new() { ColorScheme = scheme == "dark" ? ColorScheme.Dark : ColorScheme.Light });
            int[] colors = await page.EvaluateAsync<int[]>("[...getComputedStyle(document.body).backgroundColor.match(/\\d+/g)].map(Number)");
            Assert.Equal(scheme == "dark", colors.Sum() < 3 * 128);
            if (Environment.GetEnvironmentVariable("WEBCHAT_SCREENSHOTS") is { } folder)
            {
                await page.Page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{scheme}.png") });
            }
        }

        await EndAsync(page);
    }

    private static async Task AskAsync(Tab page, string text)
    {
        await page.EvaluateAsync<bool>("document.getElementById('question').focus(), true");
        await page.TypeAsync(text);
        await page.PressAsync("Enter");
    }

    private static Task DoneAsync(Tab page, int answers = 1) => page.WaitForAsync(
        $"document.querySelectorAll('#messages li.assistant').length === {answers} && document.querySelector('#messages li:last-child .note') && document.getElementById('stop').hidden");

    private static Task<bool> ShowAsync(Tab page, string markdown) => page.EvaluateAsync<bool>(
        $"show(box, {JsonSerializer.Serialize(markdown)}), true");

    /// <summary>Elements and attributes that the renderer has no business making.</summary>
    private static Task<string> AlienAsync(Tab page, string root) => page.EvaluateAsync<string>(
        $$"""
        [...document.querySelector({{JsonSerializer.Serialize(root)}}).querySelectorAll('*')].flatMap(e => [
            ...(/^(P|H[3-6]|HR|BR|UL|OL|LI|BLOCKQUOTE|PRE|CODE|EM|STRONG|DEL|A|SPAN|TABLE|THEAD|TBODY|TR|TH|TD|DIV|BUTTON)$/.test(e.tagName) ? [] : [e.tagName]),
            ...[...e.attributes].filter(a => !/^(class|href|target|rel|tabindex|type|start)$/.test(a.name)).map(a => e.tagName + ' ' + a.name)]).join()
        """);

    /// <summary>The page must not have complained. A refused request is an error in the console of every browser.</summary>
    private static async Task EndAsync(Tab page, bool refused = false)
    {
        Assert.DoesNotContain(page.Complaints, complaint => !(refused && complaint.Contains("Failed to load resource", StringComparison.Ordinal)));
        await page.Page.CloseAsync();
    }
}
