using System.Reflection;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>The tasks of the report on Gemma 2: formats only, no questions and no examples.</summary>
internal static class BuiltInTasks
{
    private const string Extension = ".json";

    public static IReadOnlyList<string> Names { get; } =
        [.. typeof(BuiltInTasks).Assembly.GetManifestResourceNames().Where(name => name.EndsWith(Extension, StringComparison.Ordinal)).Select(name => name[..^Extension.Length]).Order(StringComparer.Ordinal)];

    public static string Read(string name)
    {
        Assembly assembly = typeof(BuiltInTasks).Assembly;
        using Stream stream = (Names.Contains(name) ? assembly.GetManifestResourceStream(name + Extension) : null)
            ?? throw new ArgumentException($"There is no task '{name}'. There are: {string.Join(", ", Names)}. A task of your own is a file: EvaluationTask.Load.", nameof(name));
        using StreamReader reader = new(stream);
        return reader.ReadToEnd();
    }
}
