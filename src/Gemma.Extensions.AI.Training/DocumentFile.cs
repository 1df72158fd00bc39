namespace Gemma.Extensions.AI.Training;

/// <summary>Tokenized documents on disk, so that a resumed run does not prepare its data again.</summary>
internal static class DocumentFile
{
    private const int Magic = 0x31_44_43_47; // GCD1

    /// <summary>Writes the documents; the file appears when it is complete.</summary>
    public static void Save(string path, IReadOnlyList<TrainingDocument> documents)
    {
        string temporary = path + ".tmp";
        using (var writer = new BinaryWriter(File.Create(temporary)))
        {
            writer.Write(Magic);
            writer.Write(documents.Count);
            foreach (TrainingDocument document in documents)
            {
                writer.Write(document.Tokens.Length);
                for (int i = 0; i < document.Tokens.Length; i++)
                {
                    writer.Write(document.Tokens[i] << 1 | (document.Trained?[i] ?? i > 0 ? 1 : 0));
                }
            }
        }

        File.Move(temporary, path, overwrite: true);
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <exception cref="GemmaModelFormatException">The file is of another kind or damaged.</exception>
    public static List<TrainingDocument> Load(string path)
    {
        using var reader = new BinaryReader(new BufferedStream(File.OpenRead(path), 1 << 20));
        try
        {
            if (reader.ReadInt32() != Magic)
            {
                throw new GemmaModelFormatException($"'{path}' is not a file of tokenized documents. Delete it to prepare the data again.");
            }

            int count = reader.ReadInt32();
            var documents = new List<TrainingDocument>();
            for (int d = 0; d < count; d++)
            {
                int length = reader.ReadInt32();
                var tokens = new List<int>();
                var trained = new List<bool>();
                for (int i = 0; i < length; i++)
                {
                    int value = reader.ReadInt32();
                    tokens.Add(value >> 1);
                    trained.Add((value & 1) != 0);
                }

                documents.Add(new TrainingDocument([.. tokens], [.. trained]));
            }

            return documents;
        }
        catch (EndOfStreamException exception)
        {
            throw new GemmaModelFormatException($"'{path}' ends early. Delete it to prepare the data again.", exception);
        }
    }
}
