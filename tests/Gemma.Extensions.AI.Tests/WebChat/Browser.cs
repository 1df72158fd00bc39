using System.Collections.Concurrent;
using System.ComponentModel;
using System.Diagnostics;
using Microsoft.Playwright;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>A headless Chromium of this machine, driven by Playwright: one for all tests of a class.</summary>
public sealed class BrowserFixture : IAsyncLifetime
{
    private static readonly string[] s_programs = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

    private IPlaywright? _playwright;
    private IBrowser? _browser;
    private IBrowserContext? _context;
    private string? _missing;

    public async ValueTask InitializeAsync()
    {
        string? program = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .SelectMany(directory => s_programs.Select(name => Path.Combine(directory, name))).FirstOrDefault(File.Exists);
        if (program is null)
        {
            _missing = $"No Chromium is installed: looked for {string.Join(", ", s_programs)} in PATH.";
            return;
        }

        try
        {
            _playwright = await Playwright.CreateAsync();
        }
        catch (Exception e) when (e is PlaywrightException or Win32Exception or IOException)
        {
            _missing = $"Playwright's driver, the node of its package, does not start here: {e.Message}";
            return;
        }

        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = program, Args = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] });
        _context = await _browser.NewContextAsync(new() { ViewportSize = new() { Width = 1100, Height = 850 } });
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.CloseAsync();
        }

        _playwright?.Dispose();
    }

    /// <summary>Opens a tab and waits until it is loaded.</summary>
    /// <param name="address">The page.</param>
    /// <param name="device">What the tab pretends to run on; null for the desktop window that all other tabs share.</param>
    internal async Task<Tab> OpenAsync(Uri address, BrowserNewContextOptions? device = null)
    {
        Assert.SkipWhen(_missing is not null, _missing ?? "");
        IPage page = await (device is null ? _context! : await _browser!.NewContextAsync(device)).NewPageAsync();
        Tab tab = new(page);
        await page.GotoAsync(address.ToString());
        return tab;
    }
}

/// <summary>One tab.</summary>
internal sealed class Tab
{
    public Tab(IPage page)
    {
        Page = page;
        page.PageError += (_, error) => Complaints.Enqueue(error);
        page.Console += (_, message) =>
        {
            if (message.Type == "error")
            {
                Complaints.Enqueue(message.Text);
            }
        };
        page.Dialog += (_, dialog) =>
        {
            Complaints.Enqueue($"a dialog: {dialog.Message}");
            _ = dialog.DismissAsync();
        };
    }

    public IPage Page { get; }

    /// <summary>Exceptions, errors in the console (among them what the security policy blocked), dialogs: a good page has none.</summary>
    public ConcurrentQueue<string> Complaints { get; } = new();

    /// <summary>The value of an expression, a promise awaited.</summary>
    public Task<T> EvaluateAsync<T>(string expression) => Page.EvaluateAsync<T>(expression);

    /// <summary>Waits until an expression is true. Playwright's own wait evaluates in the page later, which the page's security policy forbids.</summary>
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

    public Task<string> TextAsync(string selector) => Page.InnerTextAsync(selector);

    /// <summary>Clicks with the mouse, once the element is visible, stands still, is enabled and not covered.</summary>
    public Task ClickAsync(string selector) => Page.ClickAsync(selector);

    /// <summary>Writes where the focus is, as pasting does.</summary>
    public Task TypeAsync(string text) => Page.Keyboard.InsertTextAsync(text);

    /// <summary>A key, also with others held: "Shift+Enter".</summary>
    public Task PressAsync(string key) => Page.Keyboard.PressAsync(key);
}
