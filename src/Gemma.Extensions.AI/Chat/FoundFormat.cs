using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Chat;

/// <summary>
/// The prompt format that was found for a model, or why none was. A template that cannot be used does not prevent what needs no conversation: embeddings,
/// raw prompts, measuring.
/// </summary>
internal sealed class FoundFormat
{
    /// <summary>Note on a template that describes tools itself.</summary>
    public const string ToolPlace = "The chat template has a place of its own for tools. It is not used: tools are described in the system text and called with <tool_call>, as in every format.";

    private readonly ChatFormat? _format;
    private readonly GemmaModelFormatException? _problem;

    private FoundFormat(ChatFormat? format, GemmaModelFormatException? problem) => (_format, _problem) = (format, problem);

    /// <exception cref="GemmaModelFormatException">The checkpoint's template cannot be used.</exception>
    public ChatFormat Format => _format ?? throw new GemmaModelFormatException(_problem!.Message, _problem);

    /// <summary>The problem; null if there is none.</summary>
    public string? Problem => _problem?.Message;

    /// <summary>Without a vocabulary at hand: one that cannot be read is a problem like another.</summary>
    public static FoundFormat Find(ModelFile file)
    {
        try
        {
            return Find(file, file.CreateTokenizer(), null);
        }
        catch (GemmaModelFormatException e)
        {
            return new FoundFormat(null, e);
        }
    }

    /// <summary>The forced format, else the checkpoint's; the log says which, and what ends a turn.</summary>
    public static FoundFormat Find(ModelFile file, GemmaTokenizer tokenizer, GemmaChatFormat? forced, ILogger? log = null)
    {
        try
        {
            const string Option = "GemmaOptions.ChatFormat";
            ChatFormat format = forced switch
            {
                GemmaChatFormat.Gemma => TurnFormat.Gemma(tokenizer, Option),
                GemmaChatFormat.GemmaSystem => TurnFormat.GemmaSystem(tokenizer, Option),
                GemmaChatFormat.ChatML => TurnFormat.ChatML(tokenizer, Option),
                _ => ChatFormats.Resolve(tokenizer, file.ReadChatTemplate()),
            };
            log?.LogInformation(
                "{Path} Conversations are written in the format '{Format}' ({Source}); answers end with the tokens {StopIds}.", file.Path, format.Name, format.Source, string.Join(", ", format.StopTokens(EndTokens.Of(file, tokenizer))));
            if (format.HasToolPlace)
            {
                log?.LogInformation("{Path} {ToolPlace}", file.Path, ToolPlace);
            }

            return new FoundFormat(format, null);
        }
        catch (GemmaModelFormatException e)
        {
            log?.LogWarning("{Path} {Problem}", file.Path, e.Message);
            return new FoundFormat(null, e);
        }
    }
}
