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
}

/// <summary>A model on disk: its numbers, its named tensors over a memory map, and its tokenizer.</summary>
internal abstract class ModelFile : IDisposable
{
    /// <summary>Full path of the file or directory that was opened.</summary>
    public abstract string Path { get; }

    /// <summary>Name of the model: general.name, or the name of the directory or file.</summary>
    public abstract string Name { get; }

    public abstract GemmaConfig Config { get; }

    /// <summary>Tensors by canonical (GGUF) name.</summary>
    public abstract IReadOnlyDictionary<string, TensorView> Tensors { get; }

    /// <summary>GGUF stores norm weights as 1 + w (true), Hugging Face checkpoints as w (false).</summary>
    public abstract bool NormsIncludeOne { get; }

    public abstract GenerationDefaults GenerationDefaults { get; }

    /// <summary>Builds the tokenizer that the model carries.</summary>
    public abstract GemmaTokenizer CreateTokenizer();

    public abstract void Dispose();
}
