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
    public void Seek(int epoch, int position)
    {
        Epoch = epoch;
        Position = position;
        _order = Order(epoch);
        TokensTaken = epoch * _documents.Sum(document => (long)document.Tokens.Length) + _order.Take(position).Sum(d => (long)_documents[d].Tokens.Length);
    }

    /// <summary>Takes whole documents up to <paramref name="tokens"/> tokens, at least one.</summary>
    public List<TrainingDocument> Take(int tokens)
    {
        var taken = new List<TrainingDocument>();
        int sum = 0;
        while (true)
        {
            if (Position == _order.Length)
            {
                Seek(Epoch + 1, 0);
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

    private int[] Order(int epoch)
    {
        int[] order = [.. Enumerable.Range(0, _documents.Count)];
        new Random(unchecked(_seed * 1_000_003 + epoch)).Shuffle(order);
        return order;
    }
}
