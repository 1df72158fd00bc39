namespace Gemma.Extensions.AI;

/// <summary>Pooling of a text's hidden states into its embedding.</summary>
public enum GemmaEmbeddingPooling
{
    /// <summary>The final hidden state of the last token, which has seen the whole text.</summary>
    LastToken,

    /// <summary>The mean of the final hidden states of the text's tokens. bos is left out: its state is the same for every text.</summary>
    Mean,
}

/// <summary>Options of an embedding generator. The defaults suit checkpoints that were not trained for embeddings; use a preset for those that were.</summary>
public sealed class GemmaEmbeddingOptions
{
    /// <summary>Pooling of hidden states into a vector. A checkpoint trained for chat embeds better by the mean.</summary>
    public GemmaEmbeddingPooling Pooling { get; set; } = GemmaEmbeddingPooling.Mean;

    /// <summary>Scales each embedding to length 1, so that dot product and cosine are the same.</summary>
    public bool Normalize { get; set; } = true;

    /// <summary>
    /// Put before questions: texts embedded with <c>EmbeddingGenerationOptions.AdditionalProperties["input_type"] = "query"</c>.
    /// </summary>
    public string QueryPrefix { get; set; } = "";

    /// <summary>Put before all other texts.</summary>
    public string DocumentPrefix { get; set; } = "";

    /// <summary>Ends each text with eos; null does what the checkpoint's tokenizer says (<c>add_eos_token</c>).</summary>
    public bool? AppendEndToken { get; set; }

    /// <summary>Most tokens of a text, bos included; null takes the context.</summary>
    public int? MaxTokens { get; set; }

    /// <summary>Name of the adapter (LoRA) to compute with, one of <see cref="GemmaModel.Adapters"/>; null takes the base model.</summary>
    public string? Adapter { get; set; }

    /// <summary>Embeds the beginning of a text that is too long. Otherwise it is refused with <see cref="GemmaContextLengthException"/>.</summary>
    public bool Truncate { get; set; }

    /// <summary>
    /// Settings of BAAI/bge-multilingual-gemma2: last token, length 1, questions as <c>&lt;instruct&gt;{task}\n&lt;query&gt;{text}</c>, documents bare
    /// (its model card).
    /// </summary>
    /// <param name="task">What a question is for, in a sentence.</param>
    public static GemmaEmbeddingOptions BgeMultilingualGemma2(string task = "Given a web search query, retrieve relevant passages that answer the query.")
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(task);
        return new() { Pooling = GemmaEmbeddingPooling.LastToken, QueryPrefix = $"<instruct>{task}\n<query>" };
    }

    internal GemmaEmbeddingOptions Clone() => (GemmaEmbeddingOptions)MemberwiseClone();
}
