using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// The keys and values of one prompt on disk. Little endian: a header of <see cref="HeaderBytes"/> bytes (magic, fingerprint of the model, shape of
/// the blocks, counts), the token ids (with the sign bit set where a token was generated and the backend makes a difference), the blocks of the global layers, the blocks of the local layers that the next token sees, and the SHA-256 of it all.
/// </summary>
internal static class PromptCacheFile
{
    private const int HeaderBytes = 96;
    private const int Generated = int.MinValue;
    private static ReadOnlySpan<byte> Magic => "GEMMAKV1"u8;

    /// <summary>Writes the keys and values that <paramref name="table"/> holds for <paramref name="tokens"/>, all of them computed. A file of this name is always complete.</summary>
    public static void Write(string path, ReadOnlySpan<byte> fingerprint, KvPool pool, int window, BlockTable table, int[] tokens)
    {
        byte[] header = new byte[HeaderBytes];
        FillHeader(header, fingerprint, pool.Layout, window, tokens.Length, table.FirstLocal);
        WholeFile.WriteShared(path, file =>
        {
            using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            byte[] block = new byte[pool.Layout.BlockBytes];
            Append(header);
            Append(MemoryMarshal.AsBytes(WithKinds(tokens, table.Kinds).AsSpan()));
            for (int i = 0; i < table.Held; i++)
            {
                AppendBlock(table.Global[i]);
            }

            for (int i = table.FirstLocal; i < table.Held; i++)
            {
                AppendBlock(table.Local[i]);
            }

            file.Write(hash.GetHashAndReset());

            void AppendBlock(int number)
            {
                pool.ReadBlock(number, block);
                Append(block);
            }

            void Append(ReadOnlySpan<byte> bytes)
            {
                file.Write(bytes);
                hash.AppendData(bytes);
            }
        });
    }

    /// <summary>Clears the marks of generated tokens, and notes them in <paramref name="kinds"/>.</summary>
    public static void TakeKinds(int[] tokens, TokenKinds kinds)
    {
        bool[] generated = Array.ConvertAll(tokens, token => (token & Generated) != 0);
        kinds.Adopt(0, generated);
        for (int i = 0; i < tokens.Length; i++)
        {
            tokens[i] &= ~Generated;
        }
    }

    private static int[] WithKinds(int[] tokens, TokenKinds kinds)
    {
        ReadOnlySpan<bool> generated = kinds.Slice(0, tokens.Length);
        int[] marked = [.. tokens];
        for (int i = 0; i < generated.Length; i++)
        {
            marked[i] |= generated[i] ? Generated : 0;
        }

        return marked;
    }

    /// <summary>Checks a file against the model and its own checksum. Returns the tokens with their marks; the stream stands at the first block.</summary>
    /// <exception cref="GemmaModelFormatException">The file is damaged, of another version, of another model, or for key/value memory of another shape.</exception>
    public static int[] Open(FileStream file, string path, ReadOnlySpan<byte> fingerprint, KvLayout layout, int window, int contextLength, out int firstLocalBlock)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        if (file.Length < HeaderBytes + SHA256.HashSizeInBytes)
        {
            throw Bad($"it has {file.Length:N0} bytes, which is less than a header");
        }

        file.ReadExactly(header);
        if (!header.StartsWith(Magic))
        {
            throw Bad("it does not begin with GEMMAKV1, so it is no prompt cache or one of another version");
        }

        int count = BinaryPrimitives.ReadInt32LittleEndian(header[64..]);
        firstLocalBlock = BinaryPrimitives.ReadInt32LittleEndian(header[68..]);
        int blocks = (int)(((long)count + layout.BlockTokens - 1) / layout.BlockTokens);
        Span<byte> expected = stackalloc byte[HeaderBytes];
        FillHeader(expected, fingerprint, layout, window, count, firstLocalBlock);
        if (!header[8..40].SequenceEqual(expected[8..40]))
        {
            throw Bad("it was saved with another model");
        }

        if (!header.SequenceEqual(expected))
        {
            throw Bad("it was saved with another type of key/value memory");
        }

        if (count < 1 || count > contextLength || firstLocalBlock < 0 || firstLocalBlock > blocks)
        {
            throw Bad($"it claims {count:N0} tokens, but the context holds {contextLength:N0}");
        }

        long length = HeaderBytes + 4L * count + (2L * blocks - firstLocalBlock) * layout.BlockBytes + SHA256.HashSizeInBytes;
        if (file.Length != length)
        {
            throw Bad($"it has {file.Length:N0} bytes, expected {length:N0}");
        }

        if (!ChecksumMatches(file))
        {
            throw Bad("its checksum is wrong");
        }

        int[] tokens = new int[count];
        file.Position = HeaderBytes;
        file.ReadExactly(MemoryMarshal.AsBytes(tokens.AsSpan()));
        return tokens;

        GemmaModelFormatException Bad(string what) => new($"'{path}' cannot be used as a prompt cache: {what}. Delete it and save it again.");
    }

    private static void FillHeader(Span<byte> header, ReadOnlySpan<byte> fingerprint, KvLayout layout, int window, int count, int firstLocalBlock)
    {
        header.Clear();
        Magic.CopyTo(header);
        fingerprint.CopyTo(header[8..40]);
        ReadOnlySpan<int> numbers = [layout.Layers, layout.KvHeads, layout.HeadDim, layout.BlockTokens, (int)layout.Type, window, count, firstLocalBlock];
        for (int i = 0; i < numbers.Length; i++)
        {
            BinaryPrimitives.WriteInt32LittleEndian(header[(40 + 4 * i)..], numbers[i]);
        }
    }

    private static bool ChecksumMatches(FileStream file)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        file.Position = 0;
        for (long left = file.Length - SHA256.HashSizeInBytes; left > 0;)
        {
            int read = file.Read(buffer, 0, (int)Math.Min(buffer.Length, left));
            hash.AppendData(buffer, 0, read);
            left -= read;
        }

        Span<byte> stored = stackalloc byte[SHA256.HashSizeInBytes];
        file.ReadExactly(stored);
        return stored.SequenceEqual(hash.GetHashAndReset());
    }
}
