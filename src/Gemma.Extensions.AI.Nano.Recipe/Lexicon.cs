using System.Globalization;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Side of the fence between training and evaluation.</summary>
internal enum Split
{
    Train,
    HeldOut,
}

/// <summary>
/// Draws names, places, numbers and words. Every drawn entity belongs to exactly one split, by a hash of its spelling: one in eight never occurs in
/// training, so that a held-out case can only be solved by copying what it reads.
/// </summary>
/// <param name="random">Source of all choices.</param>
/// <param name="split">Side of the fence for names of everything.</param>
/// <param name="drawn">Told every entity.</param>
/// <param name="phrasing">Side of the fence for phrasings: cases of the evaluation are put in phrasings of training or in those held out.</param>
/// <param name="said">Told every template and its side of the fence.</param>
internal sealed class Lexicon(Random random, Split split, Action<string>? drawn = null, Split phrasing = Split.Train, Action<string, Split>? said = null)
{
    private static readonly string[] s_onsets = ["b", "br", "c", "d", "dr", "f", "g", "gr", "h", "j", "k", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "tr", "v", "w", "z", "sh", "th", "ch", "bl", "cl", "fl", ""];
    private static readonly string[] s_vowels = ["a", "e", "i", "o", "u", "a", "e", "o", "ai", "ea", "ia", "ou", "ee"];
    private static readonly string[] s_codas = ["", "", "", "n", "r", "l", "s", "m", "t", "k", "nd", "rt", "x", "ll", "ck", "rn"];
    private static readonly string[] s_placeEndings = ["ton", "burg", "ville", "ford", "mar", "stad", "field", "port", "wick", "dale", "by", "ham", "a", "o", "ia", "is", "bridge", "mouth"];
    private static readonly string[] s_familyEndings = ["son", "berg", "man", "er", "ley", "ez", "ov", "ski", "ton", "well", "worth", "ard", "i", "a", "en", "field"];

    private static readonly string[] s_firstNames = Words("Alice Bob Carla David Emma Frank Grace Henry Ines Jack Karen Leo Maria Nora Oscar Paula Quentin Rosa Sam Tina Ursula Victor Wendy Xavier Yara Zoe Anna Ben Clara Daniel Elena Felix Gina Hugo Ivan Julia Kevin Laura Marco Nina Oliver Peter Rita Simon Tom Vera Will Yusuf Amir Beatriz Chen Diego Eva Fatima George Hannah Isaac James Kate Linda Mohamed Nadia Omar Priya Raj Sara Tariq Uma Viktor Lucy Martin Sophie Thomas Helen Robert Susan Mark Jane Paul Ruth John Mary Ali Mei Kenji Yuki Lars Sven Olga Igor Pablo Lucia Andre Chloe Max Ella Noah Mia Liam Ava Ethan Lily Mason Sofia Logan Aria");
    private static readonly string[] s_cities = Words("Paris London Berlin Madrid Rome Vienna Prague Lisbon Dublin Oslo Stockholm Helsinki Warsaw Athens Cairo Tokyo Kyoto Osaka Seoul Beijing Shanghai Delhi Mumbai Sydney Melbourne Toronto Montreal Vancouver Chicago Boston Seattle Denver Dallas Houston Miami Atlanta Phoenix Detroit Lima Bogota Santiago Quito Havana Lagos Nairobi Accra Tunis Algiers Dakar Istanbul Ankara Baghdad Tehran Dubai Doha Munich Hamburg Cologne Zurich Geneva Basel Lyon Nice Milan Turin Naples Venice Seville Porto Ghent Bruges Antwerp Utrecht Leeds York Bath Oxford Cambridge Bristol Cardiff Glasgow Krakow Gdansk Riga Tallinn Vilnius Sofia Bucharest Budapest Zagreb Belgrade Kyiv Minsk Moscow Hanoi Bangkok Manila Jakarta Singapore Perth Auckland Boise Tampa Austin Portland");
    private static readonly string[] s_adjectives = Words("red blue green small large old new wooden silver golden fast quiet bright dark soft heavy light warm cold fresh sweet round flat long short plain modern strong smart simple clean deep tiny black white yellow brown grey pink");
    private static readonly string[] s_things = Words("lamp chair table bag book pen cup bottle clock camera phone radio shirt coat hat shoe ring mirror carpet sofa desk bed kettle toaster oven knife spoon plate basket box candle bicycle helmet tent rope drum guitar piano violin flute printer keyboard mouse screen speaker charger cable battery wallet watch umbrella blanket pillow towel vase brush hammer ladder drill saw kite ball puzzle scarf glove boot jacket backpack notebook mug");
    private static readonly string[] s_jobs = Words("teacher doctor baker farmer pilot nurse lawyer painter writer singer engineer driver chef gardener librarian plumber carpenter dentist judge waiter sailor tailor butcher actor dancer designer builder mechanic photographer journalist electrician scientist architect translator guide");
    private static readonly string[] s_colours = Words("red blue green yellow black white purple orange pink brown grey silver gold violet turquoise beige");
    private static readonly string[] s_animals = Words("dog cat horse rabbit parrot hamster turtle goat sheep pony duck lizard snake goldfish hen donkey canary ferret");
    private static readonly string[] s_foods = Words("bread cheese soup pizza pasta rice honey apples grapes olives fish cake pancakes noodles dumplings tea coffee chocolate beans salad waffles oranges plums nuts");
    private static readonly string[] s_materials = Words("wood steel glass leather cotton wool plastic paper stone silk copper clay bamboo rubber linen");
    private static readonly string[] s_hobbies = Words("chess tennis football painting swimming cooking gardening singing dancing reading fishing hiking running sailing climbing skating cycling knitting");
    private static readonly string[] s_months = Words("January February March April May June July August September October November December");
    private static readonly string[] s_days = Words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday today tomorrow");

    private static readonly Phrasings s_before = new Phrasings("(Hi|Hello|Hey)(!|,|.)", "Good (morning|evening|day)(!|,)", "Please:", "(One|A) question:", "(Sorry|Excuse me),", "(Now|So|Well|OK),", "Dear assistant,", "(Hi|Hello) there(!|,)").Also(
        "(Listen|Look|Right|OK then|Alright)(,|:)", "(Quick|Next|Last|Another) (question|one|thing)(:|.)", "(Hello|Hi|Hey|Dear) (friend|you|computer|bot|assistant)(,|!)",
        "(I hope you can help|Can you help me|Help me, please|I need help)(.|:)", "(Excuse me|Pardon me|Sorry to ask)(,|:|.)", "(It is me again|Me again|Back again)(.|:)",
        "(Greetings|Good afternoon)(!|,|.)", "(For work|For a friend|For my boss|Just curious)(:|,)");

    private static readonly Phrasings s_behind = new Phrasings("Thanks(!|.)", "Thank you(!|.)", "Please be quick.", "I need it now.", "It is urgent.", "That would be (great|nice|kind).", "(Many thanks|Cheers)(!|.)", "No hurry.").Also(
        "(Please|Pretty please)(!|.)", "(Thank you so much|Thanks a lot|Thx|Thanks in advance)(!|.)", "(As soon as you can|Right away|At once|Quickly|Now)(, please|)(!|.)",
        "(I am|We are) (waiting|in a hurry|in no hurry|counting on you).", "(If you can|If possible|If you know)(.|, please.)", "(That is all|Nothing else|No more)(.|!)",
        "(It is|This is) (important|for my boss|for a friend)(.|!)");

    /// <summary>Words that a sentence begins with and that are no names.</summary>
    private static readonly HashSet<string> s_openings = [.. Words("What Which Who When Where How Tell Give Show Can Could Would Do Is Find Please I Look Check Get Send Set Open Run Search List Read Create")];

    public Random Random { get; } = random;

    public Split Split { get; } = split;

    public Split Phrasing { get; } = phrasing;

    public static string[] Words(string text) => text.Split(' ', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The choices of case <paramref name="index"/> of a seed, the same each time.</summary>
    public static Lexicon Of(int seed, int index, Split split, Action<string>? drawn = null, Split phrasing = Split.Train, Action<string, Split>? said = null) =>
        new(new Random(unchecked(seed * 7_368_787 + index * 2 + (split == Split.HeldOut ? 1 : 0))), split, drawn, phrasing, said);

    /// <summary>By a hash of the lower-case spelling, one in eight is held out.</summary>
    public static bool IsHeldOut(string entity) => Hash(entity.ToLowerInvariant()) % 8 == 0;

    /// <summary>FNV-1a with a last stir.</summary>
    public static uint Hash(string text)
    {
        uint hash = 2166136261;
        foreach (char c in text)
        {
            hash = (hash ^ c) * 16777619;
        }

        hash ^= hash >> 15;
        hash *= 2246822519;
        return hash ^ (hash >> 13);
    }

    /// <summary>Number of a month, from 1.</summary>
    public static int MonthOf(string name) => Array.IndexOf(s_months, name) + 1;

    public T Pick<T>(IReadOnlyList<T> items) => items[Random.Next(items.Count)];

    public bool Chance(double probability) => Random.NextDouble() < probability;

    /// <summary>Now and then a greeting before what is asked, or thanks behind it.</summary>
    public string Polite(string text) => Greeted(Manner.Vary(this, text));

    private string Greeted(string text) => Random.Next(12) switch
    {
        0 => s_before.Fill(this) + " " + (char.IsUpper(text[0]) && text.Length > 1 && char.IsLower(text[1]) && Chance(0.5) && s_openings.Contains(text.Split(' ')[0]) ? char.ToLowerInvariant(text[0]) + text[1..] : text),
        1 when text[^1] is '?' or '.' or '!' => text + " " + s_behind.Fill(this),
        _ => text,
    };

    /// <summary>A template is being filled.</summary>
    public void Use(string template, Split side) => said?.Invoke(template, side);

    /// <summary>Draws until the entity lies in this split.</summary>
    public string Draw(Func<string> draw)
    {
        for (int attempt = 0; attempt < 10_000; attempt++)
        {
            string entity = draw();
            if (IsHeldOut(entity) == (Split == Split.HeldOut))
            {
                drawn?.Invoke(entity);
                return entity;
            }
        }

        throw new InvalidOperationException($"None of 10,000 draws lies in the split {Split}; the last was '{draw()}'. The list that it comes from is too short to be divided.");
    }

    /// <summary>A made-up word of one to three syllables, lower case.</summary>
    public string Word() => Draw(() => Syllables(Random.Next(1, 4)));

    public string FirstName() => Draw(() => Chance(0.4) ? Pick(s_firstNames) : Capital(Syllables(2)));

    public string FamilyName() => Draw(() => Capital(Syllables(Random.Next(1, 3)) + Pick(s_familyEndings)));

    public string Person() => Chance(0.5) ? FirstName() : FirstName() + " " + FamilyName();

    public string City() => Draw(() => Chance(0.35) ? Pick(s_cities) : Capital(Syllables(Random.Next(1, 3)) + (Chance(0.7) ? Pick(s_placeEndings) : "")));

    public string Company() => Draw(() => Capital(Syllables(2))) + Pick(["", "", " Labs", " Foods", " Motors", " Books", " Systems", " Works", " Group"]);

    public string Thing() => Chance(0.25) ? Word() : Draw(() => Pick(s_adjectives) + " " + Pick(s_things));

    public string Title() => "The " + Draw(() => Capital(Pick(s_adjectives)) + " " + Capital(Chance(0.5) ? Pick(s_things) : Syllables(2)));

    public string Job() => Pick(s_jobs);
    public string Colour() => Pick(s_colours);
    public string Animal() => Pick(s_animals);
    public string Food() => Pick(s_foods);
    public string Material() => Pick(s_materials);
    public string Hobby() => Pick(s_hobbies);
    public string Day() => Pick(s_days);

    public string Date() => Draw(() => Number(1, 28) + " " + Pick(s_months));
    public string Year() => Draw(() => Number(1700, 2030));
    public string Age() => Number(3, 99);
    public string Small() => Number(2, 60);
    public string Large() => Draw(() => Number(100, 99999));
    public string Medium() => Draw(() => Number(10, 999));
    public string Price() => Draw(() => Chance(0.5) ? Number(2, 999) : Number(1, 99) + "." + Number(10, 99));
    public string Code() => Draw(() => $"{(char)('A' + Random.Next(26))}{(char)('A' + Random.Next(26))}{Pick(["-", ""])}{Number(100, 9999)}");
    public string Phone() => Draw(() => $"{Number(100, 999)}-{Number(1000, 9999)}");
    public string Clock() => Draw(() => $"{Number(0, 23)}:{Random.Next(0, 12) * 5:00}");
    public string Email() => Draw(() => Syllables(2) + "@" + Syllables(2) + Pick([".com", ".org", ".net"]));

    /// <summary>A few words to be copied as they are.</summary>
    public string Phrase()
    {
        int count = Random.Next(1, 6);
        return string.Join(' ', Enumerable.Range(0, count).Select(_ => Random.Next(6) switch
        {
            0 => Word(),
            1 => FirstName(),
            2 => Pick(s_things),
            3 => Medium(),
            4 => Pick(s_foods),
            _ => Pick(s_adjectives),
        }));
    }

    public string Capital(string word) => char.ToUpperInvariant(word[0]) + word[1..];

    private string Number(int low, int high) => Random.Next(low, high + 1).ToString(CultureInfo.InvariantCulture);

    private string Syllables(int count)
    {
        while (true)
        {
            string word = "";
            for (int i = 0; i < count; i++)
            {
                word += Pick(s_onsets) + Pick(s_vowels) + (i == count - 1 || Chance(0.3) ? Pick(s_codas) : "");
            }

            // A place called Train would occur in every train schedule.
            if (word.Length >= 3 && !Tools.Words.Contains(word))
            {
                return word;
            }
        }
    }
}
