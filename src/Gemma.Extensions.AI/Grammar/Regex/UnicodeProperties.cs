using System.IO.Compression;
using System.Text;

namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>
/// The Unicode properties of ECMA-262's \p: general categories, scripts, script extensions and binary properties, with the names and the case that the standard
/// gives them. They are read from a table (unicode-properties.mjs makes it), as .NET knows the categories only.
/// </summary>
internal static class UnicodeProperties
{
    private static readonly Lazy<(Dictionary<string, CharSet> Sets, CharSet Unsure)> s_table = new(Read);

    private static readonly (string Names, string[] Categories)[] s_groups =
    [
        ("L Letter", ["Lu", "Ll", "Lt", "Lm", "Lo"]), ("LC Cased_Letter", ["Lu", "Ll", "Lt"]), ("M Mark Combining_Mark", ["Mn", "Mc", "Me"]), ("N Number", ["Nd", "Nl", "No"]),
        ("P Punctuation punct", ["Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"]), ("S Symbol", ["Sm", "Sc", "Sk", "So"]), ("Z Separator", ["Zs", "Zl", "Zp"]), ("C Other", ["Cc", "Cf", "Cs", "Co", "Cn"]),
    ];

    /// <summary>Code points whose properties differ between versions of Unicode, mostly unassigned in older ones: excluded from texts that depend on a property.</summary>
    public static CharSet Unsure => s_table.Value.Unsure;

    /// <summary>The names accepted by <see cref="TryGet"/>; values of the three properties are prefixed "gc=", "sc=" and "scx=".</summary>
    public static IEnumerable<string> Names => s_table.Value.Sets.Keys.Concat(["Any", "ASCII", "Assigned"]);

    /// <summary>The characters of a property, named as inside the braces of \p; null for names unknown to the standard. <see cref="Unsure"/> code points may be missing.</summary>
    public static CharSet? TryGet(string property)
    {
        int equals = property.IndexOf('=');
        string key = equals < 0 ? property : property[..equals] switch
        {
            "General_Category" or "gc" => "gc=",
            "Script" or "sc" => "sc=",
            "Script_Extensions" or "scx" => "scx=",
            _ => "?",
        } + property[(equals + 1)..];
        return key switch
        {
            "Any" => CharSet.Any,
            "ASCII" => CharSet.Range(0, 127),
            "Assigned" => s_table.Value.Sets["gc=Cn"].Complement(),
            _ => s_table.Value.Sets.GetValueOrDefault(key) ?? (equals < 0 ? s_table.Value.Sets.GetValueOrDefault("gc=" + key) : null),
        };
    }

    /// <summary>True if a property is the same in all versions of Unicode.</summary>
    public static bool IsStable(string property) => property is "Any" or "ASCII" or "ASCII_Hex_Digit" or "AHex";

    private static (Dictionary<string, CharSet> Sets, CharSet Unsure) Read()
    {
        using Stream packed = typeof(UnicodeProperties).Assembly.GetManifestResourceStream("UnicodeProperties.bin")!;
        using DeflateStream inflated = new(packed, CompressionMode.Decompress);
        using MemoryStream bytes = new();
        inflated.CopyTo(bytes);
        bytes.Position = 0;
        Dictionary<string, CharSet> sets = [];
        CharSet unsure = CharSet.None;
        while (bytes.Position < bytes.Length)
        {
            byte[] name = new byte[Integer(bytes)];
            bytes.ReadExactly(name);
            (int, int)[] ranges = new (int, int)[Integer(bytes)];
            for (int i = 0, at = 0; i < ranges.Length; i++)
            {
                int start = at + Integer(bytes);
                at = start + Integer(bytes);
                ranges[i] = (start, at - 1);
            }

            string[] names = Encoding.UTF8.GetString(name).Split(' ');
            CharSet set = CharSet.FromRanges(ranges);
            if (names[0] == "u")
            {
                unsure = set;
            }
            else
            {
                Add(sets, names, set);
            }
        }

        foreach ((string group, string[] categories) in s_groups)
        {
            CharSet union = CharSet.FromRanges(categories.SelectMany(c => sets["gc=" + c].Pairs()));
            foreach (string alias in group.Split(' '))
            {
                sets["gc=" + alias] = union;
            }
        }

        return (sets, unsure);
    }
    /// <summary>Adds a set under all its names, the first of which says what it is: g a category, s a script, x the difference to a script's extensions, else a binary property.</summary>
    private static void Add(Dictionary<string, CharSet> sets, string[] names, CharSet set)
    {
        if (names[0] == "x")
        {
            // In one of the two only. All names of the script are those of its extensions.
            CharSet script = sets["sc=" + names[1]], extended = script.Union(set).Intersect(script.Intersect(set).Complement());
            foreach (string key in sets.Where(s => s.Key.StartsWith("sc=", StringComparison.Ordinal) && ReferenceEquals(s.Value, script)).Select(static s => s.Key).ToArray())
            {
                sets["scx=" + key[3..]] = extended;
            }

            return;
        }

        string kind = names[0] switch { "g" => "gc=", "s" => "sc=", _ => "" };
        foreach (string alias in names[1..])
        {
            sets[kind + alias] = set;
            if (kind == "sc=")
            {
                sets["scx=" + alias] = set;
            }
        }
    }

    private static int Integer(Stream bytes)
    {
        int value = 0, shift = 0, b;
        do
        {
            b = bytes.ReadByte();
            value |= (b & 127) << shift;
            shift += 7;
        }
        while (b > 127);

        return value;
    }
}
