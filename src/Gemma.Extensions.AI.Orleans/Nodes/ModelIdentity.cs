using System.Reflection;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>
/// The properties that decide which text a model gives: the bytes of its files, the types of its memory, the kernels, the version of this library. Answers move only between nodes where
/// all of it is the same.
/// </summary>
internal static class ModelIdentity
{
    public static async Task<string> OfAsync(GemmaModel model, GemmaOptions options, CancellationToken cancellationToken)
    {
        string version = typeof(GemmaModel).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "?";
        return $"{await HashAsync(model.Path, cancellationToken).ConfigureAwait(false)} {model.KernelName} kv {options.KvCacheType} context {model.ContextLength} format {options.ChatFormat?.ToString() ?? "own"} version {version}";
    }

    /// <summary>SHA-256 of a file, or of the names and contents of the parts of a split one, or of a directory's files, those in subdirectories left out.</summary>
    public static async Task<string> HashAsync(string path, CancellationToken cancellationToken)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        string[] files = Directory.Exists(path) ? [.. Directory.GetFiles(path).Order(StringComparer.Ordinal)] : GgufFile.FilesOf(path);
        foreach (string file in files)
        {
            if (files.Length > 1)
            {
                hash.AppendData(System.Text.Encoding.UTF8.GetBytes(Path.GetFileName(file) + "\n"));
            }

            FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.Asynchronous | FileOptions.SequentialScan);
            await using (stream.ConfigureAwait(false))
            {
                for (int read; (read = await stream.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0;)
                {
                    hash.AppendData(buffer, 0, read);
                }
            }
        }

        return "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
