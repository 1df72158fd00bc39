using System.Collections.Concurrent;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI;

public sealed partial class GemmaModel
{
    private readonly ConcurrentDictionary<string, LoraWeights> _adapters;

    /// <summary>Names of the adapters that requests may ask for, in alphabetical order.</summary>
    public IReadOnlyList<string> Adapters => [.. _adapters.Keys.Order(StringComparer.OrdinalIgnoreCase)];

    /// <summary>
    /// Adds a low-rank adapter (LoRA) to the loaded model under a name that requests give in <see cref="GemmaGenerationOptions.Adapter"/>. The base
    /// is not changed: any number of adapters share it, requests of different ones run in one batch, and each costs the memory of its own factors as
    /// float32. <see cref="GemmaOptions.Adapters"/> loads adapters with the model.
    /// </summary>
    /// <param name="name">Any name that is not taken; case does not matter.</param>
    /// <param name="path">A directory that PEFT saved (adapter_config.json and adapter_model.safetensors), or a GGUF adapter.</param>
    /// <exception cref="ArgumentException">The name is blank or taken.</exception>
    /// <exception cref="GemmaModelFormatException">The adapter is missing, damaged, of a kind that is not supported, or was trained for another base.</exception>
    public void LoadAdapter(string name, string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        if (_adapters.ContainsKey(name) || !_adapters.TryAdd(name, ReadAdapter(name, path, Config, Backend)))
        {
            throw new ArgumentException($"An adapter '{name}' is loaded already. Give another name, or unload that one first.", nameof(name));
        }
    }

    /// <summary>Takes an adapter away from requests to come; those that run with it finish, then its memory is freed. False: there was none of that name.</summary>
    public bool UnloadAdapter(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return _adapters.TryRemove(name, out _);
    }

    /// <summary>The adapter of a request; null where it names none.</summary>
    /// <exception cref="ArgumentException">There is no such adapter.</exception>
    internal LoraWeights? FindAdapter(string? name)
    {
        if (string.IsNullOrEmpty(name))
        {
            return null;
        }

        return _adapters.TryGetValue(name, out LoraWeights? adapter) ? adapter : throw new ArgumentException(
            $"The request asks for the adapter '{name}', but {(_adapters.IsEmpty ? "no adapter is loaded" : $"only these are loaded: {string.Join(", ", Adapters)}")}. Load it with {nameof(GemmaOptions)}.{nameof(GemmaOptions.Adapters)} or {nameof(GemmaModel)}.{nameof(LoadAdapter)}.", nameof(name));
    }

    private static LoraWeights ReadAdapter(string name, string path, GemmaConfig config, Backends.Backend backend)
    {
        using LoraFile file = LoraFile.Open(path);
        return LoraWeights.Load(name, file, config, backend);
    }
}
