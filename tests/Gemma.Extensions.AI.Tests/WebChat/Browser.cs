using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>A headless Chromium of this machine, driven through its DevTools protocol. Shared by the tests of one class.</summary>
internal sealed class Browser : IAsyncDisposable
{
    private readonly TempDirectory _profile = new();
    private readonly Process _process;
    private readonly ClientWebSocket _socket = new();
    private readonly SemaphoreSlim _sending = new(1, 1);
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonNode>> _calls = new();
    private readonly ConcurrentDictionary<string, Page> _pages = new();
    private int _lastCall;

    private Browser(string program)
    {
        _process = Process.Start(new ProcessStartInfo(program,
        [
            "--headless", "--no-sandbox", "--remote-debugging-port=0", $"--user-data-dir={_profile.Path}", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage",
            "--disable-background-networking", "--disable-renderer-backgrounding", "--disable-background-timer-throttling", "--window-size=1100,850", "about:blank",
        ]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
    }

    /// <summary>The program, or null where none is installed.</summary>
    public static string? Program { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(directory => new[] { "chromium", "chromium-browser", "google-chrome", "google-chrome-stable" }.Select(name => Path.Combine(directory, name)))
        .FirstOrDefault(File.Exists);

    public static async Task<Browser> StartAsync()
    {
        var browser = new Browser(Program!);
        try
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromMinutes(1));
            await browser._socket.ConnectAsync(await browser.FindAddressAsync(patience.Token), patience.Token);
            _ = browser.ReceiveAsync();
            return browser;
        }
        catch
        {
            await browser.DisposeAsync();
            throw;
        }
    }

    /// <summary>Opens a tab and waits until it is loaded.</summary>
    public async Task<Page> OpenAsync(Uri address)
    {
        string target = (await CallAsync(null, "Target.createTarget", new { url = "about:blank" }))["targetId"]!.GetValue<string>();
        string session = (await CallAsync(null, "Target.attachToTarget", new { targetId = target, flatten = true }))["sessionId"]!.GetValue<string>();
        var page = _pages[session] = new Page(this, session);
        foreach (string domain in (string[])["Page", "Runtime", "Log"])
        {
            await page.CallAsync($"{domain}.enable");
        }

        await page.CallAsync("Page.navigate", new { url = address.ToString() });
        await page.WaitForAsync("document.readyState === 'complete' && location.protocol === 'http:'");
        return page;
    }

    public async Task<JsonNode> CallAsync(string? session, string method, object? parameters)
    {
        int id = Interlocked.Increment(ref _lastCall);
        var completion = _calls[id] = new TaskCompletionSource<JsonNode>(TaskCreationOptions.RunContinuationsAsynchronously);
        byte[] message = JsonSerializer.SerializeToUtf8Bytes(new { id, method, @params = parameters ?? new { }, sessionId = session },
            new JsonSerializerOptions { DefaultIgnoreCondition = System.Text.Json.Serialization.JsonIgnoreCondition.WhenWritingNull });
        await _sending.WaitAsync();
        try
        {
            await _socket.SendAsync(message, WebSocketMessageType.Text, true, CancellationToken.None);
        }
        finally
        {
            _sending.Release();
        }

        return await completion.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Dispose();
        if (!_process.HasExited)
        {
            _process.Kill(entireProcessTree: true);
        }

        await _process.WaitForExitAsync();
        _process.Dispose();
        _profile.Dispose();
    }

    /// <summary>Chromium tells on its error output where it listens.</summary>
    private async Task<Uri> FindAddressAsync(CancellationToken cancellation)
    {
        const string Mark = "DevTools listening on ";
        var said = new List<string>();
        while (await _process.StandardError.ReadLineAsync(cancellation) is { } line)
        {
            if (line.StartsWith(Mark, StringComparison.Ordinal))
            {
                _ = _process.StandardError.ReadToEndAsync(CancellationToken.None); // so that it never waits for a reader
                return new Uri(line[Mark.Length..]);
            }

            said.Add(line);
        }

        throw new InvalidOperationException($"Chromium ended before it listened: {string.Join('\n', said)}");
    }

    private async Task ReceiveAsync()
    {
        var message = new MemoryStream();
        byte[] buffer = new byte[1 << 16];
        try
        {
            while (true)
            {
                var part = await _socket.ReceiveAsync(buffer, CancellationToken.None);
                message.Write(buffer, 0, part.Count);
                if (part.EndOfMessage)
                {
                    Handle(JsonNode.Parse(message.GetBuffer().AsSpan(0, (int)message.Length))!);
                    message.SetLength(0);
                }
            }
        }
        catch (Exception exception) when (exception is WebSocketException or ObjectDisposedException or OperationCanceledException)
        {
            foreach (var call in _calls.Values)
            {
                call.TrySetException(new InvalidOperationException("Chromium closed the connection.", exception));
            }
        }
    }

    private void Handle(JsonNode message)
    {
        if (message["id"]?.GetValue<int>() is int id && _calls.TryRemove(id, out var call))
        {
            if (message["error"] is { } error)
            {
                call.TrySetException(new InvalidOperationException($"Chromium refused: {error["message"]}"));
            }
            else
            {
                call.TrySetResult(message["result"]!);
            }
        }
        else if (message["sessionId"]?.GetValue<string>() is { } session && _pages.TryGetValue(session, out var page))
        {
            page.OnEvent(message["method"]!.GetValue<string>(), message["params"]!);
        }
    }
}

/// <summary>One tab.</summary>
internal sealed class Page(Browser browser, string session)
{
    /// <summary>Exceptions, errors in the console, dialogs, requests that the security policy blocked: what a good page has none of.</summary>
    public ConcurrentQueue<string> Complaints { get; } = new();

    public Task<JsonNode> CallAsync(string method, object? parameters = null) => browser.CallAsync(session, method, parameters);

    /// <summary>The value of an expression, a promise awaited.</summary>
    public async Task<T> EvaluateAsync<T>(string expression)
    {
        var answer = await CallAsync("Runtime.evaluate", new { expression, awaitPromise = true, returnByValue = true, userGesture = true });
        Assert.True(answer["exceptionDetails"] is null, $"{expression}: {answer["exceptionDetails"]?.ToJsonString()}");
        return answer["result"]!["value"].Deserialize<T>()!;
    }

    /// <summary>Waits until an expression is true.</summary>
    public async Task WaitForAsync(string expression)
    {
        long start = Stopwatch.GetTimestamp();
        while (!await EvaluateAsync<bool>($"!!({expression})"))
        {
            if (Stopwatch.GetElapsedTime(start) > TimeSpan.FromSeconds(60))
            {
                Assert.Fail($"Not true within a minute: {expression}. The page shows: {await EvaluateAsync<string>("document.body.innerText")}. {string.Join('\n', Complaints)}");
            }

            await Task.Delay(30);
        }
    }

    public Task<string> TextAsync(string selector) => EvaluateAsync<string>($"document.querySelector({JsonSerializer.Serialize(selector)}).innerText");

    /// <summary>Clicks with the mouse in the middle of an element, once it stands still and nothing lies over it: a page that lays itself out moves what was measured.</summary>
    public async Task ClickAsync(string selector)
    {
        double[]? at = await EvaluateAsync<double[]?>(
            $$"""
            (async () => {
                for (let tries = 0, last; tries < 500; tries++) {
                    const element = document.querySelector({{JsonSerializer.Serialize(selector)}});
                    const box = element.getBoundingClientRect();
                    const at = [box.x + box.width / 2, box.y + box.height / 2];
                    if (String(at) === last && box.width > 0 && element.contains(document.elementFromPoint(...at))) return at;
                    last = String(at);
                    await new Promise(next => { requestAnimationFrame(next); setTimeout(next, 50); }); // a tab that is not seen has no frames
                }
                return null;
            })()
            """);
        Assert.True(at is not null, $"'{selector}' does not stand still, is not visible, or something lies over it.");
        foreach (string type in (string[])["mousePressed", "mouseReleased"])
        {
            await CallAsync("Input.dispatchMouseEvent", new { type, x = at[0], y = at[1], button = "left", clickCount = 1 });
        }
    }

    public Task TypeAsync(string text) => CallAsync("Input.insertText", new { text });

    public async Task PressAsync(string key, int code, string? text = null, int modifiers = 0)
    {
        await CallAsync("Input.dispatchKeyEvent", new { type = "keyDown", key, code = key, windowsVirtualKeyCode = code, text = text ?? "", modifiers });
        await CallAsync("Input.dispatchKeyEvent", new { type = "keyUp", key, code = key, windowsVirtualKeyCode = code, modifiers });
    }

    public async Task SaveScreenshotAsync(string path)
    {
        var answer = await CallAsync("Page.captureScreenshot", new { format = "png" });
        await File.WriteAllBytesAsync(path, Convert.FromBase64String(answer["data"]!.GetValue<string>()));
    }

    public void OnEvent(string method, JsonNode parameters)
    {
        bool bad = method switch
        {
            "Runtime.exceptionThrown" or "Page.javascriptDialogOpening" => true,
            "Log.entryAdded" => parameters["entry"]!["level"]!.GetValue<string>() == "error",
            "Runtime.consoleAPICalled" => parameters["type"]!.GetValue<string>() == "error",
            _ => false,
        };
        if (bad)
        {
            Complaints.Enqueue($"{method}: {parameters.ToJsonString()}");
        }
    }
}
