using System.Security.Cryptography;
using System.Text;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>SHA-256 of a model: of its file, or of what <c>sha256sum</c> prints for the files of its directory that make it, by name.</summary>
internal static class FileHash
{
    private static readonly string[] s_parts = [".safetensors", ".json", ".model", ".jinja"];

    public static string Of(string path)
    {
        if (File.Exists(path))
        {
            return OfFile(path);
        }

        StringBuilder lines = new();
        foreach (string file in Directory.EnumerateFiles(path).Where(file => s_parts.Contains(Path.GetExtension(file))).OrderBy(Path.GetFileName, StringComparer.Ordinal))
        {
            lines.Append(OfFile(file)).Append("  ").Append(Path.GetFileName(file)).Append('\n');
        }

        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(lines.ToString())));
    }

    private static string OfFile(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 20, FileOptions.SequentialScan);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
