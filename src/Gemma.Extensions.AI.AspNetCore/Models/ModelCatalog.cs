using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.AspNetCore.Models;

/// <summary>The kind of result a request asks for: text or vectors.</summary>
internal enum ModelPurpose
{
    Chat,
    Embeddings,
}

/// <summary>The models of a server by name. These are the chat clients and embedding generators of the services; a host with models of its own overrides <see cref="Models"/>.</summary>
internal class ModelCatalog(IServiceProvider provider, IServiceCollection services)
{
    /// <summary>Name of a model without key whose client says none.</summary>
    private const string Unnamed = "default";

    private readonly Lazy<IReadOnlyList<ServedModel>> _registered = new(() => Find(provider, services), LazyThreadSafetyMode.PublicationOnly);

    public virtual IReadOnlyList<ServedModel> Models => _registered.Value;

    /// <summary>
    /// The model that a request names, with an adapter behind an @. Where there is one model for the purpose, any name means it: clients are configured with names of services that
    /// they know, and cannot always be told another.
    /// </summary>
    /// <exception cref="ServerErrorException">There is no such model or adapter.</exception>
    public ModelChoice Resolve(string? name, ModelPurpose purpose)
    {
        IReadOnlyList<ServedModel> models = [.. Models.Where(model => purpose == ModelPurpose.Chat ? model.Chat is not null : model.Embeddings is not null)];
        if (models.Count == 0)
        {
            throw new ServerErrorException(new(ErrorKind.NotFound, $"No model is served that can {Verb(purpose)}.", "model_not_found", "model"));
        }

        if (string.IsNullOrEmpty(name))
        {
            return models.Count == 1 ? new(models[0], null)
                : throw new ServerErrorException(new(ErrorKind.InvalidRequest, $"'model' is missing. Models: {Names(models)}.", Parameter: "model"));
        }

        int at = name.LastIndexOf('@');
        string? adapter = null;
        ServedModel? model = ByName(Models, name);
        if (model is null && at >= 0)
        {
            adapter = name[(at + 1)..];
            model = ByName(Models, name[..at]);
        }

        if (model is null && models.Count == 1)
        {
            model = models[0];
            adapter = at >= 0 ? name[(at + 1)..] : null;
        }

        string? found = adapter is null ? null : model?.Adapters.FirstOrDefault(other => string.Equals(other, adapter, StringComparison.OrdinalIgnoreCase));
        found ??= string.IsNullOrEmpty(adapter) || model?.Remote is null ? null : adapter; // whoever computes it knows best, and refuses others
        if (model is null || !models.Contains(model) || (adapter is not null && found is null))
        {
            string what = model is null || models.Contains(model) ? $"There is no model '{name}'" : $"The model '{name}' cannot {Verb(purpose)}";
            throw new ServerErrorException(new(ErrorKind.NotFound, $"{what}. Models that can: {Names(models)}.", "model_not_found", "model"));
        }

        return new(model, found);
    }

    /// <summary>The model of a name, whatever it can do.</summary>
    /// <exception cref="ServerErrorException">There is no such model.</exception>
    public ModelChoice Find(string? name) =>
        Choices().Where(choice => string.Equals(choice.Name, name, StringComparison.OrdinalIgnoreCase)).Concat(
            Models.Where(model => Models.Count == 1 || string.Equals(model.OtherName, name, StringComparison.OrdinalIgnoreCase)).Select(static model => new ModelChoice(model, null)))
        .Cast<ModelChoice?>().FirstOrDefault()
        ?? throw new ServerErrorException(new(ErrorKind.NotFound, $"There is no model '{name}'. Models: {Names(Models)}.", "model_not_found", "model"));

    /// <summary>Told of a model that a client had downloaded.</summary>
    public virtual void Pulled(string reference)
    {
    }

    /// <summary>Every name that may be asked for, models before their adapters.</summary>
    public IEnumerable<ModelChoice> Choices() => Models.SelectMany(model => model.Adapters.Select(adapter => new ModelChoice(model, adapter)).Prepend(new ModelChoice(model, null)));

    private static string Verb(ModelPurpose purpose) => purpose == ModelPurpose.Chat ? "chat" : "embed texts";

    /// <summary>Names before other names, and either in any case, since they are often typed.</summary>
    private static ServedModel? ByName(IEnumerable<ServedModel> models, string name) =>
        models.FirstOrDefault(model => string.Equals(model.Name, name, StringComparison.OrdinalIgnoreCase))
        ?? models.FirstOrDefault(model => string.Equals(model.OtherName, name, StringComparison.OrdinalIgnoreCase));

    private static string Names(IEnumerable<ServedModel> models) =>
        string.Join(", ", models.SelectMany(model => model.Adapters.Select(adapter => $"{model.Name}@{adapter}").Prepend(model.Name)));

    private static List<ServedModel> Find(IServiceProvider provider, IServiceCollection services)
    {
        Type[] served = [typeof(IChatClient), typeof(IEmbeddingGenerator<string, Embedding<float>>)];
        object?[] keys = [.. services.Where(service => served.Contains(service.ServiceType) && service.ServiceKey != KeyedService.AnyKey).Select(service => service.ServiceKey).Distinct()];
        List<ServedModel> models = [];
        foreach (object? key in keys)
        {
            // Of several registrations under one key the last one counts, as everywhere with services.
            Func<IChatClient>? chat = Has(typeof(IChatClient), key) ? () => Get<IChatClient>(key) : null;
            Func<IEmbeddingGenerator<string, Embedding<float>>>? embeddings =
                Has(typeof(IEmbeddingGenerator<string, Embedding<float>>), key) ? () => Get<IEmbeddingGenerator<string, Embedding<float>>>(key) : null;
            string name = key?.ToString() is { Length: > 0 } text ? text : NameOf(chat, embeddings);
            models.Add(new ServedModel(models.Any(other => other.Name == name) ? $"{name}-{models.Count + 1}" : name, chat, embeddings));
        }

        return models;

        bool Has(Type type, object? key) => services.Any(service => service.ServiceType == type && Equals(service.ServiceKey, key));

        T Get<T>(object? key) where T : notnull => key is null ? provider.GetRequiredService<T>() : provider.GetRequiredKeyedService<T>(key);
    }

    private static string NameOf(Func<IChatClient>? chat, Func<IEmbeddingGenerator<string, Embedding<float>>>? embeddings) =>
        new ServedModel("", chat, embeddings).OtherName is { Length: > 0 } name ? name : Unnamed;
}
