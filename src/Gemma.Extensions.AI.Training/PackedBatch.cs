namespace Gemma.Extensions.AI.Training;

/// <summary>Tokens of one document and which of them the model is trained to predict.</summary>
/// <param name="Tokens">Ids, the first one usually &lt;bos&gt;.</param>
/// <param name="Trained">True where the token is a target; null: every token but the first.</param>
internal sealed record TrainingDocument(int[] Tokens, bool[]? Trained = null)
{
    /// <summary>Reads a teacher's logits for a range of targets (first, count). Called when their loss is computed, so that they may stay on disk.</summary>
    public Func<int, int, TeacherTargets>? Teacher { get; init; }

    /// <summary>Tokens that count in the loss.</summary>
    public int TargetCount
    {
        get
        {
            if (Trained is null)
            {
                return Tokens.Length - 1;
            }

            int count = 0;
            for (int i = 1; i < Trained.Length; i++)
            {
                count += Trained[i] ? 1 : 0;
            }

            return count;
        }
    }

    /// <summary>True if the model is trained to predict the token at a position.</summary>
    public bool IsTarget(int position) => position > 0 && (Trained is null || Trained[position]);
}

/// <summary>A teacher's logits at targets: of its best tokens, or of all.</summary>
/// <param name="Count">Entries of one row.</param>
/// <param name="Ids">Token of each entry, [targets, Count]; null: entry i is token i.</param>
/// <param name="Logits">[targets, Count].</param>
internal sealed record TeacherTargets(int Count, int[]? Ids, float[] Logits);

/// <summary>
/// Whole documents behind one another without padding. Attention never crosses from one document to the next and positions restart at 0,
/// so packing changes nothing but the speed.
/// </summary>
internal sealed class PackedBatch
{
    private readonly int[] _firstTargets; // of each document, and the count at the end

    public PackedBatch(IReadOnlyList<TrainingDocument> documents)
    {
        Documents = documents;
        int total = documents.Sum(document => document.Tokens.Length);
        Tokens = new int[total];
        Positions = new int[total];
        Starts = new int[documents.Count + 1];
        _firstTargets = new int[documents.Count + 1];
        List<int> rows = new();
        List<int> labels = new();
        int start = 0;
        for (int d = 0; d < documents.Count; d++)
        {
            TrainingDocument document = documents[d];
            Starts[d] = start;
            for (int i = 0; i < document.Tokens.Length; i++)
            {
                Tokens[start + i] = document.Tokens[i];
                Positions[start + i] = i;
                if (document.IsTarget(i))
                {
                    rows.Add(start + i - 1);
                    labels.Add(document.Tokens[i]);
                }
            }

            start += document.Tokens.Length;
            _firstTargets[d + 1] = rows.Count;
        }

        Starts[^1] = start;
        TargetRows = [.. rows];
        Labels = [.. labels];
    }

    public IReadOnlyList<TrainingDocument> Documents { get; }
    public int[] Tokens { get; }
    public int[] Positions { get; }

    /// <summary>First row of each document, and the row count at the end.</summary>
    public int[] Starts { get; }

    /// <summary>Rows whose output is compared with a label.</summary>
    public int[] TargetRows { get; }

    /// <summary>The token that follows each target row.</summary>
    public int[] Labels { get; }

    /// <summary>Logits of the documents' teachers at targets of the batch; null if a document has none.</summary>
    public TeacherTargets? TeacherAt(int first, int count)
    {
        if (Documents.Any(document => document.Teacher is null))
        {
            return null;
        }

        List<TeacherTargets> parts = new();
        for (int d = 0, end = first + count; d < Documents.Count; d++)
        {
            int from = Math.Max(first, _firstTargets[d]), to = Math.Min(end, _firstTargets[d + 1]);
            if (from < to)
            {
                parts.Add(Documents[d].Teacher!(from - _firstTargets[d], to - from));
            }
        }

        return parts is [TeacherTargets only] ? only : new TeacherTargets(
            parts[0].Count, parts[0].Ids is null ? null : Joined(parts.Select(part => part.Ids!)), Joined(parts.Select(part => part.Logits)));
    }

    private static T[] Joined<T>(IEnumerable<T[]> parts)
    {
        T[] all = new T[parts.Sum(part => part.Length)];
        int at = 0;
        foreach (T[] part in parts)
        {
            part.CopyTo(all, at);
            at += part.Length;
        }

        return all;
    }
}
