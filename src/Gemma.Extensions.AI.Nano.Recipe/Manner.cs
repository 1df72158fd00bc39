namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// Other ways to put a sentence, by rule: an opening in front of it, another word for its verb, a contraction, letters as they are typed in haste. What stands at its end stays there, since it
/// may be what a call has to copy. Only training cases are put in other ways.
/// </summary>
internal static class Manner
{
    private static readonly string[] s_asking =
    [
        "Would you", "Will you", "Kindly", "I want you to", "I would like you to", "I'd like you to", "I need you to", "You should", "You can", "Now", "Next,", "First,", "Be so kind and", "Go ahead and",
        "Would you mind to", "Could you please", "Can you please", "It is time to", "Let us", "Let's", "Try to", "Help me to", "Quickly", "I ask you to", "Do me a favour and", "May I ask you to", "Hey, can you", "Just", "Then",
    ];

    private static readonly string[] s_wondering =
    [
        "I want to know:", "I would like to know:", "I'd like to know:", "Tell me:", "Please tell me:", "Can you tell me:", "Could you say:", "I wonder:", "I was asked:", "My question is:", "A question:", "Question:", "Do you know this:", "Quick one:", "Then:",
        "Next:", "Help me:", "Somebody asks:", "Say,", "And", "So", "But", "Now,", "OK,", "Fine,", "Hm,", "By the way,", "Just asking:", "Let me ask:", "May I ask:", "Can you find out:", "Answer this:", "Please answer:", "I forgot:",
    ];

    /// <summary>Beginnings of sentences, and what else says the same.</summary>
    private static readonly (string Begin, string[] Others)[] s_openings =
    [
        ("What is ", ["What's ", "What would be ", "What might be ", "Say what is ", "whats "]), ("What's ", ["What is ", "Whats "]), ("Tell me ", ["Let me know ", "Say ", "Give me ", "Inform me of "]), ("Give me ", ["Let me have ", "I want ", "Hand me ", "Fetch me "]),
        ("Show me ", ["Let me see ", "Display ", "I want to see ", "Bring up "]), ("Show ", ["Display ", "Let me see ", "Bring up ", "Present "]), ("Find ", ["Locate ", "Look for ", "Find out ", "Seek "]), ("Get ", ["Fetch ", "Retrieve ", "Bring me ", "Obtain "]),
        ("List ", ["Enumerate ", "Present ", "Give me a list of ", "Display "]), ("Create ", ["Make ", "Set up ", "Build "]), ("I need ", ["I want ", "I require ", "I am after ", "I could use "]), ("I want ", ["I need ", "I would like ", "I'd like ", "I wish "]),
        ("Look for ", ["Search for ", "Seek ", "Locate "]), ("Check ", ["Look at ", "Inspect ", "Verify ", "See "]), ("Look up ", ["Search for ", "See what is "]), ("Do you know ", ["Do you have ", "Can you say ", "Have you got "]),
        ("Can you ", ["Could you ", "Would you ", "Will you ", "Are you able to "]), ("Could you ", ["Can you ", "Would you ", "Will you please "]), ("Who is ", ["Who's ", "Say who is "]), ("How many ", ["What number of ", "Say how many "]), ("How much is ", ["What costs ", "How expensive is "]),
        ("Where is ", ["Where's ", "In what place is "]), ("When is ", ["When's ", "On what day is "]), ("Which ", ["What ", "Say which "]), ("Read ", ["Let me read ", "Let me see "]), ("Open ", ["Load ", "Bring up ", "Go to "]),
        ("Send ", ["Deliver ", "Pass on ", "Mail "]), ("Write ", ["Compose ", "Draft ", "Put down "]), ("Set ", ["Bring ", "Switch ", "Move "]), ("Search ", ["Scan ", "Go through ", "Comb "]), ("Extract ", ["Pull out ", "Take ", "Collect ", "Get "]),
    ];

    private static readonly HashSet<string> s_questions = [.. Lexicon.Words("What Which Who When Where How Is Are Does Do Has Whose On In What's Any For At")];

    private static readonly HashSet<string> s_commands = [.. Lexicon.Words(
        "Tell Give Show Find Look Check Get Send Set Open Run Search List Read Create Write Put Add Make Save Move Rename Fetch Load Download Commit Switch Convert Execute Describe Remember Forget Delete Remove Store Take Click Press Fill Type Enter Navigate Visit "
        + "Close Merge Post Reply Start Play Book Reserve Order Buy Turn Change Adjust Keep Name Compare Extract Return Repeat Copy Print Let")];

    /// <summary>The sentence in other words, for some training cases; as it is for all others.</summary>
    public static string Vary(Lexicon l, string text)
    {
        if (l.Split != Split.Train || text.Length < 8 || !l.Chance(0.4))
        {
            return text;
        }

        if (l.Chance(0.5) && Reworded(text) is { Length: > 0 } reworded)
        {
            text = l.Pick(reworded);
        }

        if (l.Chance(0.5) && Opened(text) is { Length: > 0 } opened)
        {
            return l.Pick(opened);
        }

        // Only a word is written small: a name or a code may open the sentence.
        return l.Chance(0.15) && IsWord(First(text)) ? Small(text) : text;
    }

    /// <summary>All that can become of a sentence, but for itself.</summary>
    public static IEnumerable<string> Ways(string text)
    {
        string[] reworded = Reworded(text);
        return reworded.Concat(reworded.Append(text).SelectMany(Opened));
    }

    private static string[] Reworded(string text) =>
        [.. s_openings.Where(opening => text.StartsWith(opening.Begin, StringComparison.Ordinal)).Take(1).SelectMany(opening => opening.Others.Select(other => other + text[opening.Begin.Length..]))];

    private static string[] Opened(string text) => s_commands.Contains(First(text)) ? [.. s_asking.Select(asking => $"{asking} {Small(text)}")]
        : s_questions.Contains(First(text)) ? [.. s_wondering.SelectMany(wondering => new[] { $"{wondering} {Small(text)}", $"{wondering} {text}" })]
        : [];

    private static string First(string text) => text.Split(' ', 2)[0];

    private static bool IsWord(string word) => s_commands.Contains(word) || s_questions.Contains(word);

    private static string Small(string text) => char.ToLowerInvariant(text[0]) + text[1..];
}
