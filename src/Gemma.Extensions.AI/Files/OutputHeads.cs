using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Files;

/// <summary>Decides what the head of a model is from what its configuration says and its tensors are.</summary>
internal static class OutputHeads
{
    /// <summary>
    /// The configuration with its real head. Heads that are not the model's are taken out of <paramref name="tensors"/>: one that equals the embedding silently,
    /// others with a warning.
    /// </summary>
    /// <param name="config">What the configuration says.</param>
    /// <param name="statesArchitecture">Whether it says for what the model was made; if not, the tensors tell.</param>
    /// <param name="statesTying">Whether it says if the head is the embedding, which GGUF cannot; if not, the tensors tell.</param>
    /// <param name="tensors">Tensors by canonical name.</param>
    /// <param name="source">The model, for messages.</param>
    /// <param name="warnings">Receives what has to be said.</param>
    /// <exception cref="GemmaModelFormatException">The configuration promises a head that is not there.</exception>
    public static GemmaConfig Resolve(GemmaConfig config, bool statesArchitecture, bool statesTying, Dictionary<string, TensorView> tensors, string source, List<string> warnings)
    {
        tensors.TryGetValue(GemmaTensors.Output, out TensorView? output);
        tensors.TryGetValue(GemmaTensors.Classifier, out TensorView? scores);
        if (config.Head == OutputHead.Classifier || (!statesArchitecture && scores is not null))
        {
            Leave(GemmaTensors.Output);
            return scores is null ? throw Missing(GemmaTensors.Classifier, "it is stated to be a classifier ('Gemma2ForSequenceClassification')")
                : scores.Rows > ClassifierLabels.MaxLabels ? throw new GemmaModelFormatException($"Tensor '{scores.Name}' in '{scores.Source}' has {scores.Rows:N0} rows, expected one for each label, at most {ClassifierLabels.MaxLabels:N0}. It is no classifier; download or convert it again.")
                : config with { Head = OutputHead.Classifier, LabelCount = config.LabelCount > 0 ? config.LabelCount : (int)scores.Rows };
        }

        Leave(GemmaTensors.Classifier);
        switch (config.Head)
        {
            case OutputHead.None:
                Leave(GemmaTensors.Output);
                return config;
            case OutputHead.Own:
                return output is null ? throw Missing(GemmaTensors.Output, "its 'tie_word_embeddings' is false") : config;
            case OutputHead.Tied when output is not null && tensors.TryGetValue(GemmaTensors.Embedding, out TensorView? embedding) && AreEqual(output, embedding):
                tensors.Remove(GemmaTensors.Output);
                return config;
            case OutputHead.Tied when output is not null:
                // transformers 5 does not tie what a checkpoint holds twice with different values; version 4 did.
                if (statesTying)
                {
                    warnings.Add($"'{source}' holds a head '{GemmaTensors.ToHuggingFace(GemmaTensors.Output)}' that differs from the embedding, though 'tie_word_embeddings' is not false. The head is used, as by transformers 5; set 'tie_word_embeddings' to false, or remove the tensor if the embedding is meant.");
                }

                return config with { Head = OutputHead.Own };
            default:
                return config;
        }

        void Leave(string name)
        {
            if (tensors.Remove(name))
            {
                warnings.Add($"'{source}' holds the tensor '{name}' (in Hugging Face checkpoints '{GemmaTensors.ToHuggingFace(name)}'), which a model of its architecture does not use.");
            }
        }

        GemmaModelFormatException Missing(string name, string why) => new(
            $"'{source}' has no tensor '{name}' (in Hugging Face checkpoints '{GemmaTensors.ToHuggingFace(name)}'), but {why}. The file is incomplete, or its configuration wrong; download or save it again.");
    }

    /// <summary>True if two matrices hold the same numbers.</summary>
    public static unsafe bool AreEqual(TensorView a, TensorView b)
    {
        if (!a.Shape.SequenceEqual(b.Shape))
        {
            return false;
        }

        float[] first = new float[a.Columns], second = new float[a.Columns];
        for (long row = 0; row < a.Rows; row++)
        {
            if (a.Format == b.Format)
            {
                // Rows that differ as bytes may still be the same numbers (zeros of both signs), which no trained head has.
                if (!new ReadOnlySpan<byte>(a.Data + row * a.RowBytes, (int)a.RowBytes).SequenceEqual(new ReadOnlySpan<byte>(b.Data + row * b.RowBytes, (int)b.RowBytes)))
                {
                    return false;
                }

                continue;
            }

            a.DecodeRow(row, first);
            b.DecodeRow(row, second);
            if (!first.AsSpan().SequenceEqual(second))
            {
                return false;
            }
        }

        return true;
    }
}
