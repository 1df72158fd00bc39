using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma tokenize</c>: text to token ids.</summary>
internal static class TokenizeCommand
{
    public static Command Create()
    {
        Option<string?> model = CommonOptions.Model();
        model.Description = "A model, or a bare tokenizer file (tokenizer.model, tokenizer.json). Default: the environment variable GEMMA_MODEL, else nano.";
        Option<string?> text = new("--text") { Description = "The text.", HelpName = "text" };
        Option<FileInfo?> file = new("--file", "-f") { Description = "A UTF-8 file with the text.", HelpName = "path" };
        Option<FileInfo?> cases = new("--cases") { Description = "A JSON array of {\"text\": …}; prints one JSON array of ids a line.", HelpName = "path" };
        Option<bool> json = CommonOptions.Json();
        Command command = new("tokenize", "Show how a model splits text, as SentencePiece does: no bos added, turn markers matched.\n\nExample:\n  gemma tokenize --model tokenizer.model --text \"Hello, world!\" --json")
        {
            model, text, file, cases, json,
        };
        command.Validators.Add(result =>
        {
            int given = (result.GetResult(text) is null ? 0 : 1) + (result.GetResult(file) is null ? 0 : 1) + (result.GetResult(cases) is null ? 0 : 1);
            if (given != 1)
            {
                result.AddError("Give exactly one of --text, --file and --cases.");
            }
        });
        command.SetAction(async (parsed, cancellationToken) =>
        {
            TextWriter output = parsed.Host().Output;
            GemmaTokenizer tokenizer = OpenTokenizer(CommonOptions.ModelOrDefault(parsed.GetValue(model)));
            if (parsed.GetValue(cases) is { } casesFile)
            {
                foreach (string caseText in await ReadCasesAsync(casesFile, cancellationToken))
                {
                    output.WriteLine(JsonSerializer.Serialize(Encode(tokenizer, caseText), CliJson.Default.ListInt32));
                }

                return;
            }

            string given = parsed.GetValue(file) is { } textFile ? await File.ReadAllTextAsync(textFile.FullName, cancellationToken) : parsed.GetValue(text)!;
            List<int> ids = Encode(tokenizer, given);
            if (parsed.GetValue(json))
            {
                output.WriteLine(JsonSerializer.Serialize(ids, CliJson.Default.ListInt32));
                return;
            }

            foreach (int id in ids)
            {
                // A byte that is part of a character says nothing alone: it is shown as the vocabulary spells it, <0xC3>.
                string piece = tokenizer.GetKind(id) == TokenKind.Byte ? tokenizer.GetPiece(id) : tokenizer.Decode([id]);
                output.WriteLine($"{id,7}  \"{JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(piece)}\"");
            }

            output.WriteLine($"{ids.Count:N0} tokens");
        });
        return command;
    }

    private static List<int> Encode(GemmaTokenizer tokenizer, string text)
    {
        List<int> ids = [];
        tokenizer.Encode(text, ids, matchSpecial: true);
        return ids;
    }

    /// <summary>From a bare tokenizer file or from any model.</summary>
    private static GemmaTokenizer OpenTokenizer(string path)
    {
        if (File.Exists(path) && IsTokenizer(path))
        {
            return GemmaTokenizer.FromFile(path);
        }

        using ModelFile file = ModelFile.Open(ModelAliases.Find(path, out string? problem) ?? throw new GemmaModelFormatException(problem!), checkScales: false);
        return file.CreateTokenizer();
    }

    /// <summary>Files of models are known by name or by their first bytes; what is left can only be a vocabulary, whatever it is called.</summary>
    private static bool IsTokenizer(string path)
    {
        if (Path.GetFileName(path) is HuggingFaceModelFile.ConfigName or HuggingFaceModelFile.IndexName
            || Path.GetExtension(path).ToLowerInvariant() is ".gguf" or ".safetensors")
        {
            return false;
        }

        using FileStream stream = MappedFile.OpenRead(path);
        Span<byte> magic = stackalloc byte[4];
        return stream.ReadAtLeast(magic, magic.Length, throwOnEndOfStream: false) == magic.Length && !magic.SequenceEqual("GGUF"u8);
    }

    private static async Task<List<string>> ReadCasesAsync(FileInfo file, CancellationToken cancellationToken)
    {
        await using FileStream stream = file.OpenRead();
        using JsonDocument document = await ParseAsync(file, stream, cancellationToken);
        return document.RootElement.ValueKind == JsonValueKind.Array
            ? [.. document.RootElement.EnumerateArray().Select((item, i) =>
                item.ValueKind == JsonValueKind.Object && item.TryGetProperty("text", out JsonElement text) && text.ValueKind == JsonValueKind.String
                    ? text.GetString()!
                    : throw new FormatException($"Element {i} of '{file.FullName}' has no string 'text'. Expected a JSON array of {{\"text\": \"…\"}}."))]
            : throw new FormatException($"'{file.FullName}' holds a JSON {document.RootElement.ValueKind}, expected an array of {{\"text\": \"…\"}}.");
    }

    private static async Task<JsonDocument> ParseAsync(FileInfo file, FileStream stream, CancellationToken cancellationToken)
    {
        try
        {
            return await JsonDocument.ParseAsync(stream, cancellationToken: cancellationToken);
        }
        catch (JsonException e)
        {
            throw new FormatException($"'{file.FullName}' is not valid JSON, expected an array of {{\"text\": \"…\"}}: {e.Message}", e);
        }
    }
}
