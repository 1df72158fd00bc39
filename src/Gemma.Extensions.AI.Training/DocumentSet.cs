using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Gemma.Extensions.AI.Training;

/// <summary>Documents in memory, shuffled anew in every epoch by a seed, and cut into packed batches in that order.</summary>
internal sealed class DocumentSet
{
    private readonly IReadOnlyList<TrainingDocument> _documents;
    private readonly int _seed;
    private int[] _order;

    /// <param name="documents">Documents of at least two tokens.</param>
    /// <param name="seed">Seed of the order.</param>
    public DocumentSet(IReadOnlyList<TrainingDocument> documents, int seed)
    {
        if (documents.Count == 0)
        {
            throw new ArgumentException("There is no document to train on.", nameof(documents));
        }

        _documents = documents;
        _seed = seed;
        _order = Order(0);
    }

    /// <summary>Times that all documents have been seen.</summary>
    public int Epoch { get; private set; }

    /// <summary>Documents taken in this epoch.</summary>
    public int Position { get; private set; }

    /// <summary>Tokens taken in all epochs.</summary>
    public long TokensTaken { get; private set; }

    /// <summary>Continues where a checkpoint stopped.</summary>
    /// <param name="epoch">Epochs before.</param>
    /// <param name="position">Documents taken in this epoch; at most all of them.</param>
    /// <param name="tokens">Tokens taken in all, where they are known; otherwise they are counted.</param>
    public void Seek(int epoch, int position, long? tokens = null)
    {
        Epoch = epoch;
        Position = position = Math.Min(position, _documents.Count);
        _order = Order(epoch);
        TokensTaken = tokens ?? epoch * _documents.Sum(document => (long)document.Tokens.Length) + _order.Take(position).Sum(d => (long)_documents[d].Tokens.Length);
    }

    /// <summary>Takes whole documents up to <paramref name="tokens"/> tokens, at least one.</summary>
    public List<TrainingDocument> Take(int tokens)
    {
        List<TrainingDocument> taken = new();
        int sum = 0;
        while (true)
        {
            if (Position == _order.Length)
            {
                Seek(Epoch + 1, 0, TokensTaken);
            }

            TrainingDocument next = _documents[_order[Position]];
            if (taken.Count > 0 && sum + next.Tokens.Length > tokens)
            {
                return taken;
            }

            taken.Add(next);
            sum += next.Tokens.Length;
            TokensTaken += next.Tokens.Length;
            Position++;
        }
    }

    /// <summary>Documents and tokens, and the first bytes of a SHA-256 of them.</summary>
    public string Describe()
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Append(hash, _documents);
        return string.Create(CultureInfo.InvariantCulture,
            $"{_documents.Count:N0} documents of {_documents.Sum(document => (long)document.Tokens.Length):N0} tokens ({Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 4))})");
    }

    /// <summary>Adds tokens and targets to a hash; the order counts.</summary>
    public static void Append(IncrementalHash hash, IEnumerable<TrainingDocument> documents)
    {
        foreach (TrainingDocument document in documents)
        {
            hash.AppendData(BitConverter.GetBytes(document.Tokens.Length));
            hash.AppendData(MemoryMarshal.AsBytes<int>(document.Tokens));
            hash.AppendData(MemoryMarshal.AsBytes<bool>(document.Trained ?? []));
        }
    }

    private int[] Order(int epoch)
    {
        int[] order = [.. Enumerable.Range(0, _documents.Count)];
        new Random(unchecked(_seed * 1_000_003 + epoch)).Shuffle(order);
        return order;
    }
}
