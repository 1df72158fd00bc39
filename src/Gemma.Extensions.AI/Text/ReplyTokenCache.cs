using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// The tokens of the model's latest replies. A model need not split a text as the tokenizer does; if it did not, the next turn of the
/// conversation is given the model's own tokens, so that their keys and values are found in the prefix cache. A reply is known by its text together
/// with every token of the prompt that it answered: in another conversation the same words are spelt by the tokenizer. Only hashes of the texts
/// are kept. Safe for concurrent use.
/// </summary>
/// <param name="capacity">Tokens that are kept, a reply costing <see cref="Overhead"/> more; the replies used least recently are forgotten first.</param>
internal sealed class ReplyTokenCache(int capacity = 1 << 18)
{
    /// <summary>The overhead of a cached reply, in tokens.</summary>
    public const int Overhead = 64;

    private readonly Dictionary<Key, LinkedListNode<(Key Key, int[] Tokens)>> _byKey = [];
    private readonly LinkedList<(Key Key, int[] Tokens)> _byUse = new();
    private readonly Lock _lock = new();
    private long _size;
    private long _hashedTokens;

    /// <summary>Tokens hashed so far to find replies.</summary>
    public long HashedTokens => Interlocked.Read(ref _hashedTokens);

    /// <summary>Keeps the tokens of the reply to a prompt under the text that <see cref="ChatTemplate"/> renders it as.</summary>
    /// <param name="prompt">The prompt that was answered.</param>
    /// <param name="settled">Its tokens up to and with the last marker.</param>
    /// <param name="text">The reply.</param>
    /// <param name="tokens">As the model generated it.</param>
    public void Remember(ReadOnlySpan<int> prompt, int settled, string text, int[] tokens)
    {
        if (tokens.Length + Overhead > capacity)
        {
            return;
        }

        using Reader reader = new(this);
        Key key = reader.KeyOf(prompt, settled, text);
        lock (_lock)
        {
            if (_byKey.Remove(key, out LinkedListNode<(Key Key, int[] Tokens)>? known))
            {
                Forget(known);
            }

            _byKey[key] = _byUse.AddLast((key, tokens));
            _size += tokens.Length + Overhead;
            while (_size > capacity)
            {
                LinkedListNode<(Key Key, int[] Tokens)> oldest = _byUse.First!;
                _byKey.Remove(oldest.Value.Key);
                Forget(oldest);
            }
        }
    }

    /// <summary>Begins to look for the replies of one conversation, from its first to its last.</summary>
    public Reader Read() => new(this);

    private void Forget(LinkedListNode<(Key Key, int[] Tokens)> reply)
    {
        _byUse.Remove(reply);
        _size -= reply.Value.Tokens.Length + Overhead;
    }

    /// <summary>Looks for the replies of a conversation, hashing each of its tokens once however many replies there are.</summary>
    internal sealed class Reader(ReplyTokenCache memory) : IDisposable
    {
        // A cryptographic hash, since users choose what goes in and one conversation must not find the reply of another.
        private readonly IncrementalHash _settled = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private readonly IncrementalHash _whole = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        private int _done;

        public bool HasReplies
        {
            get
            {
                lock (memory._lock)
                {
                    return memory._byKey.Count > 0;
                }
            }
        }

        /// <summary>The tokens of the reply to a prompt, or null where the model spelt it as the tokenizer does, or long ago.</summary>
        /// <param name="prompt">The prompt; begins with all settled tokens of the call before.</param>
        /// <param name="settled">Its tokens up to and including the last marker; later calls do not change them.</param>
        /// <param name="text">The reply.</param>
        public int[]? Find(ReadOnlySpan<int> prompt, int settled, string text)
        {
            Key key = KeyOf(prompt, settled, text);
            lock (memory._lock)
            {
                if (!memory._byKey.TryGetValue(key, out LinkedListNode<(Key Key, int[] Tokens)>? found))
                {
                    return null;
                }

                memory._byUse.Remove(found);
                memory._byUse.AddLast(found);
                return found.Value.Tokens;
            }
        }

        public Key KeyOf(ReadOnlySpan<int> prompt, int settled, string text)
        {
            _settled.AppendData(MemoryMarshal.AsBytes(prompt[_done..settled]));
            Interlocked.Add(ref memory._hashedTokens, prompt.Length - _done);
            _done = settled;
            Span<byte> bytes = stackalloc byte[SHA256.HashSizeInBytes];
            _settled.GetCurrentHash(bytes);
            _whole.AppendData(bytes);
            _whole.AppendData(MemoryMarshal.AsBytes([prompt.Length]));
            _whole.AppendData(MemoryMarshal.AsBytes(prompt[settled..]));
            _whole.AppendData(MemoryMarshal.AsBytes(text.AsSpan()));
            _whole.GetHashAndReset(bytes);
            return MemoryMarshal.Read<Key>(bytes);
        }

        public void Dispose()
        {
            _settled.Dispose();
            _whole.Dispose();
        }
    }

    internal readonly record struct Key(UInt128 High, UInt128 Low);
}
