using System.Security.Cryptography;
using System.Text;

namespace Gemma.Extensions.AI.Cli.Documents;

/// <summary>The directory of this user for what can be made again: XDG_CACHE_HOME, else where the system keeps such files.</summary>
internal static class UserCache
{
    private static string Root
    {
        get
        {
            string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
            string directory = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } set ? set
                : OperatingSystem.IsWindows() ? Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData)
                : OperatingSystem.IsMacOS() ? Path.Combine(home, "Library", "Caches")
                : Path.Combine(home, ".cache");
            return Path.Combine(directory, "gemma");
        }
    }

    /// <summary>The file of passages of a folder or document: never beside it.</summary>
    public static string IndexOf(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        string name = new([.. Path.GetFileName(full).Select(c => char.IsAsciiLetterOrDigit(c) ? c : '-').Take(40)]);
        return Path.Combine(Root, "documents", $"{name}-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(full)).AsSpan(0, 6))}.db");
    }
}
