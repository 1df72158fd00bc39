using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Microsoft.Win32.SafeHandles;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// A teacher's logits at the targets of documents: computed once by the engine, in the teacher's own weight format, kept on disk, and read back
/// for every run and epoch. A target costs k × 6 bytes (token id and float16 logit of the k best tokens), or 2 × vocabulary bytes where all are kept.
/// </summary>
internal sealed class TeacherCache : IDisposable
{
    private const int Magic = 0x32_54_43_47; // GCT2
    private const int HeaderBytes = 4 + 4 + 32;
    private const int InFlight = 16;
    private const long InFlightBytes = 1 << 28; // all logits of a document of 256 tokens and 256,000 pieces are half of that

    private readonly SafeFileHandle _file;
    private readonly string _path;
    private readonly int _count;
    private readonly bool _all;

    private TeacherCache(SafeFileHandle file, string path, int count, bool all)
    {
        _file = file;
        _path = path;
        _count = count;
        _all = all;
    }

    /// <summary>Bytes of the cache for so many targets.</summary>
    public static long Bytes(long targets, int k, int vocabulary) => HeaderBytes + targets * RecordBytes(k, vocabulary);

    /// <summary>
    /// Asks the teacher about every target and writes its k largest logits. A pass that was interrupted continues after the last document that
    /// it wrote; the file appears under its name when it is complete.
    /// </summary>
    /// <param name="path">The cache.</param>
    /// <param name="teacher">Its vocabulary is the student's; its context holds the longest document.</param>
    /// <param name="vocabulary">Its tokens.</param>
    /// <param name="key">From <see cref="KeyOf"/>.</param>
    /// <param name="documents">Documents; the order counts.</param>
    /// <param name="k">Logits kept for a target; the vocabulary's size or more: all.</param>
    /// <param name="progress">Told the documents done.</param>
    /// <param name="cancellationToken">Ends the pass; what was written is kept for the next one.</param>
    /// <exception cref="IOException">The file cannot be written; the message of a full disk says what to do. What was written is kept.</exception>
    public static async Task WriteAsync(
        string path, GemmaEngine teacher, int vocabulary, byte[] key, IReadOnlyList<TrainingDocument> documents, int k, IProgress<int>? progress = null, CancellationToken cancellationToken = default)
    {
        long largest = documents.Max(document => (long)document.TargetCount) * RecordBytes(k, vocabulary);
        if (largest > Array.MaxLength)
        {
            throw new NotSupportedException(
                $"A teacher's answers about one document, {k:N0} logits a token, take {largest:N0} bytes; at most {Array.MaxLength:N0} fit into one buffer. Keep fewer logits, or cut the documents shorter.");
        }

        string partial = path + ".part";
        try
        {
            await AskAllAsync(partial, teacher, vocabulary, key, documents, k, progress, cancellationToken).ConfigureAwait(false);
            File.Move(partial, path, overwrite: true);
        }
        catch (IOException e) when (DiskFull.Is(e))
        {
            throw DiskFull.At(path, e);
        }
    }

    private static async Task AskAllAsync(
        string partial, GemmaEngine teacher, int vocabulary, byte[] key, IReadOnlyList<TrainingDocument> documents, int k, IProgress<int>? progress, CancellationToken cancellationToken)
    {
        using (FileStream file = new(partial, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, 1 << 20))
        {
            int next = Resume(file, Header(key, k), documents, RecordBytes(k, vocabulary));
            Queue<Task<byte[]>> pending = new();
            long pendingBytes = 0;
            using CancellationTokenSource stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            try
            {
                for (int done = next; done < documents.Count; done++)
                {
                    for (; next < documents.Count && (pending.Count == 0 || (pending.Count < InFlight && pendingBytes < InFlightBytes)); next++)
                    {
                        pendingBytes += (long)documents[next].TargetCount * RecordBytes(k, vocabulary);
                        pending.Enqueue(AskAsync(teacher, vocabulary, documents[next], k, stop.Token));
                    }

                    byte[] records = await pending.Dequeue().ConfigureAwait(false);
                    pendingBytes -= records.Length;
                    file.Write(records);
                    progress?.Report(done + 1);
                }

                file.Flush(flushToDisk: true);
            }
            catch
            {
                stop.Cancel();
                await Task.WhenAll(pending).ContinueWith(static _ => { }, TaskScheduler.Default).ConfigureAwait(false);
                throw;
            }
        }
    }

    /// <summary>Opens what <see cref="WriteAsync"/> wrote.</summary>
    /// <exception cref="GemmaModelFormatException">The cache is damaged, of another teacher, or of other documents.</exception>
    public static TeacherCache Open(string path, int vocabulary, byte[] key, IReadOnlyList<TrainingDocument> documents, int k)
    {
        SafeFileHandle file = File.OpenHandle(path);
        try
        {
            byte[] header = new byte[HeaderBytes];
            long expected = Bytes(documents.Sum(d => (long)d.TargetCount), k, vocabulary);
            if (RandomAccess.Read(file, header, 0) != HeaderBytes || BinaryPrimitives.ReadInt32LittleEndian(header) != Magic)
            {
                throw new GemmaModelFormatException($"'{path}' is not a cache of teacher logits. Delete it to ask the teacher again.");
            }

            if (!header.AsSpan().SequenceEqual(Header(key, k)) || RandomAccess.GetLength(file) != expected)
            {
                throw new GemmaModelFormatException(
                    $"'{path}' ({RandomAccess.GetLength(file):N0} bytes, expected {expected:N0}) holds the answers of another teacher, about other documents, or with another number of logits. Delete it to ask the teacher again, or continue with what it was made for.");
            }

            return new TeacherCache(file, path, Math.Min(k, vocabulary), k >= vocabulary);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Tells teachers and documents apart.</summary>
    public static byte[] KeyOf(ModelFile teacher, IReadOnlyList<TrainingDocument> documents)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(GemmaWeights.FingerprintOf(teacher));
        DocumentSet.Append(hash, documents);
        return hash.GetHashAndReset();
    }

    /// <summary>The documents with their teacher, which is read from the file whenever a loss needs it. In the order of the cache.</summary>
    public List<TrainingDocument> Teach(IReadOnlyList<TrainingDocument> documents)
    {
        List<TrainingDocument> taught = new(documents.Count);
        long offset = HeaderBytes;
        foreach (TrainingDocument document in documents)
        {
            long at = offset;
            taught.Add(document with { Teacher = (first, count) => Read(at + (long)first * RecordBytes(), count) });
            offset += (long)document.TargetCount * RecordBytes();
        }

        return taught;
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Bytes that reading the answers at so many targets takes, of several documents: as they lie in the file, decoded, and joined.</summary>
    public static long ReadingBytes(int targets, int k, int vocabulary) => (long)targets * (k >= vocabulary ? (2 + 4 + 4) * (long)vocabulary : (6 + 8 + 8) * (long)k);

    private int RecordBytes() => _all ? 2 * _count : 6 * _count;

    private static int RecordBytes(int k, int vocabulary) => k >= vocabulary ? 2 * vocabulary : 6 * k;

    private static byte[] Header(byte[] key, int k)
    {
        byte[] header = new byte[HeaderBytes];
        BinaryPrimitives.WriteInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), k);
        key.CopyTo(header, 8);
        return header;
    }

    /// <summary>The first document that an interrupted pass did not write whole, with the file positioned there.</summary>
    private static int Resume(FileStream file, byte[] header, IReadOnlyList<TrainingDocument> documents, int recordBytes)
    {
        byte[] found = new byte[HeaderBytes];
        if (file.ReadAtLeast(found, HeaderBytes, throwOnEndOfStream: false) < HeaderBytes || !found.AsSpan().SequenceEqual(header))
        {
            file.SetLength(0);
            file.Position = 0;
            file.Write(header);
            return 0;
        }

        long end = HeaderBytes;
        int next = 0;
        while (next < documents.Count && end + (long)documents[next].TargetCount * recordBytes is var after && after <= file.Length)
        {
            end = after;
            next++;
        }

        file.SetLength(end);
        file.Position = end;
        return next;
    }

    private static async Task<byte[]> AskAsync(GemmaEngine teacher, int vocabulary, TrainingDocument document, int k, CancellationToken cancellationToken)
    {
        if (document.TargetCount == 0)
        {
            return [];
        }

        TargetReader reader = new(document, k, vocabulary);
        await teacher.EvaluateAsync(document.Tokens[..^1], reader, cancellationToken).ConfigureAwait(false);
        return reader.Records;
    }

    private TeacherTargets Read(long offset, int targets)
    {
        byte[] bytes = new byte[targets * RecordBytes()];
        if (RandomAccess.Read(_file, bytes, offset) != bytes.Length)
        {
            throw new GemmaModelFormatException($"'{_path}' ends early. Delete it to ask the teacher again.");
        }

        int entries = targets * _count, size = _all ? 2 : 6;
        int[]? ids = _all ? null : new int[entries];
        float[] logits = new float[entries];
        for (int i = 0; i < entries; i++)
        {
            ReadOnlySpan<byte> entry = bytes.AsSpan(i * size, size);
            logits[i] = (float)BinaryPrimitives.ReadHalfLittleEndian(entry[^2..]);
            if (ids is not null)
            {
                ids[i] = BinaryPrimitives.ReadInt32LittleEndian(entry);
            }
        }

        return new TeacherTargets(_count, ids, logits);
    }

    /// <summary>Packs the logits of the rows that are targets.</summary>
    private sealed class TargetReader : RowReader
    {
        private readonly TrainingDocument _document;
        private readonly int[] _ids;
        private readonly float[] _best;
        private readonly bool _all;
        private int _at;

        public TargetReader(TrainingDocument document, int k, int vocabulary)
        {
            _document = document;
            _all = k >= vocabulary;
            _ids = new int[_all ? 0 : k];
            _best = new float[_ids.Length];
            Records = new byte[document.TargetCount * RecordBytes(k, vocabulary)];
            FirstPosition = Enumerable.Range(0, document.Tokens.Length).First(document.IsTarget) - 1;
        }

        public byte[] Records { get; }

        public override int FirstPosition { get; }

        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            if (!_document.IsTarget(position + 1))
            {
                return;
            }

            if (_all)
            {
                foreach (float value in values)
                {
                    BinaryPrimitives.WriteHalfLittleEndian(Records.AsSpan(_at), (Half)value);
                    _at += 2;
                }

                return;
            }

            Largest(values, _ids, _best);
            for (int i = 0; i < _ids.Length; i++, _at += 6)
            {
                BinaryPrimitives.WriteInt32LittleEndian(Records.AsSpan(_at), _ids[i]);
                BinaryPrimitives.WriteHalfLittleEndian(Records.AsSpan(_at + 4), (Half)_best[i]);
            }
        }

        /// <summary>Best first. Few values of a long row come near the k best, so inserting beats sorting.</summary>
        private static void Largest(ReadOnlySpan<float> values, int[] ids, float[] best)
        {
            int count = 0;
            for (int v = 0; v < values.Length; v++)
            {
                if (count == best.Length && values[v] <= best[^1])
                {
                    continue;
                }

                int at = count < best.Length ? count++ : count - 1;
                for (; at > 0 && best[at - 1] < values[v]; at--)
                {
                    best[at] = best[at - 1];
                    ids[at] = ids[at - 1];
                }

                best[at] = values[v];
                ids[at] = v;
            }
        }
    }
}
