using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>
/// Everything that one answer can be asked for with, in Gemma's own terms. Return one from <see cref="ChatOptions.RawRepresentationFactory"/>: what
/// is set here wins over the same member of <see cref="ChatOptions"/>, which wins over what the checkpoint ships
/// (<c>generation_config.json</c>), which wins over Google's recommendation for Gemma (temperature 1, top-k 64, top-p 0.95).
/// </summary>
public sealed class GemmaGenerationOptions
{
    internal const int MaxTopLogProbabilities = 20;

    /// <summary>0 always takes the most probable token; higher is more varied.</summary>
    public float? Temperature { get; set; }

    /// <summary>Keeps the k most probable tokens; 0 keeps all.</summary>
    public int? TopK { get; set; }

    /// <summary>Keeps the smallest set of tokens whose probabilities sum to p, over 0 to 1; 1 keeps all.</summary>
    public float? TopP { get; set; }

    /// <summary>
    /// Keeps tokens with at least this fraction of the best token's probability, 0 to 1; 0 keeps all. Also read from
    /// <see cref="ChatOptions.AdditionalProperties"/> as <c>min_p</c>.
    /// </summary>
    public float? MinP { get; set; }

    /// <summary>Subtracted from a token's logit for each time it was generated.</summary>
    public float? FrequencyPenalty { get; set; }

    /// <summary>Subtracted from a token's logit once it was generated.</summary>
    public float? PresencePenalty { get; set; }

    /// <summary>
    /// Divides positive and multiplies negative logits of tokens that occur in prompt or answer; 1 is off. Also read from
    /// <see cref="ChatOptions.AdditionalProperties"/> as <c>repetition_penalty</c>.
    /// </summary>
    public float? RepetitionPenalty { get; set; }

    /// <summary>
    /// Added to the logits of tokens by id. Also read from <see cref="ChatOptions.AdditionalProperties"/> as <c>logit_bias</c> (an object or
    /// dictionary with ids as keys).
    /// </summary>
    public IReadOnlyDictionary<int, float>? LogitBias { get; set; }

    /// <summary>The same seed gives the same text on the same machine and kernel tier; null draws one.</summary>
    public long? Seed { get; set; }

    /// <summary>
    /// Reports each token of the answer with its log probability and so many of the most likely tokens at its place, 0 to 20; null reports nothing and costs
    /// nothing. Read them with <see cref="GemmaLogProbabilitiesExtensions.GetLogProbabilities(ChatResponseUpdate)"/>.
    /// </summary>
    public int? TopLogProbabilities { get; set; }

    /// <summary>Distribution that <see cref="TopLogProbabilities"/> are taken from; the model's own unless set.</summary>
    public GemmaLogProbabilitySource? LogProbabilitySource { get; set; }

    /// <summary>Most tokens to generate; null goes on to the end of the context.</summary>
    public int? MaxOutputTokens { get; set; }

    /// <summary>Texts that end the answer. They are not part of it.</summary>
    public IList<string>? StopSequences { get; set; }

    /// <summary>
    /// Name of the adapter (LoRA) to answer with, one of <see cref="GemmaModel.Adapters"/>; null takes the base model. Also read from
    /// <see cref="ChatOptions.AdditionalProperties"/> as <c>adapter</c>.
    /// </summary>
    public string? Adapter { get; set; }

    /// <summary>Requests of a higher number are answered first; 0 unless set.</summary>
    public int? Priority { get; set; }

    /// <summary>Whom the request is for, e.g. a user's id. Callers that wait share the engine evenly.</summary>
    public string? Caller { get; set; }

    /// <summary>Time after which the request fails with <see cref="TimeoutException"/>, waiting and the compilation of the answer's grammar included; null or <see cref="System.Threading.Timeout.InfiniteTimeSpan"/>: none.</summary>
    public TimeSpan? Timeout { get; set; }

    /// <summary>An ECMA-262 regular expression, without look-behind and back-references, that the whole answer must match. Not together with another form of the answer.</summary>
    public string? Regex { get; set; }

    /// <summary>A grammar in GBNF that the whole answer must follow. Not together with another form of the answer.</summary>
    public string? Grammar { get; set; }

    /// <summary>Ignore what a JSON schema asks for and cannot be enforced, instead of refusing the request.</summary>
    public bool? LenientSchemas { get; set; }

    /// <summary>
    /// The .NET type that a JSON answer is deserialized to, with the serializer options. Schemas say less than types (an <c>int</c> is any integer, <c>byte[]</c> and flags
    /// are any text), and only the schema comes with <see cref="ChatOptions.ResponseFormat"/>; with the type, whatever is answered can be read. <c>GetResponseAsync&lt;T&gt;</c> of
    /// <see cref="GemmaAnswerTypeExtensions"/> sets it, <see cref="GemmaAnswerTypeExtensions.WithResponseType{T}"/> does for agents. Parameters of functions need nothing: their types are known.
    /// </summary>
    public JsonTypeInfo? ResponseTypeInfo { get; set; }

    /// <summary>
    /// Write the format "time" of JSON schemas with an offset ("10:30:00Z"), as RFC 3339 says. Otherwise it has none, as System.Text.Json reads a
    /// <see cref="TimeOnly"/>.
    /// </summary>
    public bool? Rfc3339Times { get; set; }

    /// <summary>
    /// Most characters (Unicode scalar values) of texts and names of properties that a JSON schema does not bound itself, in answers and in arguments of tools, so that no text runs on to
    /// the end of <see cref="MaxOutputTokens"/>; null: no limit. A text that has to be longer, by <c>minLength</c> or a pattern, is left as the schema says.
    /// </summary>
    public int? MaxStringLength { get; set; }

    /// <summary>
    /// The order of an object's declared properties, in answers and in arguments of tools; null is <see cref="GemmaPropertyOrder.Schema"/>.
    /// </summary>
    public GemmaPropertyOrder? PropertyOrder { get; set; }

    /// <summary>A copy with the type as which the answer is read.</summary>
    internal GemmaGenerationOptions WithResponseType(JsonTypeInfo type)
    {
        GemmaGenerationOptions copy = (GemmaGenerationOptions)MemberwiseClone();
        copy.ResponseTypeInfo = type;
        return copy;
    }
}

/// <summary>The order of properties in objects that are generated under a JSON schema.</summary>
public enum GemmaPropertyOrder
{
    /// <summary>That of the schema, and all others after them: what a model has to know first can be declared first.</summary>
    Schema,

    /// <summary>Any. Masks take a little longer, since any set of properties may have come before.</summary>
    Any,
}
