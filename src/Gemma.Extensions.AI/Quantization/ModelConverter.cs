using System.Numerics.Tensors;
using System.Text;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>Progress of a conversion.</summary>
/// <param name="Tensor">Tensor that is being written.</param>
/// <param name="DoneElements">Elements written so far.</param>
/// <param name="TotalElements">Elements of the model.</param>
internal readonly record struct ConversionProgress(string Tensor, long DoneElements, long TotalElements);

/// <summary>Writes a model as GGUF in another type. Rows are decoded, packed on all cores and written piece by piece: memory stays at a few megabytes a core.</summary>
internal sealed class ModelConverter
{
    private const long PieceElements = 4 << 20;

    /// <summary>Gemma 2's prompt format for engines that render templates. System text goes in front of the user turn that follows.</summary>
    private const string ChatTemplate =
        "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}{% if m['role'] == 'system' %}{% set ns.system = ns.system + (m['content'] | trim) + '\n\n' %}"
        + "{% elif m['role'] == 'assistant' %}{{ '<start_of_turn>model\n' + (m['content'] | trim) + '<end_of_turn>\n' }}"
        + "{% else %}{{ '<start_of_turn>user\n' + ns.system + (m['content'] | trim) + '<end_of_turn>\n' }}{% set ns.system = '' %}{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}";

    private readonly ModelFile _source;
    private readonly string _name;
    private readonly GemmaConfig _config;
    private readonly QuantizationRecipe _recipe;
    private readonly ImportanceMatrix? _importance;
    private readonly LoraFile? _adapter;
    private readonly ParallelOptions _parallel;
    private readonly IProgress<ConversionProgress>? _progress;
    private readonly long _total;
    private long _done;

    private ModelConverter(ModelFile source, string name, QuantizationRecipe recipe, ImportanceMatrix? importance, LoraFile? adapter, int? threads, IProgress<ConversionProgress>? progress, CancellationToken cancellationToken)
    {
        (_source, _name, _recipe, _importance, _adapter, _progress) = (source, name, recipe, importance, adapter, progress);
        _parallel = new ParallelOptions { MaxDegreeOfParallelism = threads ?? Environment.ProcessorCount, CancellationToken = cancellationToken };
        _config = WithoutEqualHead(source);
        _total = _config.ParameterCount;
    }

    /// <summary>Converts a model.</summary>
    /// <param name="source">Any model that opens; its tokenizer goes into the file.</param>
    /// <param name="recipe">Formats of the tensors.</param>
    /// <param name="output">Path of the new file; it appears there when it is complete.</param>
    /// <param name="importance">Weights of the errors by input column; null: none.</param>
    /// <param name="threads">Cores to use; null: all.</param>
    /// <param name="progress">Told after every piece.</param>
    /// <param name="cancellationToken">Ends the conversion; the unfinished file is removed.</param>
    /// <param name="adapter">Low-rank adapter to merge: W + scale · B · A is written in place of W; null: none.</param>
    /// <param name="name">Name of the model; null: the source's.</param>
    /// <exception cref="GemmaModelFormatException">The importance matrix or the adapter belongs to another model, or a weight does not fit the type.</exception>
    /// <exception cref="IOException">The disk has too little room, or the file cannot be written.</exception>
    public static void Write(
        ModelFile source, QuantizationRecipe recipe, string output, ImportanceMatrix? importance = null, int? threads = null,
        IProgress<ConversionProgress>? progress = null, CancellationToken cancellationToken = default, LoraFile? adapter = null, string? name = null)
    {
        string path = Path.GetFullPath(output);
        if (Directory.Exists(path))
        {
            throw new ArgumentException($"'{path}' is a directory. Give the path of the new file.");
        }

        if (source.Tensors.Values.Select(t => t.Source).Distinct().Any(file => string.Equals(Real(file), Real(path), StringComparison.Ordinal)))
        {
            throw new ArgumentException($"'{path}' is the model that is being read. Give another output path.");
        }

        importance?.Check(source.Config);
        adapter?.Check(source.Config);
        ModelConverter converter = new(source, name ?? source.Name, recipe, importance, adapter, threads, progress, cancellationToken);
        GgufWriter writer = converter.Describe();
        CheckRoom(path, writer.DataBytes);
        writer.Save(path);
    }

    /// <summary>True if llama.cpp refuses the converted file: it reads neither an untied head nor a classifier of Gemma 2.</summary>
    public static bool IsForThisEngineOnly(ModelFile source) => WithoutEqualHead(source).Head is OutputHead.Own or OutputHead.Classifier;

    /// <summary>A head that is the embedding over again need not be stored, whatever the configuration says of it.</summary>
    private static GemmaConfig WithoutEqualHead(ModelFile source) =>
        source.Config.Head == OutputHead.Own && OutputHeads.AreEqual(source.Tensors[GemmaTensors.Output], source.Tensors[GemmaTensors.Embedding])
            ? source.Config with { Head = OutputHead.Tied }
            : source.Config;

    private GgufWriter Describe()
    {
        GgufWriter writer = new();
        if (_source is GgufModelFile gguf)
        {
            foreach (string key in gguf.Metadata.Values.Keys.Where(k => !k.StartsWith("split.", StringComparison.Ordinal)))
            {
                writer.Copy(key, gguf.Metadata);
            }
        }
        else
        {
            DescribeModel(writer);
            DescribeTokenizer(writer);
            DescribeHead(writer);
        }

        writer.Set("general.file_type", _recipe.FileType);
        writer.Set("general.quantization_version", 2u);
        writer.Remove("general.alignment");
        foreach ((string name, long[] shape) in GemmaTensors.Expected(_config))
        {
            BlockFormat format = _recipe.FormatOf(name, shape, _config, _importance is not null);
            writer.Add(name, format, shape, stream => WriteTensor(_source.Tensors[name], format, stream));
        }

        return writer;
    }

    /// <summary>Writes the numbers of an architecture without variations.</summary>
    internal static void DescribeShape(GgufWriter writer, GemmaConfig config)
    {
        writer.Set("gemma2.context_length", (uint)config.ContextLength);
        writer.Set("gemma2.embedding_length", (uint)config.HiddenSize);
        writer.Set("gemma2.block_count", (uint)config.LayerCount);
        writer.Set("gemma2.feed_forward_length", (uint)config.FeedForwardSize);
        writer.Set("gemma2.attention.head_count", (uint)config.HeadCount);
        writer.Set("gemma2.attention.head_count_kv", (uint)config.KvHeadCount);
        writer.Set("gemma2.attention.key_length", (uint)config.HeadDim);
        writer.Set("gemma2.attention.value_length", (uint)config.HeadDim);
        writer.Set("gemma2.attention.layer_norm_rms_epsilon", config.RmsNormEpsilon);
        writer.Set("gemma2.attention.sliding_window", (uint)config.SlidingWindow);
        writer.Set("gemma2.attn_logit_softcapping", config.AttentionSoftcap);
        writer.Set("gemma2.final_logit_softcapping", config.FinalSoftcap);
        writer.Set("gemma2.rope.freq_base", config.RopeBase);
    }

    private void DescribeModel(GgufWriter writer)
    {
        GemmaConfig config = _source.Config;
        float storable = 1 / MathF.Sqrt(config.LayerCount == 46 ? config.HiddenSize / (float)config.HeadCount : config.HeadDim);
        if (MathF.Abs(config.QueryScale - storable) > 1e-6f * storable)
        {
            throw new GemmaModelFormatException($"'{_source.Path}' has the query scale {config.QueryScale}, but GGUF files of Gemma 2 do not store one and readers would take {storable}. This model cannot be converted.");
        }

        writer.Set("general.architecture", "gemma2");
        writer.Set("general.type", "model");
        writer.Set("general.name", _name);
        DescribeShape(writer, config);
        if (config.LocalRopeBase is { } local)
        {
            writer.Set("gemma2.rope.freq_base_swa", local);
        }

        if (config.RopeFactorOf(0) != config.RopeFactorOf(1))
        {
            throw new GemmaModelFormatException(
                $"'{_source.Path}' divides the positions of local layers by {config.RopeFactorOf(0)} and of global ones by {config.RopeFactorOf(1)}, but GGUF has one factor for all layers of Gemma 2. Use the checkpoint as it is.");
        }

        if (config.RopeFactor is { } factor)
        {
            writer.Set("gemma2.rope.scaling.type", "linear");
            writer.Set("gemma2.rope.scaling.factor", factor);
        }

        if (_source.GenerationDefaults.Temperature is { } temperature)
        {
            writer.Set("general.sampling.temp", temperature);
        }

        if (_source.GenerationDefaults.TopK is { } topK)
        {
            writer.Set("general.sampling.top_k", topK);
        }

        if (_source.GenerationDefaults.TopP is { } topP)
        {
            writer.Set("general.sampling.top_p", topP);
        }
    }

    /// <summary>Metadata that tell a reader that the file is not a chat model. The labels' key and the pooling types are llama.cpp's.</summary>
    private void DescribeHead(GgufWriter writer)
    {
        if (_source.Labels is { } labels)
        {
            writer.Set("gemma2.pooling_type", (uint)GgufVariations.RankPooling);
            writer.Set(ClassifierLabels.NamesKey, [.. labels.Names.Select(Encoding.UTF8.GetBytes)]);
            writer.Set(ClassifierLabels.ProblemKey, labels.Problem);
            writer.Remove("tokenizer.ggml.padding_token_id");
            if (labels.PadId >= 0)
            {
                writer.Set("tokenizer.ggml.padding_token_id", (uint)labels.PadId);
            }
        }
        else if (_config.Head == OutputHead.None)
        {
            writer.Set("gemma2.pooling_type", (uint)GgufVariations.LastTokenPooling);
        }
    }

    private void DescribeTokenizer(GgufWriter writer)
    {
        GemmaTokenizer tokenizer = _source.CreateTokenizer();
        GgufTokenizer.Write(writer, tokenizer, _source.Config.VocabularySize);
        EndTokens.Write(writer, _source, tokenizer);
        writer.Set("tokenizer.ggml.add_bos_token", true);
        writer.Set("tokenizer.ggml.add_eos_token", _source.AddsEndToken);
        writer.Set("tokenizer.ggml.add_space_prefix", false);
        DescribeTemplates(writer);
    }

    /// <summary>The templates of the checkpoint, where it has any, named as llama.cpp's converter names them.</summary>
    private void DescribeTemplates(GgufWriter writer)
    {
        const string Key = "tokenizer.chat_template";
        IReadOnlyList<NamedChatTemplate> templates = ChatTemplateFiles.Read(_source.Path);
        if (templates.Count == 0)
        {
            writer.Set(Key, ChatTemplate);
            return;
        }

        HashSet<string> names = [];
        foreach (NamedChatTemplate template in templates)
        {
            if (template.Name == ChatTemplateFiles.Default)
            {
                writer.Set(Key, template.Text);
                continue;
            }

            string name = string.Concat(template.Name.Select(c => char.IsAsciiLetterOrDigit(c) ? c : '_'));
            writer.Set($"{Key}.{name}", template.Text);
            names.Add(name);
        }

        if (names.Count > 0)
        {
            writer.Set("tokenizer.chat_templates", names.Select(Encoding.UTF8.GetBytes));
        }
    }

    private unsafe void WriteTensor(TensorView tensor, BlockFormat format, Stream stream)
    {
        float[]? importance = format.IsFloat ? null : _importance?.For(tensor.Name);
        float add = tensor.Shape.Count == 1 && !_source.NormsIncludeOne ? 1 : 0;
        LowRank? update = _adapter?.Pairs.TryGetValue(tensor.Name, out LoraPair? pair) == true ? new LowRank(pair) : null;
        long columns = tensor.Columns, rowBytes = format.ByteLength(columns);
        long rowsAtOnce = Math.Clamp(PieceElements / columns, 1, tensor.Rows);
        byte[] buffer = new byte[rowsAtOnce * rowBytes];
        for (long first = 0; first < tensor.Rows; first += rowsAtOnce)
        {
            long rows = Math.Min(rowsAtOnce, tensor.Rows - first);
            if (tensor.Format == format && add == 0 && update is null)
            {
                new ReadOnlySpan<byte>(tensor.Data + first * rowBytes, (int)(rows * rowBytes)).CopyTo(buffer);
            }
            else
            {
                EncodeRows(tensor, format, first, rows, add, update, importance, buffer);
            }

            _parallel.CancellationToken.ThrowIfCancellationRequested();
            stream.Write(buffer, 0, (int)(rows * rowBytes));
            _done += rows * columns;
            _progress?.Report(new ConversionProgress(tensor.Name, _done, _total));
        }
    }

    private void EncodeRows(TensorView tensor, BlockFormat format, long first, long rows, float add, LowRank? update, float[]? importance, byte[] buffer)
    {
        int rowBytes = (int)format.ByteLength(tensor.Columns);
        try
        {
            Parallel.For(0, rows, _parallel, () => new float[tensor.Columns], (row, _, values) =>
            {
                EncodeRow(tensor, format, first + row, add, update, importance, values, buffer.AsSpan((int)row * rowBytes, rowBytes));
                return values;
            }, _ => { });
        }
        catch (AggregateException e) when (e.InnerException is GemmaModelFormatException inner)
        {
            throw inner;
        }
    }

    private static unsafe void EncodeRow(TensorView tensor, BlockFormat format, long row, float add, LowRank? update, float[]? importance, float[] values, Span<byte> destination)
    {
        tensor.DecodeRow(row, values);
        if (add != 0)
        {
            for (int i = 0; i < values.Length; i++)
            {
                values[i] += add;
            }
        }

        update?.AddRow(row, values);
        fixed (float* x = values, w = importance)
        fixed (byte* target = destination)
        {
            format.Encode(x, target, values.Length, w);
            if (format.FindNonFiniteScale(target, values.Length / format.BlockElements) >= 0)
            {
                throw new GemmaModelFormatException($"Row {row:N0} of tensor '{tensor.Name}' holds weights up to {values.Max(Math.Abs):G4}, which {format.Name} cannot store. Convert to BF16 or F32.");
            }
        }
    }

    private static string Real(string path) => (File.Exists(path) ? File.ResolveLinkTarget(path, returnFinalTarget: true)?.FullName : null) ?? path;

    /// <summary>Refuses a file that the disk has no room for, before anything is computed for it.</summary>
    /// <exception cref="IOException">There is less room; the message has both numbers.</exception>
    public static void CheckRoom(string path, long bytes)
    {
        string directory = Path.GetDirectoryName(path)!;
        Directory.CreateDirectory(directory);
        long free = new DriveInfo(directory).AvailableFreeSpace;
        if (free < bytes)
        {
            throw new IOException($"'{path}' will take {bytes:N0} bytes but only {free:N0} are free in '{directory}'. Free some, or give another output path.");
        }
    }

    /// <summary>The factors of one weight, decoded once.</summary>
    private sealed class LowRank(LoraPair pair)
    {
        private readonly int _rank = pair.Rank;
        private readonly float[] _a = pair.ReadA(), _b = pair.ReadScaledB();

        /// <summary>values += row of B·A.</summary>
        public void AddRow(long row, Span<float> values)
        {
            for (int j = 0; j < _rank; j++)
            {
                TensorPrimitives.MultiplyAdd(_a.AsSpan(j * values.Length, values.Length), _b[row * _rank + j], values, values);
            }
        }
    }
}
