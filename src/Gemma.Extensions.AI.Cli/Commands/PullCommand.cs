using System.CommandLine;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma pull</c>: download a model.</summary>
internal static class PullCommand
{
    public static Command Create()
    {
        Argument<string> reference = new("model") { Description = "owner/name (safetensors, or the only GGUF model), owner/name:TYPE (one GGUF model), either with @revision, or the URL of a GGUF file." };
        Option<int> connections = new("--connections") { Description = "Ranges that are downloaded at the same time.", HelpName = "n", DefaultValueFactory = _ => new GemmaHubOptions().Connections };
        Option<bool> offline = new("--offline") { Description = "Do not use the network; only say where the model is, if it is there." };
        Command command = new("pull", "Download a model into the cache, and print its path. The cache is that of the hub's other tools (HF_HUB_CACHE, HF_HOME). Gated models need a token in HF_TOKEN. An interrupted download goes on where it was.\n\nExamples:\n  gemma pull google/gemma-2-2b-it\n  gemma pull bartowski/gemma-2-9b-it-GGUF:Q4_K_M")
        {
            reference, connections, offline,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            string path;
            bool isUnchecked;
            using (FileBars bars = new(parsed.Host()))
            {
                GemmaHubOptions options = new() { Connections = parsed.GetValue(connections), Refresh = true, Offline = parsed.GetValue(offline) ? true : null };
                path = await GemmaModelHub.EnsureAsync(parsed.GetRequiredValue(reference), options, bars, cancellationToken);
                isUnchecked = bars.HasNoHash;
            }

            if (isUnchecked)
            {
                parsed.Host().Error.WriteLine("The server names no hash of this file: its size was checked, its content could not be.");
            }

            parsed.Host().Output.WriteLine(path);
        });
        return command;
    }

    /// <summary>A bar a file; those of finished files stay.</summary>
    private sealed class FileBars : IProgress<GemmaDownloadProgress>, IProgress<GemmaHubRetry>, IDisposable
    {
        private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(3);
        private readonly CliInvocation _host;
        private readonly Lock _lock = new();
        private readonly Timer _silence;
        private bool _hasHeard;
        private ProgressLine? _line;
        private string? _file;

        public FileBars(CliInvocation host)
        {
            _host = host;
            _silence = new Timer(_ => TellSilence(), null, s_patience, Timeout.InfiniteTimeSpan);
        }

        /// <summary>True if a file came without a checksum, so that its content could not be verified.</summary>
        public bool HasNoHash { get; private set; }

        public void Report(GemmaDownloadProgress value)
        {
            lock (_lock)
            {
                _hasHeard = true;
                HasNoHash |= value.HasNoHash;
                if (_line is null || _file != value.File)
                {
                    _line?.Keep();
                    (_line, _file) = (new ProgressLine(_host, "B"), value.File);
                }

                string all = value.FileTotalBytes == value.TotalBytes ? "" : $"  ({100 * value.CompletedBytes / Math.Max(1, value.TotalBytes)}% of all {ProgressLine.Scaled(value.TotalBytes)}B)";
                _line.Show(value.File + all, value.FileCompletedBytes, value.FileTotalBytes);
            }
        }

        /// <summary>Tells of an attempt that failed; people and logs both want to know why nothing moves.</summary>
        public void Report(GemmaHubRetry value)
        {
            lock (_lock)
            {
                _hasHeard = true;
                _line?.Keep();
                _host.Error.WriteLine($"gemma: {value.Reason.ReplaceLineEndings(" ").TrimEnd('.')}. Trying again in {value.Delay.TotalSeconds:0.#} s ({value.Attempt} of {value.Attempts}).");
            }
        }

        public void Dispose()
        {
            _silence.Dispose();
            _line?.Keep();
        }

        /// <summary>A network that swallows what is sent gives no error for a long time.</summary>
        private void TellSilence()
        {
            lock (_lock)
            {
                if (!_hasHeard)
                {
                    _host.Error.WriteLine("gemma: the hub has not answered yet. Is there a network? Ctrl+C stops; what was downloaded is kept.");
                }
            }
        }
    }
}
