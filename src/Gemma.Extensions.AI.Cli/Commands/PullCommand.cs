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
        Command command = new("pull", "Download a model into the cache that the hub's other tools use (HF_HUB_CACHE, HF_HOME), and print its path. Gated models need a token in HF_TOKEN. An interrupted download goes on where it was.\n\nExamples:\n  gemma pull google/gemma-2-2b-it\n  gemma pull bartowski/gemma-2-9b-it-GGUF:Q4_K_M")
        {
            reference, connections, offline,
        };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            GemmaHubOptions options = new() { Connections = parsed.GetValue(connections), Refresh = true, Offline = parsed.GetValue(offline) ? true : null };
            string path;
            bool isUnchecked;
            using (FileBars bars = new(parsed.Host()))
            {
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
    private sealed class FileBars(CliInvocation host) : IProgress<GemmaDownloadProgress>, IDisposable
    {
        private readonly Lock _lock = new();
        private ProgressLine? _line;
        private string? _file;

        /// <summary>True if a file came without a checksum, so that its content could not be verified.</summary>
        public bool HasNoHash { get; private set; }

        public void Report(GemmaDownloadProgress value)
        {
            lock (_lock)
            {
                HasNoHash |= value.HasNoHash;
                if (_line is null || _file != value.File)
                {
                    _line?.Keep();
                    (_line, _file) = (new ProgressLine(host, "B"), value.File);
                }

                string all = value.FileTotalBytes == value.TotalBytes ? "" : $"  ({100 * value.CompletedBytes / Math.Max(1, value.TotalBytes)}% of all {ProgressLine.Scaled(value.TotalBytes)}B)";
                _line.Show(value.File + all, value.FileCompletedBytes, value.FileTotalBytes);
            }
        }

        public void Dispose() => _line?.Keep();
    }
}
