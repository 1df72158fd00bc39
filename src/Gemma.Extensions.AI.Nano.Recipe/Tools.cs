using System.Globalization;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>One request that a tool answers.</summary>
/// <param name="Request">What the user says.</param>
/// <param name="Arguments">Of the call, in schema order.</param>
/// <param name="Result">What the tool returns: a string, a number, or named values.</param>
/// <param name="Answer">What the model says then.</param>
internal sealed record ToolUse(string Request, (string Name, object Value)[] Arguments, object Result, string Answer);

/// <summary>A tool with a way to draw requests for it.</summary>
internal sealed record DrawnTool(string Name, string Noun, AITool Declaration, Func<ToolUse> Use)
{
    /// <summary>Draws what is asked next, in words that only the conversation explains; null where nothing of the kind is asked.</summary>
    public Func<ToolUse, ToolUse>? FollowUp { get; init; }

    /// <summary>Names of the parameters, in the order of the schema.</summary>
    public string[] Parameters { get; init; } = [];

    /// <summary>Draws a request about two things at once.</summary>
    public Func<(string Request, ToolUse First, ToolUse Second)>? Both { get; init; }
}

/// <summary>Draws tools: a verb and a noun, a signature, a description. The noun decides the split, so held-out tools are new to the model.</summary>
internal static partial class Tools
{
    private static readonly string[] s_modifiers = Lexicon.Words("current daily weekly monthly average local total latest next last maximum minimum main official");
    private static readonly string[] s_placeNouns = ["weather", "temperature", "humidity", "forecast", "rainfall", "wind speed", "air quality", "time", "population", "traffic", "water level", "altitude", "pollen count", "snow depth", "tide", "sunrise", "sunset", "mayor", "postal code", "area", "train schedule", "bus schedule", "noise level", "currency", "language", "news", "events", "hotels", "fuel price", "rent", "time zone", "holiday"];
    private static readonly string[] s_personNouns = ["email address", "phone number", "birthday", "office", "manager", "salary", "schedule", "address", "role", "department", "balance", "team", "calendar", "vacation days", "badge number", "login", "account", "age", "score", "rank", "invoice", "contract", "bonus", "shift"];
    private static readonly string[] s_itemNouns = ["price", "stock", "weight", "discount", "rating", "warranty", "status", "supplier", "size", "shelf", "delivery date", "color", "review", "tax", "cost", "barcode", "location", "owner", "version", "length", "height", "expiry date", "order", "shipment"];
    private static readonly string[] s_plainNouns = ["date", "time", "battery level", "volume", "user name", "weather", "moon phase", "exchange rate", "server status", "disk space", "memory usage", "temperature", "song", "backlog", "inbox", "agenda", "queue", "menu"];
    private static readonly string[] s_setNouns = ["volume", "brightness", "thermostat", "timer", "speed", "alarm level", "oven temperature", "heating", "fan speed", "budget", "price limit", "contrast", "zoom", "threshold", "humidity", "page size", "font size"];
    private static readonly string[] s_sendNouns = ["message", "email", "letter", "note", "memo", "text", "reply", "reminder", "invitation", "postcard", "report", "notification", "fax", "alert"];
    private static readonly string[] s_bookNouns = ["table", "hotel room", "flight", "taxi", "ticket", "boat", "car", "seat", "tour", "court", "desk", "meeting room", "cabin", "bus"];
    private static readonly string[] s_searchNouns = ["documents", "books", "recipes", "files", "notes", "articles", "manuals", "emails", "songs", "photos", "contacts", "products", "pages", "archive", "web", "library"];
    private static readonly string[] s_playNouns = ["song", "movie", "album", "podcast", "video", "game", "playlist", "station", "audiobook", "concert"];
    private static readonly string[] s_orderNouns = ["food", "flowers", "groceries", "parts", "books", "supplies", "pizza", "tools", "paper", "drinks", "medicine"];
    private static readonly string[] s_topics = Lexicon.Words(
        "invoice parcel ticket branch commit folder image server database query customer supplier contract recipe patient student course lesson exam flight train ferry hotel room table menu dish wine garden plant tree "
        + "river lake mountain road bridge tunnel station harbour market shop museum theatre cinema concert match team player coach league stadium bank loan mortgage tax pension insurance claim policy vehicle engine tyre brake "
        + "battery sensor valve pump boiler printer scanner router network password licence domain website page article comment forum channel playlist album podcast station episode series novel poem letter postcard stamp coin "
        + "painting statue carpet curtain lamp sofa desk drawer shelf cupboard kettle oven fridge freezer washer dryer alarm lock key door window roof floor wall fence gate pool sauna boat anchor sail tent backpack map compass "
        + "trail glacier volcano island beach forest meadow farm tractor barn harvest wheat maize barley apple cherry grape olive honey cheese butter bread flour sugar salt pepper spice tea coffee juice beer meal snack diet vitamin "
        + "medicine vaccine allergy symptom clinic nurse dentist surgery blood pulse sleep workout yoga run marathon bicycle helmet scooter bus tram metro taxi parking toll fuel charger adapter cable plug switch fuse meter grid "
        + "turbine panel satellite rocket planet comet eclipse meteor tide storm fog frost drought flood earthquake alert siren rescue fire police court judge lawyer verdict vote election mayor senate embassy visa passport border");

    private static readonly string[] s_measures = Lexicon.Words("level count status index rate price size age owner history report summary list details limit id date forecast score balance");

    private static readonly string[] s_states = Lexicon.Words("sunny cloudy rainy windy good bad high low open closed ready late busy free active calm full empty normal shipped paid pending approved");

    public const string LookupVerbs = "get get get find fetch check lookup show read query retrieve";

    private static readonly string[] s_roles = Lexicon.Words("manager leader owner captain secretary treasurer coach mentor editor author chairman contact trainer director supervisor assistant driver teacher founder organiser");

    /// <summary>Number of kinds of tools.</summary>
    public const int Kinds = 12;

    /// <summary>Draws of a tool that is like one before it.</summary>
    private const int MostAttempts = 24;

    /// <summary>The first so many kinds look something up.</summary>
    public const int LookupKinds = 7;

    /// <summary>The words of all nouns, lower case.</summary>
    public static IReadOnlySet<string> Words { get; } = new[]
    {
        s_placeNouns, s_personNouns, s_itemNouns, s_plainNouns, s_setNouns, s_sendNouns, s_bookNouns, s_searchNouns, s_playNouns, s_orderNouns,
    }.SelectMany(nouns => nouns).SelectMany(Lexicon.Words).ToHashSet(StringComparer.Ordinal);

    /// <summary>A noun that tools can be about.</summary>
    public static string Topic(Lexicon l) => l.Draw(() => l.Pick(s_topics));

    /// <summary>A noun that tools can be about, or a made-up word.</summary>
    public static string TopicOrWord(Lexicon l) => l.Chance(0.5) ? Topic(l) : l.Word();

    /// <summary>A tool whose noun is none of <paramref name="taken"/>, of one kind or of any, about one word of the lists or also about longer terms.</summary>
    public static DrawnTool Draw(Lexicon l, Naming naming, HashSet<string> taken, int? kind = null, bool oneWord = false)
    {
        // A search shows tools whose words are alike: of "price" and "daily price" one is meant.
        bool isNear = l.Split == Split.Train && taken.Count > 0 && l.Chance(0.5);
        for (int attempt = 0; ; attempt++)
        {
            DrawnTool tool = (kind ?? l.Random.Next(Kinds)) switch
            {
                <= 2 => Lookup(l, naming, s_placeNouns, "city", ["city", "city", "place", "location", "town"], "in", static l => l.City()),
                <= 4 => Lookup(l, naming, s_personNouns, "person", ["name", "person", "employee", "user"], "of", static l => l.Person()),
                <= 6 => l.Chance(0.5)
                    ? Lookup(l, naming, s_itemNouns, "product", ["product", "item", "name"], "of", static l => l.Thing())
                    : Lookup(l, naming, s_itemNouns, "order", ["id", "code", "number", "order_id"], "of", static l => l.Code()),
                7 => Plain(l, naming),
                8 => Set(l, naming),
                9 => Send(l, naming),
                10 => l.Chance(0.5) ? Book(l, naming) : Order(l, naming),
                _ => l.Split == Split.Train && l.Chance(0.5) ? Calculate(l, naming) : Text(l, naming),
            };
            bool fits = (!oneWord || !tool.Noun.Contains(' ', StringComparison.Ordinal)) && (!isNear || attempt >= MostAttempts || taken.Any(noun => Lexicon.Words(noun).Intersect(Lexicon.Words(tool.Noun)).Any()));
            if (fits && taken.Add(tool.Noun))
            {
                return tool;
            }
        }
    }

    private static string Noun(Lexicon l, string[] nouns) => l.Draw(() => l.Random.Next(10) switch
    {
        <= 2 => l.Pick(nouns),
        <= 4 => l.Pick(s_modifiers) + " " + l.Pick(nouns),
        <= 7 => l.Pick(s_topics) + " " + l.Pick(s_measures),
        _ => l.Word() + " " + l.Pick(s_measures),
    });

    private static DrawnTool Lookup(Lexicon l, Naming naming, string[] nouns, string kind, string[] parameters, string preposition, Func<Lexicon, string> draw, string? about = null)
    {
        string noun = about ?? Noun(l, nouns), parameter = l.Pick(parameters);
        string name = naming.Name(LookupVerbs, noun);
        string description = s_lookups.Fill(l, ("noun", noun), ("of", preposition), ("kind", kind));
        bool hasUnit = kind == "city" && l.Chance(0.25);
        string[] unitValues = l.Pick<string[]>([["celsius", "fahrenheit"], ["metric", "imperial"], ["today", "tomorrow"], ["km", "miles"], ["today", "tomorrow", "weekend"]]);
        string unitName = unitValues[0] == "today" ? "day" : "unit";
        Argument[] arguments =
        [
            new(parameter, "string", l.Chance(0.3) ? l.Pick([$"The name of the {kind}.", $"Name of the {kind}", $"The {kind} to look up.", $"The {kind}."]) : null),
            .. hasUnit ? [new Argument(unitName, "enum", null, false, unitValues)] : Array.Empty<Argument>(),
        ];
        return new DrawnTool(name, noun, Declare(name, description, arguments), () => Use(draw(l), hasUnit && l.Chance(0.6) ? l.Pick(unitValues) : "", null))
        {
            Parameters = [parameter],
            FollowUp = last =>
            {
                string unit = last.Arguments.Length > 1 ? (string)last.Arguments[1].Value : "";
                if (unit.Length > 0 && l.Chance(0.4))
                {
                    string other = l.Pick([.. unitValues.Where(v => v != unit)]);
                    return Use((string)last.Arguments[0].Value, other, (unitName == "day" ? s_otherDay : s_otherUnit).Fill(l, ("v", other)));
                }

                string subject = draw(l);
                return Use(subject, unit, s_otherSubject.Fill(l, ("s", subject), ("of", preposition)));
            },
            Both = () =>
            {
                ToolUse first = Use(draw(l), "", null), second = Use(draw(l), "", null);
                return (Manner.Vary(l, s_both.Fill(l, ("a", (string)first.Arguments[0].Value), ("b", (string)second.Arguments[0].Value), ("noun", noun), ("of", preposition))), first, second);
            },
        };

        ToolUse Use(string subject, string unitValue, string? asked)
        {
            string tail = unitValue.Length == 0 ? "" : unitName == "unit" ? " in " + unitValue : unitValue == "weekend" ? " at the weekend" : " " + unitValue;
            string spoken = kind == "product" && l.Chance(0.4) ? "the " + subject : subject; // an article is not part of a name
            asked ??= Ask(l, $"the {noun} {preposition} {spoken}{tail}", $"{noun} {preposition} {spoken}{tail}");
            (object result, string said) = Result(l);
            return new ToolUse(asked, [(parameter, subject), .. unitValue.Length > 0 ? [(unitName, (object)unitValue)] : Array.Empty<(string, object)>()],
                result, $"The {noun} {preposition} {spoken}{said}");
        }
    }

    private static DrawnTool Plain(Lexicon l, Naming naming)
    {
        string noun = Noun(l, s_plainNouns);
        string name = naming.Name(LookupVerbs, noun);
        return new DrawnTool(name, noun, Declare(name, l.Pick([$"Gets the {noun}.", $"Returns the {noun}.", $"Shows the {noun}."])), () =>
        {
            (object result, string said) = Result(l);
            return new ToolUse(Ask(l, $"the {noun}", noun), [], result, $"The {noun}{said}");
        });
    }

    private static DrawnTool Set(Lexicon l, Naming naming)
    {
        string noun = Noun(l, s_setNouns), parameter = l.Pick(["value", "level", "amount"]);
        string name = naming.Name("set set change adjust", noun);
        string description = s_sets.Fill(l, ("noun", noun), ("parameter", parameter));
        return new DrawnTool(name, noun, Declare(name, description, new Argument(parameter, "integer")), () =>
        {
            string value = l.Medium();
            string request = s_set.Fill(l, ("noun", noun), ("v", value));
            return Act(l, Manner.Vary(l, request), [(parameter, Integer(value))], $"The {noun} is set to {value}");
        });
    }

    private static DrawnTool Send(Lexicon l, Naming naming)
    {
        string noun = Noun(l, s_sendNouns), to = l.Pick(["to", "recipient", "name"]), text = l.Pick(["text", "message", "body", "content"]);
        string name = naming.Name("send send write", noun);
        return new DrawnTool(name, noun, Declare(name, l.Pick([$"Sends a {noun} to a person.", $"Writes a {noun} to someone."]), new Argument(to, "string"), new Argument(text, "string")), () =>
        {
            string person = l.Chance(0.8) ? l.FirstName() : l.Email(), words = l.Phrase();
            string request = s_send.Fill(l, ("noun", noun), ("p", person), ("t", words));
            return Act(l, Manner.Vary(l, request), [(to, person), (text, words)], $"The {noun} to {person} is sent");
        }) { Parameters = [to, text] };
    }

    private static DrawnTool Book(Lexicon l, Naming naming)
    {
        string noun = Noun(l, s_bookNouns), people = l.Pick(["people", "guests", "seats", "count"]);
        bool clock = l.Chance(0.4);
        string name = naming.Name("book reserve", noun);
        Argument[] arguments = [new("city", "string"), new(people, "integer"), .. clock ? [new Argument("time", "string")] : Array.Empty<Argument>()];
        return new DrawnTool(name, noun, Declare(name, l.Pick([$"Books a {noun}.", $"Reserves a {noun} in a city."]), arguments), () =>
        {
            string city = l.City(), count = l.Small(), time = l.Clock();
            string tail = clock ? " at " + time : "";
            string request = s_book.Fill(l, ("noun", noun), ("c", city), ("n", count), ("tail", tail));
            return Act(l, Manner.Vary(l, request), [("city", city), (people, Integer(count)), .. clock ? [("time", (object)time)] : Array.Empty<(string, object)>()], $"The {noun} in {city} is booked");
        });
    }

    private static DrawnTool Order(Lexicon l, Naming naming)
    {
        string noun = Noun(l, s_orderNouns), item = l.Pick(["item", "product", "name"]);
        string name = naming.Name("order buy", noun);
        return new DrawnTool(name, noun, Declare(name, l.Pick([$"Orders {noun}.", $"Places an order for {noun}."]), new Argument(item, "string"), new Argument("quantity", "integer")), () =>
        {
            string thing = l.Thing(), count = l.Small();
            string request = s_order.Fill(l, ("noun", noun), ("n", count), ("t", thing));
            return Act(l, Manner.Vary(l, request), [(item, thing), ("quantity", Integer(count))], $"The {noun} order of {count} {thing} is placed");
        });
    }

    private static DrawnTool Text(Lexicon l, Naming naming)
    {
        bool search = l.Chance(0.6);
        string noun = Noun(l, search ? s_searchNouns : s_playNouns), parameter = search ? l.Pick(["query", "text", "question"]) : l.Pick(["title", "name"]);
        string name = naming.Name(search ? "search find query" : "play start", noun);
        string description = search ? l.Pick([$"Searches the {noun}.", $"Finds something in the {noun}."]) : l.Pick([$"Plays a {noun}.", $"Starts the {noun} with the given {parameter}."]);
        return new DrawnTool(name, noun, Declare(name, description, new Argument(parameter, "string")), () =>
        {
            string words = search ? l.Phrase() : l.Chance(0.5) ? l.Title() : l.Phrase();
            if (search)
            {
                (object found, string said) = Result(l);
                return new ToolUse(Manner.Vary(l, s_search.Fill(l, ("noun", noun), ("t", words))), [(parameter, words)], found, $"The {noun} search{said}");
            }

            return Act(l, Manner.Vary(l, s_play.Fill(l, ("noun", noun), ("t", words))), [(parameter, words)], $"The {noun} {words} is playing");
        });
    }

    private static DrawnTool Calculate(Lexicon l, Naming naming)
    {
        (string verb, string sign, string word, Func<long, long, long> f) = l.Pick<(string, string, string, Func<long, long, long>)>(
        [
            ("add", "+", "plus", (a, b) => a + b), ("subtract", "-", "minus", (a, b) => a - b), ("multiply", "*", "times", (a, b) => a * b),
        ]);
        string a = l.Pick(["a", "x", "first"]), b = a switch { "a" => "b", "x" => "y", _ => "second" };
        string name = naming.Name(verb, l.Chance(0.5) ? "" : "numbers");
        string type = l.Chance(0.5) ? "integer" : "number";
        string description = verb switch { "add" => "Adds two numbers.", "subtract" => "Subtracts one number from another.", _ => "Multiplies two numbers." };
        return new DrawnTool(name, verb, Declare(name, description, new Argument(a, type), new Argument(b, type)), () =>
        {
            string x = l.Medium(), y = l.Medium();
            object result = f(Integer(x), Integer(y));
            string request = l.Pick([$"What is {x} {word} {y}?", $"What is {x} {sign} {y}?", $"Calculate {x} {sign} {y}.", $"How much is {x} {word} {y}?"]);
            return new ToolUse(request, [(a, Integer(x)), (b, Integer(y))], result, $"{x} {word} {y} is {result}.");
        });
    }

    /// <summary>One tool that finds a person, and one that does something with the person.</summary>
    public static (DrawnTool Finds, DrawnTool Uses, (string Request, ToolUse First, ToolUse Second) Use) Chain(Lexicon l, Naming naming, HashSet<string> taken)
    {
        string role, found;
        do
        {
            role = l.Draw(() => l.Pick(s_roles));
        }
        while (!taken.Add(role));

        DrawnTool finds = Lookup(l, naming, [role], "team", ["team", "name", "group", "project"], "of", static l => l.Capital(l.Word()), role);
        DrawnTool uses = Send(l, naming);
        found = l.FirstName();
        string subject = l.Capital(l.Word()), words = l.Phrase();
        string request = Manner.Vary(l, s_chain.Fill(l, ("noun", uses.Noun), ("role", role), ("s", subject), ("t", words)));
        ToolUse first = new(request, [(finds.Parameters[0], subject)], found, "");
        ToolUse second = Act(l, request, [(uses.Parameters[0], found), (uses.Parameters[1], words)], $"The {uses.Noun} to {found} is sent");
        return (finds, uses, (request, first, second));
    }

    private static string Ask(Lexicon l, string phrase, string bare) => l.Polite(s_ask.Fill(l, ("it", phrase), ("bare", Facts.Sentence(bare))));

    private static ToolUse Act(Lexicon l, string request, (string, object)[] arguments, string done)
    {
        switch (l.Random.Next(4))
        {
            case 0:
                return new ToolUse(request, arguments, l.Pick(["ok", "done", "success", "true"]), done + ".");
            case 1:
                string state = l.Pick(s_states);
                return new ToolUse(request, arguments, state, $"{done}: {state}.");
            case 2:
                string code = l.Code();
                return new ToolUse(request, arguments, new (string, object)[] { ("id", code) }, $"{done}: id {code}.");
            default:
                string id = l.Medium(), status = l.Pick(s_states);
                return new ToolUse(request, arguments, new (string, object)[] { ("id", Integer(id)), ("status", status) }, $"{done}: id {id}, status {status}.");
        }
    }

    /// <summary>A result and how the answer goes on after its subject.</summary>
    private static (object Result, string Said) Result(Lexicon l)
    {
        switch (l.Random.Next(8))
        {
            case 0:
                string text = l.Person();
                return (text, $" is {text}.");
            case 1:
                string number = l.Large();
                return (Integer(number), $" is {number}.");
            case 2:
                string price = l.Price();
                return (decimal.Parse(price, CultureInfo.InvariantCulture), $" is {price}.");
            case 3:
                string sentence = l.Pick(s_states) + ", " + l.Small() + " " + l.Pick(["degrees", "percent", "points", "km", "euros", "minutes"]);
                return (sentence, $" is {sentence}.");
            case 4:
                string phrase = l.Chance(0.5) ? l.Phrase() : l.Clock();
                return (phrase, $" is {phrase}.");
            case 5:
                string problem = l.Pick(["not found", "no connection", "access denied", "timeout", "unknown " + l.Word()]);
                return (new (string, object)[] { ("error", problem) }, $" could not be found: {problem}.");
            default:
                string[] keys = [.. Lexicon.Words("value unit state temperature name total wind level count day min max humidity note place")];
                l.Random.Shuffle(keys);
                List<(string, object)> fields = new();
                foreach (string key in keys.Take(l.Random.Next(1, 4)))
                {
                    fields.Add((key, l.Random.Next(3) switch { 0 => Integer(l.Medium()), 1 => l.Pick(s_states), _ => l.FirstName() }));
                }

                return (fields.ToArray(), ": " + string.Join(", ", fields.Select(f => $"{f.Item1} {f.Item2}")) + ".");
        }
    }

    private static long Integer(string digits) => long.Parse(digits, CultureInfo.InvariantCulture);

    private static AITool Declare(string name, string description, params Argument[] arguments)
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream))
        {
            json.WriteStartObject();
            json.WriteString("type", "object");
            json.WriteStartObject("properties");
            foreach (Argument argument in arguments)
            {
                json.WriteStartObject(argument.Name);
                json.WriteString("type", argument.Values is null ? argument.Type : "string");
                if (argument.Values is not null)
                {
                    json.WriteStartArray("enum");
                    Array.ForEach(argument.Values, json.WriteStringValue);
                    json.WriteEndArray();
                }

                if (argument.Description is not null)
                {
                    json.WriteString("description", argument.Description);
                }

                json.WriteEndObject();
            }

            json.WriteEndObject();
            json.WriteStartArray("required");
            foreach (Argument argument in arguments.Where(a => a.Required))
            {
                json.WriteStringValue(argument.Name);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        using JsonDocument schema = JsonDocument.Parse(Encoding.UTF8.GetString(stream.ToArray()));
        return AIFunctionFactory.CreateDeclaration(name, description, schema.RootElement.Clone());
    }

    private sealed record Argument(string Name, string Type, string? Description = null, bool Required = true, string[]? Values = null);
}
