using System.CommandLine;
using System.Globalization;
using System.Numerics.Tensors;
using System.Text;
using Gemma.Extensions.AI.Cli.Terminal;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma embed</c>: texts as vectors.</summary>
internal static class EmbedCommand
{
    public static Command Create()
    {
        ModelArguments model = new();
        Argument<string[]> texts = new("text") { Description = "Texts to embed. Without any, each line of the input is one.", Arity = ArgumentArity.ZeroOrMore };
        Option<FileInfo?> file = new("--file", "-f") { Description = "A UTF-8 file with a text a line.", HelpName = "path" };
        Option<string> pooling = new("--pooling") { Description = "What a vector is made of: the mean of all tokens, or the last one.", HelpName = "mean|last", DefaultValueFactory = _ => "mean" };
        pooling.AcceptOnlyFromAmong("mean", "last");
        Option<bool> similarity = new("--similarity") { Description = "Print how alike the texts are, each to each (cosine, -1 to 1), instead of their vectors." };
        Option<bool> truncate = new("--truncate") { Description = "Embed the beginning of a text that is longer than the context. Otherwise it is refused." };
        Command command = new("embed", "Turn texts into vectors, a JSON array a line. Each has length 1.\n\nExamples:\n  gemma embed \"a red car\" \"a scarlet automobile\" --similarity\n  gemma embed --file titles.txt > vectors.jsonl") { texts, file, pooling, similarity, truncate };
        model.AddTo(command);
        command.SetAction(async (parsed, cancellationToken) =>
        {
            CliInvocation host = parsed.Host();
            string[] given = await ReadAsync(parsed.GetValue(texts) ?? [], parsed.GetValue(file), host, cancellationToken);
            GemmaOptions options = model.Read(parsed);
            using GemmaModel loaded = host.Load(options.ModelPath!, options, cancellationToken);
            GemmaEmbeddingOptions how = new()
            {
                Pooling = parsed.GetRequiredValue(pooling) == "last" ? GemmaEmbeddingPooling.LastToken : GemmaEmbeddingPooling.Mean,
                Truncate = parsed.GetValue(truncate),
            };
            using IEmbeddingGenerator<string, Embedding<float>> generator = loaded.AsIEmbeddingGenerator(how);
            GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync(given, cancellationToken: cancellationToken);
            foreach (Embedding<float> vector in vectors)
            {
                host.Output.WriteLine(parsed.GetValue(similarity)
                    ? string.Join("  ", vectors.Select(other => TensorPrimitives.CosineSimilarity(vector.Vector.Span, other.Vector.Span).ToString("F3", CultureInfo.InvariantCulture)))
                    : Json(vector.Vector.Span));
            }
        });
        return command;
    }

    private static async Task<string[]> ReadAsync(string[] given, FileInfo? file, CliInvocation host, CancellationToken cancellationToken)
    {
        if (given.Length > 0 && file is not null)
        {
            throw new ArgumentException("Texts were given, and --file. Give one of the two.");
        }

        string[] texts = given.Length > 0 ? given
            : (file is not null ? await File.ReadAllTextAsync(file.FullName, cancellationToken) : await PromptInput.ReadAsync(PromptInput.Standard, "The text", host, cancellationToken))
                .ReplaceLineEndings("\n").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return texts.Length > 0 ? texts : throw new ArgumentException($"'{file}' holds no text to embed.");
    }

    private static string Json(ReadOnlySpan<float> vector)
    {
        StringBuilder text = new("[");
        for (int i = 0; i < vector.Length; i++)
        {
            text.Append(i > 0 ? "," : "").Append(vector[i].ToString("R", CultureInfo.InvariantCulture));
        }

        return text.Append(']').ToString();
    }
}
