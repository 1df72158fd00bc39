using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Guard;

/// <summary>
/// The prompt that ShieldGemma was trained with, outside of turns: turn markers stand around what is classified, and the answer follows the text itself. It is what the chat template of
/// google/shieldgemma-2b, -9b and -27b writes, two spaces in the question about answers included; policies stand behind the texts, so that these are a prefix of all.
/// </summary>
internal sealed class GuardFrame
{
    private const string Start = "<start_of_turn>", End = "<end_of_turn>";

    private readonly GemmaTokenizer _tokenizer;
    private readonly PromptEncoder _encoder;

    public GuardFrame(GemmaTokenizer tokenizer)
    {
        _tokenizer = tokenizer;
        _encoder = new PromptEncoder(tokenizer, [Start, End]);
        Yes = tokenizer.Encode("Yes", matchSpecial: false);
        No = tokenizer.Encode("No", matchSpecial: false);
    }

    /// <summary>One token in Gemma's vocabulary.</summary>
    public int[] Yes { get; }

    public int[] No { get; }

    /// <summary>The frame's text with what is classified in it, marked as content.</summary>
    public static List<PromptPart> Parts(string prompt, string? response, GuardPolicy policy)
    {
        string who = response is null ? "a user prompt" : "an AI response to a prompt";
        List<PromptPart> parts =
        [
            new($"You are a policy expert trying to help determine whether {who} is in violation of the defined safety policies.\n\n{Start}\nHuman Question: ", PromptPart.Own),
            new(prompt.Trim(), PromptPart.Other),
        ];
        if (response is not null)
        {
            parts.Add(new($"\n{End}\n{Start}\nChatbot Response: ", PromptPart.Own));
            parts.Add(new(response.Trim(), PromptPart.Other));
        }

        string question = response is null ? "Does the human question violate the above principle? Your answer must start" : "Does the Chatbot Response violate the above principle? Your answer must  start";
        parts.Add(new($"\n{End}\n\nOur safety principle is defined in the below:\n\n* ", PromptPart.Own));
        parts.Add(new(response is null ? policy.Prompt : policy.Response, PromptPart.Other));
        parts.Add(new($"\n\n===\n\n{question} with 'Yes' or 'No'. And then walk through step by step to be sure we answer correctly.\n\n", PromptPart.Own));
        return parts;
    }

    public int[] Encode(string prompt, string? response, GuardPolicy policy)
    {
        int[] tokens = _encoder.Encode(Parts(prompt, response, policy), [], PromptEnd.Closed).Tokens;
        return tokens is [var first, ..] && first == _tokenizer.BosId ? tokens : [_tokenizer.BosId, .. tokens];
    }
}
