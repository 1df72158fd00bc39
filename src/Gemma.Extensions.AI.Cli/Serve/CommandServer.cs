using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>A web application that lives as long as the command that runs it, and logs to its error stream.</summary>
internal static class CommandServer
{
    /// <summary>Sets life and log: signals are the command's, warnings and worse a line each.</summary>
    public static void AddTo(WebApplicationBuilder builder, CliInvocation host)
    {
        builder.Services.AddSingleton<IHostLifetime, CommandLifetime>();
        builder.Logging.AddProvider(new LineLoggerProvider(host.Error)).SetMinimumLevel(LogLevel.Warning);
    }

    /// <summary>Starts to listen.</summary>
    /// <returns>The address.</returns>
    public static async Task<string> StartAsync(WebApplication app, CancellationToken cancellationToken)
    {
        await app.StartAsync(cancellationToken);
        return app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First();
    }

    /// <summary>Waits until the command is stopped, and then for running answers within the time that the application's settings allow.</summary>
    public static async Task UntilStoppedAsync(WebApplication app, CliInvocation host, CancellationToken cancellationToken)
    {
        try
        {
            await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            host.Error.WriteLine("Stopping: running answers may finish.");
        }

        await app.StopAsync(CancellationToken.None);
    }
}
