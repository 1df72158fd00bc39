namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Something that can be said about a subject, asked about it, and extracted from a text. {s} is the subject, {v} the value.</summary>
/// <param name="Key">Field name in extraction.</param>
/// <param name="Value">Draws a value.</param>
/// <param name="Statements">Sentences that say it.</param>
/// <param name="Questions">Questions for it.</param>
/// <param name="IsNumber">The value is a JSON number.</param>
internal sealed record Attribute(string Key, Func<Lexicon, string> Value, string[] Statements, string[] Questions, bool IsNumber = false);

/// <summary>A kind of subject with the attributes that it can have.</summary>
internal sealed record Kind(string Key, Func<Lexicon, string> Subject, Attribute[] Attributes);

/// <summary>A subject with drawn values.</summary>
internal sealed record Profile(Kind Kind, string Subject, (Attribute Attribute, string Value)[] Facts);

/// <summary>The little worlds that passages, questions and extractions are about.</summary>
internal static class Facts
{
    public static Kind[] Kinds { get; } =
    [
        new("name", l => l.Person(),
        [
            new("city", l => l.City(), ["{s} lives in {v}.", "The home of {s} is in {v}.", "{s} has moved to {v}."], ["Where does {s} live?", "In which city does {s} live?", "What city does {s} live in?"]),
            new("age", l => l.Age(), ["{s} is {v} years old.", "{s} turned {v} this year.", "The age of {s} is {v}."], ["How old is {s}?", "What is the age of {s}?"], true),
            new("job", l => l.Job(), ["{s} works as a {v}.", "{s} is a {v}.", "The job of {s} is {v}."], ["What is the job of {s}?", "What does {s} do for a living?", "What does {s} work as?"]),
            new("company", l => l.Company(), ["{s} works for {v}.", "{s} is employed at {v}."], ["Which company does {s} work for?", "Who does {s} work for?"]),
            new("born", l => l.Year(), ["{s} was born in {v}.", "The year of birth of {s} is {v}."], ["When was {s} born?", "In which year was {s} born?"], true),
            new("colour", l => l.Colour(), ["The favourite colour of {s} is {v}.", "{s} likes the colour {v} best."], ["What is the favourite colour of {s}?", "Which colour does {s} like best?"]),
            new("pet", l => l.Animal(), ["{s} has a {v}.", "{s} keeps a {v} at home."], ["What pet does {s} have?", "Which animal does {s} keep?"]),
            new("hobby", l => l.Hobby(), ["{s} enjoys {v}.", "The hobby of {s} is {v}."], ["What is the hobby of {s}?", "What does {s} enjoy?"]),
            new("food", l => l.Food(), ["{s} loves to eat {v}.", "The favourite food of {s} is {v}."], ["What is the favourite food of {s}?", "What does {s} love to eat?"]),
            new("phone", l => l.Phone(), ["The phone number of {s} is {v}.", "You can call {s} at {v}."], ["What is the phone number of {s}?", "How can I call {s}?"]),
            new("email", l => l.Email(), ["The email of {s} is {v}.", "You can write to {s} at {v}."], ["What is the email of {s}?", "What is the email address of {s}?"]),
            new("friend", l => l.FirstName(), ["The best friend of {s} is {v}.", "{s} often meets {v}."], ["Who is the best friend of {s}?", "Who does {s} often meet?"]),
        ]),
        new("company", l => l.Company(),
        [
            new("founded", l => l.Year(), ["{s} was founded in {v}.", "{s} has existed since {v}."], ["When was {s} founded?", "In which year was {s} founded?"], true),
            new("city", l => l.City(), ["{s} is based in {v}.", "The office of {s} is in {v}."], ["Where is {s} based?", "In which city is {s}?"]),
            new("director", l => l.Person(), ["The director of {s} is {v}.", "{s} is led by {v}."], ["Who is the director of {s}?", "Who leads {s}?"]),
            new("employees", l => l.Medium(), ["{s} has {v} employees.", "{v} people work at {s}."], ["How many employees does {s} have?", "How many people work at {s}?"], true),
            new("product", l => l.Thing(), ["The main product of {s} is the {v}.", "{s} is known for the {v}."], ["What is the main product of {s}?", "What is {s} known for?"]),
            new("phone", l => l.Phone(), ["The phone number of {s} is {v}.", "You can call {s} at {v}."], ["What is the phone number of {s}?", "How can I call {s}?"]),
        ]),
        new("product", l => "the " + l.Thing(),
        [
            new("price", l => l.Price(), ["The price of {s} is {v} euros.", "You can buy {s} for {v} euros."], ["What is the price of {s}?", "How much is {s}?"], true),
            new("weight", l => l.Medium(), ["The weight of {s} is {v} grams.", "On the scale, {s} shows {v} grams."], ["What is the weight of {s}?", "How heavy is {s}?"], true),
            new("material", l => l.Material(), ["The maker chose {v} for {s}.", "The material of {s} is {v}."], ["What is the material of {s}?", "What is {s} made of?"]),
            new("code", l => l.Code(), ["The code of {s} is {v}.", "In the list, {s} has the code {v}."], ["What is the code of {s}?", "Which code does {s} have?"]),
            new("stock", l => l.Small(), ["The stock of {s} is {v}.", "The shop has {v} of {s} left."], ["What is the stock of {s}?", "How many of {s} are left?"], true),
            new("warranty", l => l.Small(), ["The warranty of {s} is {v} months.", "For {s} you get {v} months of warranty."], ["How long is the warranty of {s}?", "What is the warranty of {s}?"], true),
            new("designer", l => l.Person(), ["The designer of {s} is {v}.", "{v} designed {s}."], ["Who is the designer of {s}?", "Who designed {s}?"]),
        ]),
        new("town", l => l.City(),
        [
            new("population", l => l.Large(), ["{s} has a population of {v}.", "{v} people live in {s}."], ["What is the population of {s}?", "How many people live in {s}?"], true),
            new("mayor", l => l.Person(), ["The mayor of {s} is {v}.", "{v} is the mayor of {s}."], ["Who is the mayor of {s}?", "What is the name of the mayor of {s}?"]),
            new("river", l => l.City(), ["{s} lies on the river {v}.", "The river in {s} is called {v}."], ["Which river is {s} on?", "What is the river in {s} called?"]),
            new("food", l => l.Food(), ["{s} is famous for its {v}.", "Visitors of {s} should try the {v}."], ["What is {s} famous for?", "What should visitors of {s} try?"]),
            new("museum", l => l.Clock(), ["The museum of {s} opens at {v}.", "In {s} the museum opens at {v}."], ["When does the museum of {s} open?", "At what time does the museum in {s} open?"]),
            new("founded", l => l.Year(), ["{s} was founded in {v}.", "{s} has existed since {v}."], ["When was {s} founded?", "In which year was {s} founded?"], true),
        ]),
        new("event", l => "the " + l.Word() + " " + l.Pick(["festival", "concert", "meeting", "fair", "race", "workshop", "conference", "party"]),
        [
            new("date", l => l.Date(), ["The date of {s} is {v}.", "On {v} there is {s}."], ["When is {s}?", "What is the date of {s}?"]),
            new("time", l => l.Clock(), ["The doors of {s} open at {v}.", "The start of {s} is at {v}."], ["At what time is the start of {s}?", "What time does {s} start?"]),
            new("place", l => l.City(), ["The place of {s} is {v}.", "People come to {v} for {s}."], ["Where is {s}?", "In which city is {s}?"]),
            new("ticket", l => l.Small(), ["A ticket for {s} is {v} euros.", "Visitors pay {v} euros for {s}."], ["How much is a ticket for {s}?", "What do visitors pay for {s}?"], true),
            new("organiser", l => l.Person(), ["The organiser of {s} is {v}.", "{v} plans {s}."], ["Who is the organiser of {s}?", "Who plans {s}?"]),
        ]),
        new("title", l => l.Title(),
        [
            new("author", l => l.Person(), ["The author of {s} is {v}.", "{v} wrote {s}.", "{s} was written by {v}."], ["Who is the author of {s}?", "Who wrote {s}?"]),
            new("year", l => l.Year(), ["{s} was published in {v}.", "{s} came out in {v}."], ["When was {s} published?", "In which year did {s} come out?"], true),
            new("pages", l => l.Medium(), ["{s} has {v} pages.", "There are {v} pages in {s}."], ["How many pages does {s} have?", "How long is {s}?"], true),
            new("hero", l => l.FirstName(), ["The hero of {s} is {v}.", "{s} tells the story of {v}."], ["Who is the hero of {s}?", "Whose story does {s} tell?"]),
            new("shelf", l => l.Code(), ["{s} stands on shelf {v}.", "You find {s} on shelf {v}."], ["On which shelf is {s}?", "Which shelf is {s} on?"]),
        ]),
    ];

    public static Profile Draw(Lexicon l, Kind kind, int facts)
    {
        Attribute[] attributes = [.. kind.Attributes];
        l.Random.Shuffle(attributes);
        return new Profile(kind, kind.Subject(l), [.. attributes.Take(facts).Select(a => (a, a.Value(l)))]);
    }

    public static string Fill(Lexicon l, string[] templates, string subject, string value) =>
        Sentence(l.Pick(templates).Replace("{s}", subject, StringComparison.Ordinal).Replace("{v}", value, StringComparison.Ordinal));

    public static string Sentence(string text) => char.ToUpperInvariant(text[0]) + text[1..];
}
