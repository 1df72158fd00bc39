using System.Globalization;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>Defaults that a checkpoint ships for generation; null where it says nothing.</summary>
internal sealed record GenerationDefaults
{
    public float? Temperature { get; init; }
    public int? TopK { get; init; }
    public float? TopP { get; init; }

    /// <summary>Tokens that end a reply, from the file (eos, end of turn).</summary>
    public IReadOnlyList<int> StopTokens { get; init; } = [];

    /// <summary>Leaves out what no sampler can use and names it: a caller who set nothing must not be blamed for it at each request.</summary>
    /// <param name="source">Path of the file that says so.</param>
    /// <param name="warnings">Receives a sentence for each value that is ignored.</param>
    public GenerationDefaults WithoutUnusable(string source, ICollection<string> warnings)
    {
        return this with
        {
            Temperature = Keep("temperature", Temperature, Temperature is >= 0 and <= 100, "0 to 100"),
            TopK = Keep("top_k", TopK, TopK >= 0, "at least 0"),
            TopP = Keep("top_p", TopP, TopP is >= 0 and <= 1, "0 to 1"),
        };

        T? Keep<T>(string name, T? value, bool isUsable, string expected) where T : struct
        {
            if (value is null || isUsable)
            {
                return value;
            }

            warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{name} is {value} in '{source}', expected {expected}: ignored, Google's recommendation for Gemma is used."));
            return null;
        }
    }
}

/// <summary>A model on disk: its numbers, its named tensors over a memory map, and its tokenizer.</summary>
internal abstract class ModelFile : IDisposable
{
    /// <summary>Full path of the file or directory that was opened.</summary>
    public abstract string Path { get; }

    /// <summary>Name of the model: general.name, or the name of the directory or file.</summary>
    public abstract string Name { get; }

    public abstract GemmaConfig Config { get; }

    /// <summary>Labels of a classifier; null for other models.</summary>
    public abstract ClassifierLabels? Labels { get; }

    /// <summary>Tensors by canonical (GGUF) name: those that the model is made of.</summary>
    public abstract IReadOnlyDictionary<string, TensorView> Tensors { get; }

    /// <summary>GGUF stores norm weights as 1 + w (true), Hugging Face checkpoints as w (false).</summary>
    public abstract bool NormsIncludeOne { get; }

    public abstract GenerationDefaults GenerationDefaults { get; }

    /// <summary>Parts of the file that are ignored or changed, a sentence each. Logged when the model is loaded, and shown by <c>gemma inspect</c>.</summary>
    public List<string> Warnings { get; } = [];

    /// <summary>True if the tokenizer's configuration ends texts with eos (<c>add_eos_token</c>).</summary>
    public abstract bool AddsEndToken { get; }

    /// <summary>Where private memory lies under the maps.</summary>
    protected abstract IEnumerable<MemoryArea> PrivateAreas { get; }

    /// <summary>Builds the tokenizer that the model carries.</summary>
    /// <exception cref="GemmaModelFormatException">There is none, it is damaged, or it has a token without a row in the embedding.</exception>
    public GemmaTokenizer CreateTokenizer()
    {
        GemmaTokenizer tokenizer = ReadTokenizer();
        int last = tokenizer.VocabularySize - 1, rows = Config.VocabularySize;
        return last < rows ? tokenizer : throw new GemmaModelFormatException(
            $"The tokenizer of '{Path}' has the token {last} ('{ErrorText.Printable(tokenizer.GetPiece(last))}'), but the embedding has only {rows} rows: what the model would read there does not exist. They do not belong together: download the model again, or, where tokens were added to the tokenizer alone, resize the model's embedding or remove them.");
    }

    protected abstract GemmaTokenizer ReadTokenizer();

    /// <summary>The prompt format that the model brings, null where it brings none.</summary>
    /// <exception cref="GemmaModelFormatException">It brings one that cannot be read.</exception>
    public abstract ChatTemplateText? ReadChatTemplate();

    /// <summary>
    /// Moves the weights from the mapping of the file to private memory in pages of 2 MB, as far as the system has any. Tensors stay where they are, and may be read meanwhile.
    /// </summary>
    /// <param name="cancellationToken">Gives up; what was moved stays.</param>
    /// <returns>Bytes that lie in private memory now.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public abstract long MoveToHugePages(CancellationToken cancellationToken);

    /// <summary>
    /// Stores rows of tensors that lie in private memory (<see cref="MoveToHugePages"/>) 16 by 16 among each other, in place. Nobody may read them meanwhile.
    /// </summary>
    /// <param name="chosen">Which tensors: those that their backend takes so.</param>
    /// <param name="cancellationToken">Gives up before the next tensor; each is whole, as it was or interleaved.</param>
    /// <returns>Bytes of these tensors.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public unsafe long Interleave(Func<TensorView, bool> chosen, CancellationToken cancellationToken)
    {
        long bytes = 0;
        foreach (MemoryArea area in PrivateAreas)
        {
            TensorView[] tensors = [.. Tensors.Values.Where(tensor => !tensor.IsInterleaved && tensor.Data >= area.Data && tensor.Data + tensor.ByteLength <= area.End && chosen(tensor))];
            if (tensors.Length == 0 || !HugePages.Protect(area, isWritable: true))
            {
                continue;
            }

            try
            {
                foreach (TensorView tensor in tensors)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Parallel.For(0, tensor.Rows / InterleavedRows.Count, () => new byte[InterleavedRows.Count * tensor.RowBytes], (group, _, copy) =>
                    {
                        fixed (byte* buffer = copy)
                        {
                            InterleavedRows.Write(tensor.Format, tensor.Data + group * InterleavedRows.Count * tensor.RowBytes, tensor.RowBytes, buffer);
                        }

                        return copy;
                    }, _ => { });
                    tensor.IsInterleaved = true;
                    bytes += tensor.ByteLength;
                }
            }
            finally
            {
                _ = HugePages.Protect(area, isWritable: false);
            }
        }

        return bytes;
    }

    public abstract void Dispose();

    /// <summary>
    /// Opens a model: a GGUF file (any file of a split one), a Hugging Face directory, its config.json, or a safetensors file or index in it. Weights
    /// stay in the memory map.
    /// </summary>
    /// <param name="path">Path of the file or directory.</param>
    /// <param name="checkScales">Whether to read all weights once to be sure that scales are finite; false where only the description is wanted.</param>
    /// <param name="cancellationToken">Gives up reading the weights, which may take a while from a disk.</param>
    /// <exception cref="GemmaModelFormatException">The model is missing, damaged, incomplete or not supported; the message says what, where, and what to do.</exception>
    public static ModelFile Open(string path, bool checkScales = true, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ModelFile file = Directory.Exists(path) ? OpenDirectory(path) : OpenFile(path);
        try
        {
            if (checkScales)
            {
                ScaleCheck.Run(file.Tensors.Values, cancellationToken);
            }

            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static ModelFile OpenDirectory(string directory)
    {
        if (File.Exists(System.IO.Path.Combine(directory, HuggingFaceModelFile.ConfigName)))
        {
            // Repositories of GGUF files carry a config.json too, without weights of their own.
            bool hasWeights = Directory.EnumerateFiles(directory, "*.safetensors").Any() || File.Exists(System.IO.Path.Combine(directory, HuggingFaceModelFile.IndexName));
            if (hasWeights || !Directory.EnumerateFiles(directory, "*.gguf").Any())
            {
                return new HuggingFaceModelFile(directory);
            }
        }

        if (File.Exists(System.IO.Path.Combine(directory, PeftConfig.FileName)))
        {
            throw new GemmaModelFormatException($"The directory '{System.IO.Path.GetFullPath(directory)}' holds an adapter, not a model. Load its base model and add it with GemmaOptions.Adapters, or merge it with 'gemma convert --lora'.");
        }

        string[] ggufs = [.. Directory.EnumerateFiles(directory, "*.gguf").Where(GgufFile.IsFirstOrOnly).Order(StringComparer.Ordinal)];
        return ggufs.Length switch
        {
            1 => new GgufModelFile(GgufFile.Open(ggufs[0])),
            0 => throw new GemmaModelFormatException($"The directory '{System.IO.Path.GetFullPath(directory)}' holds no model: neither 'config.json' with safetensors nor a '.gguf' file. Check the path, or download the model with 'gemma pull'."),
            _ => throw new GemmaModelFormatException($"The directory '{System.IO.Path.GetFullPath(directory)}' holds {ggufs.Length} models: {string.Join(", ", ggufs.Take(10).Select(System.IO.Path.GetFileName))}. Give the path of one of them."),
        };
    }

    private static ModelFile OpenFile(string path)
    {
        string full = System.IO.Path.GetFullPath(path);
        if (!File.Exists(full))
        {
            throw new GemmaModelFormatException($"There is no file or directory '{full}'. Check the path, or download the model with 'gemma pull'.");
        }

        string directory = System.IO.Path.GetDirectoryName(full)!;
        string name = System.IO.Path.GetFileName(full);
        if (name is HuggingFaceModelFile.ConfigName or HuggingFaceModelFile.IndexName)
        {
            return new HuggingFaceModelFile(directory);
        }

        return name.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase)
            ? OpenSafetensors(full, directory)
            : new GgufModelFile(GgufFile.Open(full));
    }

    private static HuggingFaceModelFile OpenSafetensors(string path, string directory)
    {
        if (!File.Exists(System.IO.Path.Combine(directory, HuggingFaceModelFile.ConfigName)))
        {
            throw new GemmaModelFormatException($"'{path}' has no '{HuggingFaceModelFile.ConfigName}' beside it, and safetensors hold weights only. Put the checkpoint's {HuggingFaceModelFile.ConfigName} and tokenizer into the same directory; 'gemma pull' does.");
        }

        // One file of a sharded checkpoint stands for all of them.
        string index = System.IO.Path.Combine(directory, HuggingFaceModelFile.IndexName);
        bool isShard = File.Exists(index) && File.ReadAllText(index).Contains($"\"{System.IO.Path.GetFileName(path)}\"", StringComparison.Ordinal);
        return new HuggingFaceModelFile(directory, isShard ? null : path);
    }
}
