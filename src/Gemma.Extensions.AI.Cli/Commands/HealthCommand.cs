using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>Asks a server how it is, for places without another program that could: images without a shell, units of systemd.</summary>
internal static class HealthCommand
{
    public static Command Create()
    {
        Option<string> url = new("--url") { Description = "Address of the server.", HelpName = "url", DefaultValueFactory = _ => "http://127.0.0.1:8080" };
        Command command = new("health", "Ask a running 'gemma serve' for /health. 0: it is well; 1: it is not, or does not answer.\n\nExamples:\n  gemma health\n  gemma health --url http://127.0.0.1:9000") { url };
        command.SetAction(async (parsed, cancellationToken) => await RunAsync(parsed.Host(), parsed.GetValue(url)!, cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(CliInvocation host, string url, CancellationToken cancellationToken)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out Uri? address) || address.Scheme is not ("http" or "https"))
        {
            throw new ArgumentException($"--url is '{url}', expected an address such as http://127.0.0.1:8080.");
        }

        using HttpClient http = new() { Timeout = TimeSpan.FromSeconds(3) };
        try
        {
            using HttpResponseMessage response = await http.GetAsync(new Uri(address, "/health"), cancellationToken);
            (response.IsSuccessStatusCode ? host.Output : host.Error).WriteLine(await response.Content.ReadAsStringAsync(cancellationToken));
            return response.IsSuccessStatusCode ? GemmaCli.Success : GemmaCli.Failure;
        }
        catch (Exception e) when (e is HttpRequestException or TaskCanceledException && !cancellationToken.IsCancellationRequested)
        {
            throw new IOException($"The server at {address} does not answer: {e.Message}", e);
        }
    }
}
