using System.Buffers.Binary;
using System.IO.Compression;
using System.Reflection;

namespace Gemma.Extensions.AI.Cli;

/// <summary>Files embedded in libraries, compressed when the tool is compiled ahead of time: <c>ChangeLibraries.targets</c> has those libraries ask here.</summary>
internal static class PackedResources
{
    /// <summary>As <see cref="Assembly.GetManifestResourceStream(string)"/>, for a resource of four bytes of length and what Brotli made of the rest.</summary>
    /// <exception cref="InvalidDataException">The resource is damaged.</exception>
    public static Stream? Open(Assembly assembly, string name)
    {
        using Stream? resource = assembly.GetManifestResourceStream(name);
        if (resource is null)
        {
            return null;
        }

        byte[] packed = new byte[resource.Length];
        resource.ReadExactly(packed);
        byte[] whole = new byte[BinaryPrimitives.ReadInt32LittleEndian(packed)];
        return BrotliDecoder.TryDecompress(packed.AsSpan(sizeof(int)), whole, out int written) && written == whole.Length
            ? new MemoryStream(whole, writable: false)
            : throw new InvalidDataException($"The file '{name}' in {assembly.GetName().Name} is damaged.");
    }
}
