using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// How the model spelt its latest replies. A model need not split a text into tokens as the tokenizer does; where it did not, the next turn of the
/// conversation is given the model's own tokens, so that their keys and values are found in the prefix cache. A reply is known by its text together
/// with every token of the prompt that it answered: in another conversation the same words are spelt by the tokenizer. Only hashes of the texts
/// are kept. Safe for concurrent use.
/// </summary>
/// <param name="capacity">Tokens that are kept, a reply costing <see cref="Overhead"/> more; the replies used least recently are forgotten first.</param>
internal sealed class ReplyMemory(int capacity = 1 << 18)
{
    /// <summary>What the bookkeeping of a reply takes, in tokens.</summary>
    public const int Overhead = 64;

    private readonly Dictionary<Key, LinkedListNode<(Key Key, int[] Tokens)>> _byKey = [];
    private readonly LinkedList<(Key Key, int[] Tokens)> _byUse = new();
    private readonly Lock _lock = new();
    private long _size;

    /// <summary>Keeps the tokens of the reply to a prompt under the text that <see cref="ChatTemplate"/> renders it as.</summary>
    public void Remember(ReadOnlySpan<int> prompt, string text, int[] tokens)
    {
        if (tokens.Length + Overhead > capacity)
        {
            return;
        }

        var key = KeyOf(prompt, text);
        lock (_lock)
        {
            if (_byKey.Remove(key, out var known))
            {
                Forget(known);
            }

            _byKey[key] = _byUse.AddLast((key, tokens));
            _size += tokens.Length + Overhead;
            while (_size > capacity)
            {
                var oldest = _byUse.First!;
                _byKey.Remove(oldest.Value.Key);
                Forget(oldest);
            }
        }
    }

    /// <summary>The tokens of the reply to a prompt, or null where the model spelt it as the tokenizer does, or long ago.</summary>
    public int[]? Find(ReadOnlySpan<int> prompt, string text)
    {
        lock (_lock)
        {
            if (_byKey.Count == 0)
            {
                return null;
            }
        }

        var key = KeyOf(prompt, text);
        lock (_lock)
        {
            if (!_byKey.TryGetValue(key, out var found))
            {
                return null;
            }

            _byUse.Remove(found);
            _byUse.AddLast(found);
            return found.Value.Tokens;
        }
    }

    private void Forget(LinkedListNode<(Key Key, int[] Tokens)> reply)
    {
        _byUse.Remove(reply);
        _size -= reply.Value.Tokens.Length + Overhead;
    }

    // A cryptographic hash, since users choose what goes in and one conversation must not find the reply of another.
    private static Key KeyOf(ReadOnlySpan<int> prompt, string text)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(MemoryMarshal.AsBytes([prompt.Length]));
        hash.AppendData(MemoryMarshal.AsBytes(prompt));
        hash.AppendData(MemoryMarshal.AsBytes(text.AsSpan()));
        Span<byte> bytes = stackalloc byte[SHA256.HashSizeInBytes];
        hash.GetHashAndReset(bytes);
        return MemoryMarshal.Read<Key>(bytes);
    }

    private readonly record struct Key(UInt128 High, UInt128 Low);
}
