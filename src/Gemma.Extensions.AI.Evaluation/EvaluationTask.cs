using System.Text.Json;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.Evaluation.Tasks;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>The kind of answer that a task asks for.</summary>
public enum EvaluationKind
{
    /// <summary>Its likelihoods choose among continuations of a prompt.</summary>
    Choices,

    /// <summary>It writes an answer, which is compared.</summary>
    Generate,

    /// <summary>It predicts the text itself.</summary>
    Perplexity,

    /// <summary>It is offered functions, and calls those that fit.</summary>
    Calls,
}

/// <summary>Ways to take examples from their split.</summary>
public enum FewShotSampling
{
    /// <summary>Drawn for each row, as lm-evaluation-harness draws them unless a task says otherwise.</summary>
    Random,

    /// <summary>The first of the split, the same for all rows: for splits that hold chosen examples.</summary>
    First,
}

/// <summary>
/// A task as data: how a row of a data set becomes a prompt, and what counts as right. Texts are templates in the subset of Jinja that chat templates use, over the fields of a row, as
/// lm-evaluation-harness has them; members called expressions are what stands between the braces, and give a list. A field that a row lacks is refused, not left out.
/// </summary>
public sealed record EvaluationTask
{
    private static readonly JsonSerializerOptions s_json = new(JsonSerializerDefaults.Web)
    {
        RespectNullableAnnotations = true,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        ReadCommentHandling = JsonCommentHandling.Skip,
        AllowTrailingCommas = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        WriteIndented = true,
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.CamelCase, allowIntegerValues: false) },
    };

    /// <summary>Name, as lm-evaluation-harness has it where the task is one of its.</summary>
    public required string Name { get; init; }

    /// <summary>The kind of answer that the task asks for.</summary>
    public required EvaluationKind Kind { get; init; }

    /// <summary>Description: what the task measures, and its caveats.</summary>
    public string? About { get; init; }

    /// <summary>Template of the prompt, or of the text that is predicted.</summary>
    public string? Prompt { get; init; }

    /// <summary>Expression: a prompt for each choice, instead of one for all; the continuation is then <see cref="Target"/>, the same for each.</summary>
    public string? Prompts { get; init; }

    /// <summary>Expression: the continuations to choose from.</summary>
    public string? Choices { get; init; }

    /// <summary>
    /// Expression: the place of the right choice (from 0), or a list of places; of a written answer the text that is right, or a list of such texts, or of lists of spans; the calls that are right, as
    /// <c>{"name": …, "arguments": {…}}</c> or as the Berkeley leaderboard writes them, <c>{"name": {"argument": [values that are right]}}</c>, with "" among the values where it may be left out.
    /// </summary>
    public string? Answer { get; init; }

    /// <summary>Expression: the functions that are offered, each with <c>name</c>, <c>description</c> and <c>parameters</c> (a JSON Schema), or such an object under <c>function</c>.</summary>
    public string? Tools { get; init; }

    /// <summary>Template of what an example in the prompt answers. Unless set, the right choice, or the first right text.</summary>
    public string? Target { get; init; }

    /// <summary>Template of a text before everything else.</summary>
    public string? Description { get; init; }

    /// <summary>Between a prompt and its answer.</summary>
    public string TargetDelimiter { get; init; } = " ";

    /// <summary>Between examples.</summary>
    public string ExampleDelimiter { get; init; } = "\n\n";

    /// <summary>Examples in the prompt.</summary>
    public int FewShot { get; init; }

    /// <summary>Split that examples are taken from.</summary>
    public string? FewShotSplit { get; init; }

    /// <summary>The way to take them from it.</summary>
    public FewShotSampling FewShotSampling { get; init; }

    /// <summary>A field that examples must share with the question, such as the subject.</summary>
    public string? FewShotMatch { get; init; }

    /// <summary>Split that is measured.</summary>
    public string Split { get; init; } = "test";

    /// <summary>A field whose values also get results of their own.</summary>
    public string? GroupBy { get; init; }

    /// <summary>Texts that end a written answer.</summary>
    public IReadOnlyList<string> Stop { get; init; } = [];

    /// <summary>Most tokens of a written answer.</summary>
    public int MaxTokens { get; init; } = 256;

    /// <summary>
    /// The metrics to compute. Choices: <c>acc</c> (the likeliest), <c>acc_norm</c> (the likeliest by character, as in lm-evaluation-harness), <c>acc_bytes</c> (by byte of UTF-8). Written
    /// answers: <c>exact_match</c>, <c>f1</c>, <c>drop_em</c>, <c>drop_f1</c>, <c>math</c>, and of answers from numbered passages <c>citation_precision</c>, <c>citation_recall</c> (the passages that the right
    /// answer cites) and <c>refusal</c> (something is cited exactly where the right answer does); none: the texts are only recorded. Perplexity: <c>byte_perplexity</c>, <c>bits_per_byte</c>,
    /// <c>word_perplexity</c>. Calls: <c>calls</c> (all are right, and no other was made), <c>functions</c> (whatever the arguments).
    /// </summary>
    public IReadOnlyList<string> Metrics { get; init; } = [];

    /// <summary>Ways to take the answer out of what was written, by name; each gives a value of every metric.</summary>
    public IReadOnlyList<AnswerExtraction> Extract { get; init; } = [];

    /// <summary>Normalization of both texts before they are compared.</summary>
    public AnswerNormalization Normalize { get; init; } = new();

    /// <summary>Functions for the templates, by name: each takes a text through steps.</summary>
    public IReadOnlyDictionary<string, IReadOnlyList<TextStep>> Functions { get; init; } = new Dictionary<string, IReadOnlyList<TextStep>>();

    /// <summary>Names of the tasks that come with the package.</summary>
    public static IReadOnlyList<string> BuiltIn => BuiltInTasks.Names;

    /// <summary>A task that comes with the package.</summary>
    /// <exception cref="ArgumentException">There is none of that name.</exception>
    public static EvaluationTask Find(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return Parse(BuiltInTasks.Read(name), name);
    }

    /// <summary>A task from a file: JSON (<c>.json</c>) or YAML (<c>.yaml</c>, <c>.yml</c>).</summary>
    /// <exception cref="FormatException">The file is no task; says what is wrong.</exception>
    public static EvaluationTask Load(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        string text = File.ReadAllText(path);
        return Parse(Path.GetExtension(path).ToUpperInvariant() is ".YAML" or ".YML" ? YamlText.ToJson(text, path) : text, path);
    }

    /// <summary>A task from JSON.</summary>
    /// <param name="json">The text.</param>
    /// <param name="source">Where it comes from, for messages.</param>
    /// <exception cref="FormatException">It is no task; says what is wrong.</exception>
    public static EvaluationTask Parse(string json, string source = "the task")
    {
        ArgumentNullException.ThrowIfNull(json);
        try
        {
            EvaluationTask task = JsonSerializer.Deserialize<EvaluationTask>(json, s_json) ?? throw new FormatException($"{source}: the task is null.");
            _ = new CompiledTask(task);
            return task;
        }
        catch (JsonException e)
        {
            throw new FormatException($"{source}: {e.Message}", e);
        }
    }

    /// <summary>The task as JSON, to change and load again.</summary>
    public string ToJson() => JsonSerializer.Serialize(this, s_json);
}

/// <summary>A way to take an answer out of what a model wrote.</summary>
public sealed record AnswerExtraction
{
    /// <summary>Name that metrics carry, e.g. <c>exact_match,strict-match</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Regular expression; its first group that took part is the answer, or the whole match. Where it does not match, the answer is <c>[invalid]</c>.</summary>
    public required string Pattern { get; init; }

    /// <summary>True if the last match counts instead of the first.</summary>
    public bool Last { get; init; }
}

/// <summary>Normalization of answers before they are compared.</summary>
public sealed record AnswerNormalization
{
    /// <summary>Regular expressions of what is left out, in this order, before anything else.</summary>
    public IReadOnlyList<string> Ignore { get; init; } = [];

    /// <summary>True if case is ignored.</summary>
    public bool IgnoreCase { get; init; }

    /// <summary>True if ASCII punctuation is removed.</summary>
    public bool IgnorePunctuation { get; init; }

    /// <summary>True if white space at both ends is removed.</summary>
    public bool Trim { get; init; }
}

/// <summary>A step of a function that changes a text: one of its members is set.</summary>
public sealed record TextStep
{
    /// <summary>Leaves out white space at both ends.</summary>
    public bool Trim { get; init; }

    /// <summary>A text that is replaced everywhere by <see cref="With"/>.</summary>
    public string? Find { get; init; }

    /// <summary>A regular expression whose matches are replaced by <see cref="With"/>.</summary>
    public string? Pattern { get; init; }

    /// <summary>The replacement, taken literally: groups of the pattern are not substituted.</summary>
    public string With { get; init; } = "";
}
