using System.Reflection;
using System.Security.Cryptography;

namespace Gemma.Extensions.AI.Nano;

/// <summary>The model file that this package carries. The path <c>nano</c> means it wherever a model path is expected.</summary>
public static class NanoModel
{
    private const string FileName = "gemma2-nano.gguf";

    private const int BufferBytes = 1 << 16;

    private static readonly Lazy<string> s_path = new(Extract);

    /// <summary>
    /// Full path of gemma2-nano.gguf. The first use writes the file to the user's local application data (or, where that cannot be written, to the
    /// temporary directory), in a directory named by its SHA-256; later uses compare the file and write it again if it differs.
    /// </summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static string Path => s_path.Value;

    private static string Extract()
    {
        // Neither is held as a whole: the pages of two arrays took longer than reading.
        using Stream model = Assembly.GetExecutingAssembly().GetManifestResourceStream(FileName)!;
        byte[] hash = SHA256.HashData(model);
        List<Exception> problems = [];
        foreach (string root in (string[])[Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData, Environment.SpecialFolderOption.DoNotVerify), System.IO.Path.GetTempPath()])
        {
            if (root.Length == 0)
            {
                continue;
            }

            string path = System.IO.Path.Combine(root, "Gemma.Extensions.AI", "nano", Convert.ToHexStringLower(hash)[..16], FileName);
            try
            {
                WriteUnlessThere(path, model);
                return path;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                problems.Add(e);
            }
        }

        throw new IOException(
            $"The model that ships could not be written to a file: {string.Join(" ", problems.Select(problem => problem.Message))} Where nothing can be written, run once where it can, and set XDG_DATA_HOME (on Windows LOCALAPPDATA) to the folder that was written then.",
            problems.LastOrDefault());
    }

    private static void WriteUnlessThere(string path, Stream model)
    {
        if (IsThere(path, model))
        {
            return;
        }

        // Under a name of its own first: another process may be doing the same.
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        string temporary = $"{path}.{Guid.NewGuid():N}";
        try
        {
            using (FileStream file = File.Create(temporary))
            {
                model.Position = 0;
                model.CopyTo(file);
            }

            File.Move(temporary, path, overwrite: true);
        }
        catch
        {
            File.Delete(temporary);
            throw;
        }
    }

    private static bool IsThere(string path, Stream model)
    {
        if (!File.Exists(path))
        {
            return false;
        }

        using FileStream file = new(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0);
        if (file.Length != model.Length)
        {
            return false;
        }

        byte[] expected = new byte[BufferBytes], found = new byte[BufferBytes];
        model.Position = 0;
        for (int length; (length = model.ReadAtLeast(expected, BufferBytes, throwOnEndOfStream: false)) > 0;)
        {
            if (file.ReadAtLeast(found, length, throwOnEndOfStream: false) < length || !expected.AsSpan(0, length).SequenceEqual(found.AsSpan(0, length)))
            {
                return false;
            }
        }

        return true;
    }
}
