using System.Numerics.Tensors;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// What a teacher says at the targets of documents: computed once, kept on disk, and read back for every run and epoch. A document costs
/// targets × k × 6 bytes (a token id and a float16 logit for each of the k best tokens).
/// </summary>
internal static class Distillation
{
    private const int Magic = 0x31_54_43_47; // GCT1

    /// <summary>Float32 bytes that a teacher needs: its weights, decoded from any format, and one worker.</summary>
    public static long TeacherBytes(GemmaConfig config, int maxTokens, int maxLength) =>
        4 * config.ParameterCount + GemmaBackprop.WorkerBytes(config, maxTokens, maxLength);

    /// <summary>Decodes a teacher, or refuses it where it would not fit.</summary>
    /// <exception cref="NotSupportedException">The memory that it needs is not there; the message has both numbers.</exception>
    public static TrainingModel LoadTeacher(ModelFile file, int maxTokens, int maxLength)
    {
        long needed = TeacherBytes(file.Config, maxTokens, maxLength), available = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (needed > available || file.Config.ParameterCount > Array.MaxLength - 16)
        {
            throw new NotSupportedException(
                $"The teacher '{file.Name}' has {file.Config.ParameterCount:N0} parameters and needs {needed / 1e9:F1} GB as float32; {available / 1e9:F1} GB are available and 2.1 billion parameters are the limit. Use a smaller teacher or a larger machine.");
        }

        return ModelDirectory.Load(file);
    }

    /// <summary>Runs the teacher over documents and writes its k best logits at every target.</summary>
    public static void WriteCache(string path, TrainingModel teacher, IReadOnlyList<TrainingDocument> documents, int k, int maxTokens, int maxLength, Action<int>? progress = null, CancellationToken cancellationToken = default)
    {
        k = Math.Min(k, teacher.Config.VocabularySize);
        var worker = new GemmaBackprop(teacher, Math.Max(maxTokens, maxLength), maxLength);
        string temporary = path + ".tmp";
        using (var writer = new BinaryWriter(new BufferedStream(File.Create(temporary), 1 << 20)))
        {
            writer.Write(Magic);
            writer.Write(k);
            writer.Write(documents.Count);
            for (int d = 0; d < documents.Count; d++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                TeacherTargets targets = worker.TopLogits(new PackedBatch([documents[d]]), k);
                writer.Write(targets.Logits.Length);
                for (int i = 0; i < targets.Logits.Length; i++)
                {
                    writer.Write(targets.Ids![i]);
                    writer.Write((Half)targets.Logits[i]);
                }

                progress?.Invoke(d + 1);
            }
        }

        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>The documents with what <see cref="WriteCache"/> wrote for them.</summary>
    /// <exception cref="GemmaModelFormatException">The cache is damaged or belongs to other documents.</exception>
    public static List<TrainingDocument> ReadCache(string path, IReadOnlyList<TrainingDocument> documents)
    {
        using var reader = new BinaryReader(new BufferedStream(File.OpenRead(path), 1 << 20));
        try
        {
            if (reader.ReadInt32() != Magic)
            {
                throw Bad("is not a cache of teacher logits");
            }

            int k = reader.ReadInt32(), count = reader.ReadInt32();
            if (count != documents.Count)
            {
                throw Bad($"is for {count:N0} documents, but there are {documents.Count:N0}");
            }

            var taught = new List<TrainingDocument>(count);
            foreach (TrainingDocument document in documents)
            {
                int entries = reader.ReadInt32();
                if (entries != document.TargetCount * k)
                {
                    throw Bad($"has {entries:N0} logits for a document with {document.TargetCount:N0} targets of {k}");
                }

                int[] ids = new int[entries];
                float[] logits = new float[entries];
                for (int i = 0; i < entries; i++)
                {
                    ids[i] = reader.ReadInt32();
                    logits[i] = (float)reader.ReadHalf();
                }

                taught.Add(document with { Teacher = new TeacherTargets(k, ids, logits) });
            }

            return taught;
        }
        catch (EndOfStreamException exception)
        {
            throw new GemmaModelFormatException($"'{path}' ends early. Delete it to ask the teacher again.", exception);
        }

        GemmaModelFormatException Bad(string what) => new($"'{path}' {what}. Delete it to ask the teacher again.");
    }
}
