using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Cli.Serve;
using Gemma.Extensions.AI.Hub;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma serve</c>: models by the APIs that clients speak.</summary>
internal static class ServeCommand
{
    /// <summary>The last line of the examples, where the tool has clusters.</summary>
#if AHEAD_OF_TIME
    private const string ClusterExample = "";
#else
    private const string ClusterExample = "\n  gemma serve --cluster redis --cluster-id gemma --model gemma    # computes nothing itself";
#endif

    public static Command Create()
    {
        Options options = new();
        Command command = new("serve", """
            Serve models by the APIs of OpenAI, Ollama and Anthropic. They are at /v1/chat/completions, /api/chat and /v1/messages, and at the others' own addresses. Models are loaded when they are first asked for. /health says how the server is, /metrics counts for Prometheus; both need no key. Ctrl+C stops: running answers may finish, a second one ends them.

            Examples:
              gemma serve --model gemma-2-2b-it-Q4_K_M.gguf --web
              gemma serve --model small=gemma-2-2b-it-Q4_K_M.gguf --model large=gemma-2-9b-it-Q4_K_M.gguf --keep-alive 5m --memory 12G
              gemma serve --model gemma-2-2b-it-Q4_K_M.gguf --lora legal=legal-lora    # asked for as gemma-2-2b-it-Q4_K_M@legal
              gemma serve --host 0.0.0.0 --api-key-file keys.txt
            """ + ClusterExample);
        foreach (Option option in options.All)
        {
            command.Add(option);
        }

        command.SetAction(async (parsed, cancellationToken) => await RunAsync(parsed.Host(), options.Read(parsed), cancellationToken));
        return command;
    }

    private static async Task<int> RunAsync(CliInvocation host, ServeSettings settings, CancellationToken cancellationToken)
    {
        foreach (string path in settings.Cluster is null ? settings.Models.Values : [])
        {
            GemmaOptions options = new();
            settings.Apply(options, path);
            if (string.Join(" ", options.Validate()) is { Length: > 0 } problems)
            {
                throw new ArgumentException(problems);
            }
        }

        await using WebApplication app = ServerHost.Build(settings.Host, builder => Configure(builder, host, settings), (app, api) => Map(app, settings));
        string address = await CommandServer.StartAsync(app, cancellationToken);
        host.Output.WriteLine($"Serving {string.Join(", ", settings.Models.Keys)}{(settings.Cluster is { } cluster ? $" of the cluster {cluster.Description}" : "")} at {address}{(settings.HasPage ? ", with a chat page" : "")}");
        if (settings.IsPreloaded)
        {
            foreach (ServedModel model in app.Services.GetRequiredService<ModelCatalog>().Models)
            {
                _ = model.Reference!.LeaseAsync(cancellationToken).AsTask().ContinueWith(static lease => { if (lease.IsCompletedSuccessfully) { lease.Result.Dispose(); } }, TaskScheduler.Default); // the log says why where it fails
            }
        }

        await CommandServer.UntilStoppedAsync(app, host, cancellationToken);
        return GemmaCli.Success;
    }

    private static void Configure(WebApplicationBuilder builder, CliInvocation host, ServeSettings settings)
    {
        CommandServer.AddTo(builder, host);
        builder.Logging.AddFilter("Gemma", LogLevel.Information).AddFilter("Microsoft.Extensions.Hosting", LogLevel.Critical); // the command itself says why it could not start
        builder.Services.AddGemmaServer(server => server.AllowPull = settings.AllowsPull);
        builder.Services.AddOpenTelemetry().WithMetrics(static metrics => metrics
            .AddMeter(GemmaDiagnostics.Name, "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime")
            .AddPrometheusExporter());
        if (settings.Cluster is { } cluster)
        {
            cluster.Configure(builder, settings.Models);
            return;
        }

        foreach ((string name, string path) in settings.Models)
        {
            builder.Services.AddKeyedGemmaChatClient(name, options =>
            {
                settings.Apply(options, path);
                foreach ((string adapter, string at) in settings.Adapters.GetValueOrDefault(name) ?? [])
                {
                    options.Adapters[adapter] = at;
                }
            });
        }

        builder.Services.Replace(ServiceDescriptor.Singleton<ModelCatalog>(provider => new PulledModels(provider, builder.Services, settings.Apply)));
    }

    private static void Map(WebApplication app, ServeSettings settings)
    {
        app.MapPrometheusScrapingEndpoint(); // at /metrics, for everybody as /health is: numbers and names of models, nothing of what was asked
        if (settings.HasPage)
        {
            app.MapGemmaChatPage();
        }
        else
        {
            // Some clients of Ollama ask whether it runs, and look for these words.
            app.MapGet("/", static (HttpContext http) => http.Response.WriteAsync("Gemma is running. To whom it matters: Ollama is running.", http.RequestAborted));
        }
    }

    /// <summary>The options of the command line.</summary>
    private sealed class Options
    {
        private readonly Option<string[]> _model = new("--model", "-m")
        {
            Description = "GGUF file, Hugging Face directory, hf:owner/name:TYPE, or 'nano', with NAME= before it to be asked for by that name; several times for several models. Default: the environment variable GEMMA_MODEL, else nano.",
            HelpName = "[name=]path",
        };

        private readonly Option<string[]> _lora = new("--lora")
        {
            Description = "Adapter (GGUF file or a directory of PEFT) that requests name as MODEL@NAME; several times for several. With several models, MODEL@ before it says whose it is.",
            HelpName = "[model@]name=path",
        };

        private readonly Option<string> _host = new("--host") { Description = "Address to listen at, * for all.", HelpName = "address", DefaultValueFactory = _ => new ServerHostSettings().Host };
        private readonly Option<int> _port = new("--port", "-p") { Description = "Port to listen at; 0 takes one that is free.", HelpName = "n", DefaultValueFactory = _ => new ServerHostSettings().Port };
        private readonly Option<string[]> _key = new("--api-key") { Description = "Key of which clients must have one; several times for several. Others on this machine can see it in the list of processes.", HelpName = "key" };
        private readonly Option<string?> _keyFile = new("--api-key-file") { Description = "File with a key a line.", HelpName = "path" };
        private readonly Option<string[]> _cors = new("--cors") { Description = "Origin of pages that may ask, e.g. https://chat.example.org, or * for any.", HelpName = "origin" };
        private readonly Option<bool> _insecure = new("--insecure") { Description = "Answer other machines without a key." };
        private readonly Option<bool> _web = new("--web") { Description = "Add a chat page at /." };
        private readonly Option<bool> _preload = new("--preload") { Description = "Load all models at once; /health is 503 until they are loaded." };
        private readonly Option<string?> _keepAlive = new("--keep-alive") { Description = "Unload a model that nobody used for this time. Default: it stays loaded.", HelpName = "5m" };
        private readonly Option<string?> _memory = new("--memory") { Description = "What all models may take together; those not used for the longest time are unloaded to make room. Default: no limit.", HelpName = "12G" };
        private readonly Option<int> _parallel = new("--parallel") { Description = "Most answers of a model at the same time; more wait.", HelpName = "n", DefaultValueFactory = _ => new GemmaOptions().MaxConcurrentRequests };
        private readonly Option<bool> _pull = new("--allow-pull") { Description = "Let clients download models of the hub into the cache (Ollama's /api/pull)." };
#if !AHEAD_OF_TIME
        private readonly Option<string?> _cluster = new("--cluster")
        {
            Description = "Serve models of a cluster's nodes instead, --model with their names there: localhost:PORT with the gateway of the first node, or redis or postgresql with the connection string of the store that has the membership in the environment variable ConnectionStrings__redis or ConnectionStrings__postgresql, or behind a colon, where others on this machine can see it in the list of processes.",
            HelpName = "address",
        };

        private readonly Option<string?> _clusterId = new("--cluster-id") { Description = "Id of the cluster and its service, or CLUSTER/SERVICE. Default: Orleans' own.", HelpName = "id" };
        private readonly Option<string?> _clusterWait = new("--cluster-wait") { Description = "Time to wait for the first node at the start. Default: 15s.", HelpName = "15s" };
        private readonly Option<string?> _clusterCertificate = new("--cluster-certificate") { Description = "PEM file with the certificate and private key for an encrypted connection to nodes that use TLS: they must have the same, or one that this machine trusts for the same name.", HelpName = "path" };
#endif
        private readonly ComputeArguments _compute = new();

        /// <summary>Options of models that this process loads.</summary>
        private Option[] Loading => [_lora, _preload, _keepAlive, _memory, _parallel, _pull, .. _compute.All];

        public IEnumerable<Option> All =>
        [
            _model, _host, _port, _key, _keyFile, _cors, _insecure, _web,
#if !AHEAD_OF_TIME
            _cluster, _clusterId, _clusterWait, _clusterCertificate,
#endif
            .. Loading,
        ];

        public ServeSettings Read(ParseResult parsed)
        {
            ServedCluster? cluster = ReadCluster(parsed);
            string[] given = parsed.GetValue(_model) ?? [];
            Dictionary<string, string> models = cluster is not null ? ReadClusterModels(given) : ReadModels(given.Length > 0 ? given : [CommonOptions.ModelOrDefault(null)]);
            return new()
            {
                Cluster = cluster,
                Models = models,
                Adapters = ReadAdapters(parsed.GetValue(_lora) ?? [], models),
                Compute = options => _compute.Apply(parsed, options),
                Parallel = parsed.GetValue(_parallel),
                KeepAlive = ReadKeepAlive(parsed.GetValue(_keepAlive)),
                Memory = ReadBytes(parsed.GetValue(_memory)),
                HasPage = parsed.GetValue(_web),
                IsPreloaded = parsed.GetValue(_preload),
                AllowsPull = parsed.GetValue(_pull),
                Host = new()
                {
                    Host = parsed.GetValue(_host)!,
                    Port = parsed.GetValue(_port),
                    ApiKeys = [.. parsed.GetValue(_key) ?? [], .. ReadKeys(parsed.GetValue(_keyFile))],
                    CorsOrigins = parsed.GetValue(_cors) ?? [],
                    IsInsecure = parsed.GetValue(_insecure),
                },
            };
        }

        private ServedCluster? ReadCluster(ParseResult parsed)
        {
#if AHEAD_OF_TIME
            return null;
#else
            if (parsed.GetValue(_cluster) is not { } address)
            {
                return Array.Find([_clusterId, _clusterWait, _clusterCertificate], option => parsed.GetValue(option) is not null) is not { } vain ? null
                    : throw new ArgumentException($"{vain.Name} is '{parsed.GetValue(vain)}', but there is no --cluster. Say where the cluster is.");
            }

            return Array.Find(Loading, option => parsed.GetResult(option) is { Implicit: false }) is { } other
                ? throw new ArgumentException($"{other.Name} is for models that this process loads, but those of --cluster are loaded by its nodes. Leave it out here, and set it there.")
                : ClusterGateway.Parse(address, parsed.GetValue(_clusterId), parsed.GetValue(_clusterWait), parsed.GetValue(_clusterCertificate));
#endif
        }

        private static Dictionary<string, string> ReadClusterModels(string[] given)
        {
            Dictionary<string, string> models = new(StringComparer.OrdinalIgnoreCase);
            foreach (string text in given)
            {
                string[] parts = text.Split('=');
                if (parts.Length > 2 || parts.Any(string.IsNullOrWhiteSpace) || !models.TryAdd(parts[0], parts[^1]))
                {
                    throw new ArgumentException($"--model is '{text}', expected with --cluster the name of a model there, or NAME=MODEL to serve it under another name, each name once.");
                }
            }

            return models.Count > 0 ? models : throw new ArgumentException("--cluster needs --model with the name of a model that its nodes serve, one for each.");
        }

        private static Dictionary<string, string> ReadModels(string[] given)
        {
            Dictionary<string, string> models = new(StringComparer.OrdinalIgnoreCase);
            foreach (string text in given)
            {
                // A path may hold the sign, too: it is a name where nothing is at the whole.
                int sign = Path.Exists(text) ? -1 : text.IndexOf('=', StringComparison.Ordinal);
                string path = sign < 0 ? text : text[(sign + 1)..];
                string full = ModelAliases.Find(path, out string? problem) ?? throw new ArgumentException(problem);
                string name = sign > 0 ? text[..sign] : ModelAliases.ModelId(full);
                if (!models.TryAdd(name, path))
                {
                    throw new ArgumentException($"Two models are named '{name}'. Give them names of their own: --model NAME=PATH.");
                }
            }

            return models;
        }

        private static Dictionary<string, Dictionary<string, string>> ReadAdapters(string[] given, Dictionary<string, string> models)
        {
            Dictionary<string, Dictionary<string, string>> adapters = new(models.Comparer);
            foreach (string text in given)
            {
                int sign = text.IndexOf('=', StringComparison.Ordinal);
                int at = sign < 0 ? -1 : text.LastIndexOf('@', sign);
                string name = sign < 0 ? "" : text[(at + 1)..sign];
                if (name.Length == 0 || sign + 1 == text.Length)
                {
                    throw new ArgumentException($"--lora is '{text}', expected NAME=PATH, or MODEL@NAME=PATH for one of several models.");
                }

                string model = at >= 0 ? text[..at] : models.Count == 1 ? models.Keys.Single()
                    : throw new ArgumentException($"--lora is '{text}', which does not say for which of the models it is ({string.Join(", ", models.Keys)}). Give it as MODEL@{text}.");
                if (!models.ContainsKey(model))
                {
                    throw new ArgumentException($"--lora is '{text}', but no model is named '{model}'. Models: {string.Join(", ", models.Keys)}.");
                }

                if (!adapters.TryGetValue(model, out Dictionary<string, string>? own))
                {
                    adapters[model] = own = new(StringComparer.OrdinalIgnoreCase);
                }

                if (!own.TryAdd(name, text[(sign + 1)..]))
                {
                    throw new ArgumentException($"Two adapters of '{model}' are named '{name}'. Give them names of their own.");
                }
            }

            return adapters;
        }

        private static TimeSpan? ReadKeepAlive(string? text) => text is null ? null
            : !KeepAlive.TryParse(text, out TimeSpan time) ? throw new ArgumentException($"--keep-alive is '{text}', expected a time such as 5m, 1h30m or 90 (seconds), or -1 for ever.")
            : time < TimeSpan.Zero ? null : time;

        private static long? ReadBytes(string? text)
        {
            if (text is null)
            {
                return null;
            }

            string number = text.TrimEnd('b', 'B', 'i', 'I');
            double factor = number is [.., var unit] ? char.ToUpperInvariant(unit) switch { 'K' => 1e3, 'M' => 1e6, 'G' => 1e9, 'T' => 1e12, _ => 1 } : 1;
            return double.TryParse(factor > 1 ? number[..^1] : number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value) && value * factor is >= 1 and < long.MaxValue
                ? (long)(value * factor) : throw new ArgumentException($"--memory is '{text}', expected bytes such as 12G or 800M.");
        }

        private static IEnumerable<string> ReadKeys(string? path)
        {
            if (path is null)
            {
                return [];
            }

            string[] keys = [.. File.ReadLines(path).Select(static line => line.Trim()).Where(static line => line.Length > 0 && line[0] != '#')];
            return keys.Length > 0 ? keys : throw new ArgumentException($"The file '{path}' holds no key, expected one a line.");
        }
    }
}
