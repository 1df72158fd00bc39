namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Something that can be said about a subject, asked about it, and extracted from a text. {s} is the subject, {v} the value.</summary>
/// <param name="Key">Field name in extraction.</param>
/// <param name="Value">Draws a value.</param>
/// <param name="Statements">Sentences that say it.</param>
/// <param name="Questions">Questions for it.</param>
/// <param name="IsNumber">The value is a JSON number.</param>
/// <param name="Noun">What it is called in sentences; null: the key.</param>
internal sealed record Attribute(string Key, Func<Lexicon, string> Value, string[] Statements, string[] Questions, bool IsNumber = false, string? Noun = null)
{
    private static readonly Phrasings s_questions = new Phrasings(
        "What is the {noun} of {s}?", "(Tell|Give) me the {noun} of {s}(.|, please.|!)", "Do you know the {noun} of {s}?", "I (need|want) (to know |)the {noun} of {s}.", "{noun} of {s}?",
        "Which {noun} does {s} have?", "(Can|Could) you (find|tell me|look up) the {noun} of {s}?", "Look for the {noun} of {s}.", "What {noun} (is given|do you see|do you find) for {s}?",
        "(Please|) name the {noun} of {s}.", "For {s}, what is the {noun}?", "What about {s}: which {noun}?").Also(
        "(Say|State|Give|Read out|Write|Report) the {noun} of {s}(.|, please.|)", "(How|What) (is|about) the {noun} (of|for|with) {s}?", "(What|Which) (value|entry) (is|stands as|is given as) the {noun} of {s}?",
        "(Do|Can) you (see|have) the {noun} (of|for) {s}?", "(I want|I am looking for|I search|I'd like|I would like) the {noun} (of|for) {s}.", "(Let|Help) me (know|see|find|have) the {noun} of {s}.",
        "(What|Which) is (its|the) {noun}, (for|of|speaking of) {s}?", "{s}(:|, the| -) {noun}?", "(As for|About|Concerning|Regarding) {s}, what is the {noun}?",
        "(Is there|Have you|Is anything said about) (a|the) {noun} (for|of|with) {s}?", "(With|At) {s}, (which|what) (is the |){noun}( is it| is there|)?", "(Does|Has) {s} (have |got |)(a|which) {noun}?",
        "(And |)the {noun} of {s}(, please|)(?|.)");

    private static readonly Phrasings s_statements = new Phrasings(
        "The {noun} of {s} is {v}.", "For {s}, the {noun} is {v}.", "{noun} of {s}: {v}.", "With {s}, {v} is the {noun}.", "As (for|to) the {noun}, {s} (has|shows) {v}.",
        "(The list|The record|The file) gives {v} as the {noun} of {s}.", "When it comes to the {noun}, {s} stands at {v}.", "{s} has {v} as its {noun}.").Also(
        "(It is|We know|They say|We read) that the {noun} of {s} is {v}.", "{v} is (the|given as the|noted as the|listed as the) {noun} of {s}.", "{s}: {noun} {v}.",
        "(The {noun}|Its {noun}), for {s}, (is|was|reads) {v}.", "{s} (comes with|shows|lists|names|reports|carries) {v} as (the|its) {noun}.", "{s} (has|shows|gives) (the|a) {noun} (of |){v}.",
        "(Regarding|Concerning|About|On) the {noun} of {s}: {v}.", "(At|For|In the case of) {s}, one (finds|sees|notes|has) {v} as {noun}.", "(Note|Remember|Fact)(:| that) the {noun} of {s} is {v}.",
        "(The|A) {noun} (belonging to|for|given for|known for) {s} is {v}.", "(Somebody|The office|The staff) (wrote|noted|gave|set) {v} (for|as) the {noun} of {s}.", "{s} and its {noun}: {v}.");

    private readonly Phrasings _said = new(Statements), _asked = new(Questions);

    /// <summary>As sentences name it.</summary>
    public string Called { get; } = Noun ?? Key;

    /// <summary>A sentence that says the value.</summary>
    public string Say(Lexicon l, string subject, string value) =>
        Facts.Sentence((Statements.Length > 0 && !l.Chance(0.15) ? _said : s_statements).Fill(l, ("s", subject), ("v", value), ("noun", Called)));

    /// <summary>The number of a value, without its unit.</summary>
    public static string Number(string value) => value.Split(' ')[0];

    /// <summary>A question for the value.</summary>
    public string Ask(Lexicon l, string subject) =>
        Facts.Sentence((Questions.Length > 0 && !l.Chance(0.4) ? _asked : s_questions).Fill(l, ("s", subject), ("noun", Called)));
}

/// <summary>A kind of subject with the attributes that it can have.</summary>
internal sealed record Kind(string Key, Func<Lexicon, string> Subject, Attribute[] Attributes);

/// <summary>A subject with drawn values.</summary>
internal sealed record Profile(Kind Kind, string Subject, (Attribute Attribute, string Value)[] Facts)
{
    /// <summary>Attributes of the kind that no fact gives.</summary>
    public Attribute[] Unsaid => [.. Kind.Attributes.Where(attribute => Facts.All(fact => fact.Attribute != attribute))];

    /// <summary>A question for an attribute that no fact gives, or about another subject for <paramref name="said"/>, which one gives for this.</summary>
    public string AskWhatIsNotSaid(Lexicon l, Attribute said) =>
        l.Chance(0.5) && Unsaid is { Length: > 0 } unsaid ? l.Pick(unsaid).Ask(l, Subject) : said.Ask(l, Kind.Subject(l));
}

/// <summary>The little worlds that passages, questions and extractions are about.</summary>
internal static class Facts
{
    private static readonly string[] s_openNouns = Lexicon.Words(
        "pressure voltage capacity length width height depth power range speed torque diameter volume weight load limit threshold interval delay budget deadline fee tariff rent deposit premium discount quota target yield "
        + "output intake dose ratio margin score grade rank version port host owner manager contact supplier sponsor editor reviewer inspector operator room floor bay gate platform coating filter fuel battery adapter cable "
        + "connector password lifetime temperature humidity duration altitude frequency bandwidth resolution accuracy tolerance efficiency noise thickness density hardness viscosity current resistance gear oil lubricant "
        + "sealant valve nozzle blade frame cover handle switch fuse relay sensor display language currency district postcode account reference category priority status stage phase route terminal dock captain crew "
        + "trainer coach tutor teacher mentor chairman treasurer secretary caretaker gardener architect builder painter founder heir tenant landlord insurer auditor");

    private static readonly string[] s_openPairs =
    [
        "flow rate", "service interval", "opening time", "closing time", "delivery time", "lead time", "serial number", "batch number", "order number", "room number", "article number", "emergency contact", "head office",
        "return period", "notice period", "trial period", "battery life", "storage size", "data limit", "noise level", "oil change", "test date", "last inspection", "next audit", "safety class", "fire class", "tank size",
        "spare part", "wall colour", "door code", "gate code", "visiting hours", "office hours", "meeting point", "bus line", "parking fee", "entry fee", "late fee", "monthly rate", "interest rate", "team size", "class size",
    ];

    private static readonly string[] s_devices = Lexicon.Words(
        "pump motor boiler valve router scanner printer heater fridge elevator crane drone server sensor tractor ferry reactor mixer conveyor generator compressor turbine furnace welder lathe press saw oven robot "
        + "telescope satellite engine tram bus truck trailer harvester sprayer freezer dryer washer charger inverter panel amplifier antenna camera");

    private static readonly string[] s_bodies = Lexicon.Words(
        "library museum school clinic hotel office warehouse garden theatre bakery hospital harbour station airport factory farm gallery club stadium market course project contract policy programme study survey grant trip tour");

    private static readonly string[] s_units = Lexicon.Words(
        "bar volts litres metres kilometres watts amps degrees hours days weeks months years minutes seconds percent euros dollars pounds grams kilograms tons pages seats people rooms units points boxes pieces steps");

    public static Kind[] Kinds { get; } =
    [
        new("name", l => l.Person(),
        [
            new("city", l => l.City(), ["{s} lives in {v}.", "The home of {s} is in {v}.", "{s} has moved to {v}."], ["Where does {s} live?", "In which city does {s} live?", "What city does {s} live in?"], Noun: "home town"),
            new("age", l => l.Age(), ["{s} is {v} years old.", "{s} turned {v} this year.", "The age of {s} is {v}."], ["How old is {s}?", "What is the age of {s}?"], true),
            new("job", l => l.Job(), ["{s} works as a {v}.", "{s} is a {v}.", "The job of {s} is {v}."], ["What is the job of {s}?", "What does {s} do for a living?", "What does {s} work as?"]),
            new("company", l => l.Company(), ["{s} works for {v}.", "{s} is employed at {v}."], ["Which company does {s} work for?", "Who does {s} work for?"]),
            new("born", l => l.Year(), ["{s} was born in {v}.", "The year of birth of {s} is {v}."], ["When was {s} born?", "In which year was {s} born?"], true, Noun: "year of birth"),
            new("colour", l => l.Colour(), ["The favourite colour of {s} is {v}.", "{s} likes the colour {v} best."], ["What is the favourite colour of {s}?", "Which colour does {s} like best?"], Noun: "favourite colour"),
            new("pet", l => l.Animal(), ["{s} has a {v}.", "{s} keeps a {v} at home."], ["What pet does {s} have?", "Which animal does {s} keep?"]),
            new("hobby", l => l.Hobby(), ["{s} enjoys {v}.", "The hobby of {s} is {v}."], ["What is the hobby of {s}?", "What does {s} enjoy?"]),
            new("food", l => l.Food(), ["{s} loves to eat {v}.", "The favourite food of {s} is {v}."], ["What is the favourite food of {s}?", "What does {s} love to eat?"], Noun: "favourite food"),
            new("phone", l => l.Phone(), ["The phone number of {s} is {v}.", "You can call {s} at {v}."], ["What is the phone number of {s}?", "How can I call {s}?"], Noun: "phone number"),
            new("email", l => l.Email(), ["The email of {s} is {v}.", "You can write to {s} at {v}."], ["What is the email of {s}?", "What is the email address of {s}?"], Noun: "email address"),
            new("friend", l => l.FirstName(), ["The best friend of {s} is {v}.", "{s} often meets {v}."], ["Who is the best friend of {s}?", "Who does {s} often meet?"], Noun: "best friend"),
        ]),
        new("company", l => l.Company(),
        [
            new("founded", l => l.Year(), ["{s} was founded in {v}.", "{s} has existed since {v}."], ["When was {s} founded?", "In which year was {s} founded?"], true, Noun: "founding year"),
            new("city", l => l.City(), ["{s} is based in {v}.", "The office of {s} is in {v}."], ["Where is {s} based?", "In which city is {s}?"]),
            new("director", l => l.Person(), ["The director of {s} is {v}.", "{s} is led by {v}."], ["Who is the director of {s}?", "Who leads {s}?"]),
            new("employees", l => l.Medium(), ["{s} has {v} employees.", "{v} people work at {s}."], ["How many employees does {s} have?", "How many people work at {s}?"], true, Noun: "number of employees"),
            new("product", l => l.Thing(), ["The main product of {s} is the {v}.", "{s} is known for the {v}."], ["What is the main product of {s}?", "What is {s} known for?"], Noun: "main product"),
            new("phone", l => l.Phone(), ["The phone number of {s} is {v}.", "You can call {s} at {v}."], ["What is the phone number of {s}?", "How can I call {s}?"], Noun: "phone number"),
        ]),
        new("product", l => "the " + l.Thing(),
        [
            new("price", l => l.Price() + " euros", ["The price of {s} is {v}.", "You can buy {s} for {v}."], ["What is the price of {s}?", "How much is {s}?"], true),
            new("weight", l => l.Medium() + " grams", ["The weight of {s} is {v}.", "On the scale, {s} shows {v}."], ["What is the weight of {s}?", "How heavy is {s}?"], true),
            new("material", l => l.Material(), ["The maker chose {v} for {s}.", "The material of {s} is {v}."], ["What is the material of {s}?", "What is {s} made of?"]),
            new("code", l => l.Code(), ["The code of {s} is {v}.", "In the list, {s} has the code {v}."], ["What is the code of {s}?", "Which code does {s} have?"]),
            new("stock", l => l.Small(), ["The stock of {s} is {v}.", "The shop has {v} of {s} left."], ["What is the stock of {s}?", "How many of {s} are left?"], true),
            new("warranty", l => l.Small() + " months", ["The warranty of {s} is {v}.", "For {s} you get {v} of warranty."], ["How long is the warranty of {s}?", "What is the warranty of {s}?"], true),
            new("designer", l => l.Person(), ["The designer of {s} is {v}.", "{v} designed {s}."], ["Who is the designer of {s}?", "Who designed {s}?"]),
        ]),
        new("town", l => l.City(),
        [
            new("population", l => l.Large(), ["{s} has a population of {v}.", "{v} people live in {s}."], ["What is the population of {s}?", "How many people live in {s}?"], true),
            new("mayor", l => l.Person(), ["The mayor of {s} is {v}.", "{v} is the mayor of {s}."], ["Who is the mayor of {s}?", "What is the name of the mayor of {s}?"]),
            new("river", l => l.City(), ["{s} lies on the river {v}.", "The river in {s} is called {v}."], ["Which river is {s} on?", "What is the river in {s} called?"]),
            new("food", l => l.Food(), ["{s} is famous for its {v}.", "Visitors of {s} should try the {v}."], ["What is {s} famous for?", "What should visitors of {s} try?"], Noun: "speciality"),
            new("museum", l => l.Clock(), ["The museum of {s} opens at {v}.", "In {s} the museum opens at {v}."], ["When does the museum of {s} open?", "At what time does the museum in {s} open?"], Noun: "opening time of the museum"),
            new("founded", l => l.Year(), ["{s} was founded in {v}.", "{s} has existed since {v}."], ["When was {s} founded?", "In which year was {s} founded?"], true, Noun: "founding year"),
        ]),
        new("event", l => "the " + l.Word() + " " + l.Pick(["festival", "concert", "meeting", "fair", "race", "workshop", "conference", "party"]),
        [
            new("date", l => l.Date(), ["The date of {s} is {v}.", "On {v} there is {s}."], ["When is {s}?", "What is the date of {s}?"]),
            new("time", l => l.Clock(), ["The doors of {s} open at {v}.", "The start of {s} is at {v}."], ["At what time is the start of {s}?", "What time does {s} start?"]),
            new("place", l => l.City(), ["The place of {s} is {v}.", "People come to {v} for {s}."], ["Where is {s}?", "In which city is {s}?"]),
            new("ticket", l => l.Small() + " euros", ["A ticket for {s} is {v}.", "Visitors pay {v} for {s}."], ["How much is a ticket for {s}?", "What do visitors pay for {s}?"], true),
            new("organiser", l => l.Person(), ["The organiser of {s} is {v}.", "{v} plans {s}."], ["Who is the organiser of {s}?", "Who plans {s}?"]),
        ]),
        new("title", l => l.Title(),
        [
            new("author", l => l.Person(), ["The author of {s} is {v}.", "{v} wrote {s}.", "{s} was written by {v}."], ["Who is the author of {s}?", "Who wrote {s}?"]),
            new("year", l => l.Year(), ["{s} was published in {v}.", "{s} came out in {v}."], ["When was {s} published?", "In which year did {s} come out?"], true, Noun: "year of publication"),
            new("pages", l => l.Medium(), ["{s} has {v} pages.", "There are {v} pages in {s}."], ["How many pages does {s} have?", "How long is {s}?"], true, Noun: "number of pages"),
            new("hero", l => l.FirstName(), ["The hero of {s} is {v}.", "{s} tells the story of {v}."], ["Who is the hero of {s}?", "Whose story does {s} tell?"]),
            new("shelf", l => l.Code(), ["{s} stands on shelf {v}.", "You find {s} on shelf {v}."], ["On which shelf is {s}?", "Which shelf is {s} on?"]),
        ]),
    ];

    /// <summary>
    /// A kind that nobody has listed: what its attributes are called is drawn, so that only matching the words of the question with those of the text
    /// finds the answer.
    /// </summary>
    public static Kind Open(Lexicon l)
    {
        string[] things = l.Chance(0.6) ? s_devices : s_bodies;
        string thing = l.Pick(things);
        int style = l.Random.Next(4);
        HashSet<string> nouns = new(StringComparer.Ordinal);
        while (nouns.Count < 8)
        {
            nouns.Add(l.Split == Split.Train && l.Chance(0.6) ? Free() : l.Draw(() => l.Chance(0.7) ? l.Pick(s_openNouns) : l.Pick(s_openPairs)));
        }

        return new Kind(thing, Subject, [.. nouns.Select(noun => new Attribute(noun.Replace(' ', '_'), ValueOf(l), [], [], Noun: noun))]);

        string Subject(Lexicon l) => style switch
        {
            0 => $"the {l.Capital(l.Word())} {thing}",
            1 => $"{thing} {l.Code()}",
            2 => $"the {thing} {l.Capital(l.Word())}",
            _ => $"the {thing} in {l.City()}",
        };

        // The listed nouns of training are soon known by heart; which sentence a word belongs to is learned from words that are not.
        string Free() => l.Chance(0.3) ? Tools.TopicOrWord(l) + " " + Tools.TopicOrWord(l) : Tools.TopicOrWord(l);
    }

    private static Func<Lexicon, string> ValueOf(Lexicon l) => l.Random.Next(10) switch
    {
        <= 3 => l => l.Medium() + " " + l.Pick(s_units),
        4 => l => l.Small() + " " + l.Pick(s_units),
        5 => l => l.Person(),
        6 => l => l.Code(),
        7 => l => l.Date(),
        8 => l => l.City(),
        _ => l => l.Chance(0.5) ? l.Price() + " euros" : l.Clock(),
    };

    /// <summary>One of the listed kinds, or one of its own.</summary>
    public static Kind Any(Lexicon l) => l.Chance(0.55) ? l.Pick(Kinds) : Open(l);

    public static Profile Draw(Lexicon l, Kind kind, int facts)
    {
        Attribute[] attributes = [.. kind.Attributes];
        l.Random.Shuffle(attributes);
        return new Profile(kind, kind.Subject(l), [.. attributes.Take(facts).Select(a => (a, a.Value(l)))]);
    }

    /// <summary>Sentences about one subject, some of them joined: "Ann is 31 years old and lives in Oslo."</summary>
    public static string Told(Lexicon l, string subject, IReadOnlyList<string> sentences)
    {
        string begin = Sentence(subject) + " ";
        List<string> told = new();
        foreach (string sentence in sentences)
        {
            if (told.Count > 0 && told[^1].StartsWith(begin, StringComparison.Ordinal) && sentence.StartsWith(begin, StringComparison.Ordinal) && !told[^1].Contains(" and ", StringComparison.Ordinal) && l.Chance(0.4))
            {
                told[^1] = told[^1].TrimEnd('.') + " and " + sentence[begin.Length..];
            }
            else
            {
                told.Add(sentence);
            }
        }

        return string.Join(' ', told);
    }

    /// <summary>The subject without its article.</summary>
    public static string Bare(string subject) => subject.StartsWith("the ", StringComparison.Ordinal) ? subject[4..] : subject;

    public static string Sentence(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
