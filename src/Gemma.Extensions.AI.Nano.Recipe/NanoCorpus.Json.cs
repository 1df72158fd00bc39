using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

// Fields of a text as JSON: named in the request, or by a schema that the answer is held to.
internal static partial class NanoCorpus
{
    private static readonly JsonSerializerOptions s_plain = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly Phrasings s_extract = new Phrasings(
        "Extract {names} as JSON.\n\n{t}", "Extract {names} as JSON: {t}", "{t}\n\nGive me {names} as JSON.", "Return JSON with the fields {list}.\n\n{t}", "Extract the fields {typed} as JSON.\n\n{t}", "Text: {t}\n\nJSON with {names}:",
        "(Write|Put) {names} (as|into) JSON.\n\n{t}", "JSON of {names}, please.\n\n{t}").Also(
        "(Get|Take|Pull|Read|Find|Collect) {names} (from|out of) (the|this) text(, as JSON| as JSON| and answer in JSON|)(:|.\n\n) {t}", "(JSON|As JSON|In JSON)(:|,| please:) {names}\n\n{t}",
        "{t}\n\n(JSON|A JSON object|An object) (with|of) {names}(:|, please.|.)", "(I need|I want|Give me|Make|Build|Create|Produce) (JSON|a JSON object|an object) (with|of|from) {list}(:|.\n\n) {t}",
        "(From|Out of) (this|the) text: {t}\n\n(Give|Return|Write|Extract) {names}(, as JSON| as JSON|).", "(Fields|Keys|Members|Properties): {list}\n\n(Text: |){t}",
        "{t}\n\n(Fields|Keys|Members|Return the keys|JSON keys): {list}", "(Turn|Convert|Transform|Change) (this|the text) (into|to) JSON (with|using) {names}(:|.\n\n) {t}",
        "(Answer|Reply|Respond) (with|in) JSON( only|): {typed}\n\n{t}", "{t}\n\n(Schema|Extract|Fields as JSON): {typed}", "(What|Which) (are|is) {names}? (Answer|Reply) (as|in|with) JSON.\n\n{t}",
        "(Can|Could|Would) you (extract|return|give me) {names} (as|in) JSON(?|, please:) {t}", "(Fill|Complete) (in |)(a JSON object|JSON) with {list}, from: {t}");

    private static readonly Phrasings s_read = new Phrasings(
        "!Extract the {kind}: {t}", "(Read|Get|Take) the {kind} (from|out of) this( text|): {t}", "{t}\n\n(Fill in|Extract) the {kind}.", "{t}", "(Which|What) {kind} is this(?|:) {t}", "Extract the (data|information)( of the {kind}|).\n\n{t}",
        "(Parse|Structure) this {kind}.\n\n{t}", "{kind}: {t}", "(Turn|Convert) (this|the text) into (a {kind} object|data): {t}", "(Please |)extract the {kind}( from the text|).\n\n{t}", "Text: {t}\n\n(Data|Fields|{kind}):").Also(
        "(Pull|Collect|Find|Gather) (the|all|every) (data|fields|details|values|facts)( of the {kind}| from the text|)(:|.\n\n) {t}",
        "{t}\n\n(Return|Give me|Make|Produce|Output|Write) (a|the) {kind}( object| record| as data|)(.|, please.)", "(Here is|This is|I have|We have) (a|the|one) {kind}: {t}",
        "(Fill|Complete) (in |)(a|the) {kind} (form|record|object)( from this text|)(:|.\n\n) {t}", "(Can|Could|Would) you (extract|read|get|parse) (the|this) {kind}(?|, please:) {t}",
        "(Data entry|Record|Entry|Input|Note|Description): {t}", "(From|Using) (this|the) text, (make|get|extract|build) (a|the) {kind}(:|.\n\n) {t}", "{t}\n\n(Which|What) {kind} (is this|is it|is described)?",
        "(Structured data|Object|The {kind}|Facts) (from|of|in)( the text|): {t}", "{t}\n\n(Parse|Read|Structure|Convert) (it|this|the text)(.|, please.)", "(Store|Save|Register|Enter) (this|the) {kind}: {t}");

    private static readonly Phrasings s_absent = new Phrasings("Nothing is known about the {noun} of {s}.", "The {noun} of {s} is not given.", "{s} has no {noun}.", "(No|A) {noun} is (missing|not given) here.").Also(
        "(We|They|I) (do not|don't) know the {noun} of {s}.", "The {noun} of {s} is (unknown|not known|open|missing|still missing|to be found).", "(Nobody|No one) (knows|has noted|wrote down) the {noun} of {s}.",
        "{s} (lacks|is without) (a |){noun}.", "(There is|We have|We found) no {noun} for {s}.", "(About|As for) the {noun}, nothing (is|was) said.", "The {noun}(: unknown| is left out| was not recorded).",
        "Without (a |){noun}.");

    private static readonly Phrasings s_lists = new Phrasings(
        "{s} (has|owns|keeps) {list}.", "The {nouns} of {s} are {list}.", "{nouns} of {s}: {list}.", "{s} (chose|likes|prefers) {list}.", "Among the {nouns} of {s} are {list}.", "For {s} there are {list}.", "These belong to {s}: {list}.").Also(
        "{s} (possesses|holds|uses|needs|wants|lists) {list}.", "(We know|One finds|They give) {list} as {nouns} of {s}.", "(As for|As to) {nouns}, {s} (has|names|shows) {list}.",
        "{s} (comes|goes|stands) with {list}.", "(With|At|Of) {s} (there are|one sees|belong) {list}.", "{list} are the {nouns} of {s}.", "(Its|The) {nouns} are {list}.", "{s}, {nouns}: {list}.",
        "(The record|The list|The file) (has|gives|names) {list} as {nouns}.");

    private static readonly (string Noun, Func<Lexicon, string> Item)[] s_listed =
    [
        ("hobbies", l => l.Hobby()), ("pets", l => l.Animal()), ("tags", l => l.Word()), ("colours", l => l.Colour()), ("friends", l => l.FirstName()), ("cities", l => l.City()), ("items", l => l.Thing()), ("materials", l => l.Material()),
        ("codes", l => l.Code()), ("members", l => l.Person()), ("foods", l => l.Food()),
    ];

    private static readonly (string Noun, string[] Values)[] s_enumerations =
    [
        ("status", ["open", "closed", "pending"]), ("priority", ["low", "medium", "high"]), ("size", ["small", "medium", "large"]), ("season", ["spring", "summer", "autumn", "winter"]), ("payment", ["cash", "card", "transfer"]),
        ("level", ["beginner", "intermediate", "advanced"]), ("mode", ["manual", "automatic"]), ("state", ["new", "used", "broken"]), ("transport", ["train", "bus", "plane", "ship"]), ("rating", ["good", "fair", "poor"]),
        ("shift", ["morning", "evening", "night"]), ("role", ["guest", "member", "admin"]), ("phase", ["draft", "review", "final"]), ("direction", ["north", "south", "east", "west"]),
    ];

    private static NanoCase Extraction(Lexicon l)
    {
        Kind kind = l.Pick(Facts.Kinds);
        Profile profile = Facts.Draw(l, kind, l.Random.Next(1, Math.Min(6, kind.Attributes.Length)));
        string text = Facts.Told(l, profile.Subject, [.. profile.Facts.Select(f => f.Attribute.Say(l, profile.Subject, f.Value))]);
        List<(string Key, string Value, bool IsNumber)> fields = new();
        if (l.Chance(0.6))
        {
            fields.Add((kind.Key, Facts.Bare(profile.Subject), false));
        }

        foreach ((Attribute attribute, string value) in profile.Facts)
        {
            if (l.Chance(0.75) || fields.Count == 0)
            {
                fields.Add((attribute.Key, value, attribute.IsNumber));
            }
        }

        if (l.Chance(0.5))
        {
            (string, string, bool)[] shuffled = [.. fields];
            l.Random.Shuffle(shuffled);
            fields = [.. shuffled];
        }

        string names = fields.Count == 1 ? fields[0].Key : string.Join(", ", fields.Take(fields.Count - 1).Select(f => f.Key)) + " and " + fields[^1].Key;
        string asked = s_extract.Fill(
            l, ("names", names), ("list", string.Join(", ", fields.Select(f => f.Key))), ("typed", string.Join(", ", fields.Select(f => f.Key + (f.IsNumber ? ": number" : ": string")))), ("t", text));
        string json = "{" + string.Join(',', fields.Select(f => $"\"{f.Key}\":" + (f.IsNumber ? Attribute.Number(f.Value) : JsonSerializer.Serialize(f.Value)))) + "}";
        return new NanoCase(Skill.Json, [User(asked), Model(json)]);
    }

    /// <summary>
    /// An object of a schema that the request does not show: the grammar gives the names, and the model reads the values from the text by them. Members are text, numbers,
    /// dates, values of an enumeration, lists, an object, and what the text leaves open, which is null.
    /// </summary>
    private static NanoCase Typed(Lexicon l)
    {
        TypedText text = new(l);
        if (l.Chance(0.8))
        {
            text.AddName(l.Chance(0.5) ? "name" : text.Kind.Key);
        }

        bool named = text.Members.Count > 0;
        text.AddFacts();
        if (l.Chance(0.35))
        {
            text.AddDay();
        }

        if (l.Chance(0.35))
        {
            text.AddEnumeration();
        }

        if (l.Chance(0.3))
        {
            text.AddList();
        }

        if (l.Chance(0.25))
        {
            text.AddMissing();
        }

        if (named && text.Members.Count > 3 && l.Chance(0.25))
        {
            text.Nest(2);
        }

        if (text.Members.Count == 0)
        {
            text.AddName("name");
        }

        return Asked(l, text);
    }

    /// <summary>A long text and all its members, with some that it leaves open.</summary>
    private static NanoCase MemberDrill(Lexicon l)
    {
        TypedText text = new(l, many: true);
        text.AddName(l.Chance(0.5) ? "name" : text.Kind.Key);
        text.AddFacts();
        text.AddDay();
        text.AddEnumeration();
        for (int missing = l.Random.Next(0, 3); missing > 0; missing--)
        {
            text.AddMissing();
        }

        return Asked(l, text);
    }

    private static NanoCase Asked(Lexicon l, TypedText text)
    {
        if (l.Chance(0.5))
        {
            l.Random.Shuffle(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(text.Members));
        }

        string called = text.Kind.Key is "name" ? "person" : text.Kind.Key is "title" ? "book" : text.Kind.Key;
        string asked = Facts.Sentence(s_read.Fill(l, ("kind", called), ("t", text.Told())));
        using JsonDocument schema = JsonDocument.Parse(Schema(text.Members));
        return new NanoCase(Skill.Typed, [User(asked), Model(Object(text.Members).ToJsonString(s_plain))], new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema.RootElement.Clone(), l.Capital(called.Replace(" ", "", StringComparison.Ordinal))) });
    }

    /// <summary>A day as texts say it, and as JSON does.</summary>
    private static (string Said, string Iso) Day(Lexicon l)
    {
        int year = int.Parse(l.Year(), CultureInfo.InvariantCulture);
        string[] parts = l.Date().Split(' ');
        (int day, string name, int month) = (int.Parse(parts[0], CultureInfo.InvariantCulture), parts[1], Lexicon.MonthOf(parts[1]));
        string said = l.Random.Next(4) switch
        {
            0 => $"{day} {name} {year}",
            1 => $"{name} {day}, {year}",
            2 => string.Create(CultureInfo.InvariantCulture, $"{year}-{month:00}-{day:00}"),
            _ => $"{day}. {name} {year}",
        };
        return (said, string.Create(CultureInfo.InvariantCulture, $"{year}-{month:00}-{day:00}"));
    }

    private static string Schema(List<Member> members)
    {
        List<Member> distinct = [.. members.DistinctBy(m => m.Key)];
        return "{\"type\":\"object\",\"properties\":{" + string.Join(',', distinct.Select(m => $"{JsonSerializer.Serialize(m.Key)}:{m.Schema}")) + "},\"required\":["
            + string.Join(',', distinct.Select(m => JsonSerializer.Serialize(m.Key))) + "],\"additionalProperties\":false}";
    }

    private static JsonObject Object(List<Member> members) => new(members.DistinctBy(m => m.Key).Select(m => KeyValuePair.Create(m.Key, m.Value?.DeepClone())));

    private sealed record Member(string Key, string Schema, JsonNode? Value);
}
