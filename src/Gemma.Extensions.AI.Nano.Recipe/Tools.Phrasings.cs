namespace Gemma.Extensions.AI.Nano.Recipe;

// How tools are described, and how they are asked for.
internal static partial class Tools
{
    private static readonly Phrasings s_lookups = new Phrasings(
        "(Gets|Get|Returns|Return) the {noun} {of} a {kind}.", "(Looks|Look) up the {noun} {of} (the given|a) {kind}.", "Finds the {noun} {of} (a|one) {kind}", "The {noun} {of} (a|the) {kind}.",
        "(Tells|Says|Shows) the {noun} {of} a {kind}.", "(Reads|Fetches|Retrieves) the {noun} {of} the {kind}", "{noun} {of} a {kind}", "(Use this|Call this) for the {noun} {of} a {kind}.").Also(
        "(Provides|Gives|Delivers|Outputs|Supplies) the {noun} {of} (a|the|any) {kind}.", "(For|About) the {noun} {of} (a|the|any) {kind}.", "(What|How) is the {noun} {of} (a|the) {kind}?",
        "(Checks|Queries|Asks for|Searches) (for |)the {noun} {of} (a|one|the) {kind}(.|)", "(Current|Stored|Known) {noun} {of} (a|the) {kind}.",
        "(Returns|Yields|Prints) (information on|data about|details of) the {noun} {of} (a|the|each) {kind}.",
        "(Service|Tool|Function|Lookup) (for|of) the {noun} {of} (a|the) {kind}.");

    private static readonly Phrasings s_ask = new Phrasings(
        "!What is {it}?", "(Tell|Give) me {it}(.|, please.|!)", "(Can|Could) you check {it}?", "I need (to know |){it}(, please|).", "(Please |)find {it}.", "What's {it}", "Show me {it}", "(Could|Can|Would) you get (me |){it}?", "{bare}?",
        "Do you know {it}?", "Look up {it}(, please|).", "I would like to know {it}.", "{bare}(, please|)", "(Quick question: w|W)hat is {it} (right now|at the moment)?", "(Let me know|Find out) {it}.", "Any news on {it}?", "How about {it}?", "What would {it} be?",
        "(Check|Get) {it}", "Is there a value for {it}?").Also(
        "(Say|State|Report|Read|Name|Fetch|Bring|Print) (me |){it}(.|, please.|)", "(Let me|I want to|I'd like to|I would like to|May I) (see|have|hear|get|learn) {it}(.|, please.)",
        "(Have you|Do you have|You have) (got |){it}?", "(Is|Are) there (data|news|information|details) (on|about|for) {it}?", "(How|What) about {it}(, please|)?", "(Search|Query|Ask|Look) for {it}(.|, please.)",
        "(Inform|Update|Brief) me (on|about) {it}.", "(Please,|Please|Now) {it}(.|)", "(Help me|I try|I want|I have) to (find|get|learn) {it}(, please|).",
        "(I am|I'm) (asking for|looking for|interested in|curious about|waiting for) {it}.", "(Could|Can|Will|Would) (you|somebody|we) (say|report|look at|find out|tell me|show me) {it}?",
        "(And |So |OK, |)what (might|could|may) {it} be?", "(Any|Some) (idea|data|information) (on|about) {it}?", "{bare}(.|!|, thanks.)", "(The question is|I ask for|My request:) {it}.");

    private static readonly Phrasings s_otherSubject = new Phrasings(
        "!And {of} {s}?", "What about {s}?", "How about {s}?", "And (now |)(for |){s}?", "The same for {s}(, please|).", "(Now|Next) {s}(, please|).", "{s}?", "And what (is it|do you get) {of} {s}?", "Do it again for {s}.",
        "(Please check|Check) {s} (too|as well).", "Also (for |){s}(, please|).", "OK, and {s}?").Also(
        "(Then|So|OK,|Fine,|Good,|Right,) {s}(, please|)(?|.|)", "(Do|Take|Try|Repeat) (that|this|it) {of} {s}(, too|, please|).", "(The same|The same thing|That) {of} {s}(?|.|, please.)",
        "(I|Now I) (also |)(need|want) (it|that|the one) (for|{of}) {s}.", "(Could|Can) you do {s} (too|as well|now|next)?", "(And|Also|Plus|Or) {s}(?|, please.|)",
        "(What|How) (is it|is that|does it look) (for|with|{of}) {s}?", "(Change|Switch) (that|it) to {s}.", "(Instead|Rather) (of that, |)(for |){s}(.|, please.)", "(Sorry, |No, |)I meant {s}.",
        "(One more|Another one|Next one|Last one): {s}(.|)", "(Let me|I want to) (see|know|have) (it|that|the one) (for|{of}) {s}(, too|).", "{s} (too|as well|next|now)(, please|)(.|?|)",
        "(With|About|Concerning) {s}(, then|)?");

    private static readonly Phrasings s_chain = new Phrasings(
        "Send a {noun} to the {role} of {s}: {t}", "(Please |)find the {role} of {s} and send (them|this person) a {noun}: {t}", "The {role} of {s} should get a {noun}: {t}", "Who is the {role} of {s}? Send a {noun}: {t}",
        "Look up the {role} of {s}, then write a {noun}: {t}", "(Can|Could) you send the {role} of {s} this {noun}: {t}", "Write to the {role} of {s}, as a {noun}: {t}", "A {noun} for the {role} of {s}: {t}").Also(
        "(Tell|Inform|Notify) the {role} of {s} (with|by|in) a {noun}: {t}", "(I want|I need|I would like) to send a {noun} to the {role} of {s}: {t}",
        "(Get|Check|Find out) who is the {role} of {s}, (and|then) send a {noun}: {t}", "{s} has a {role}. (Send|Write) (that person|this one|the {role}) a {noun}: {t}",
        "(For|To) the {role} of {s}, (send|write) (a|this) {noun}: {t}", "(Let|Make sure) the {role} of {s} (have|gets) (a|the|this) {noun}: {t}", "{noun} to the {role} of {s}: {t}",
        "(Send|Write|Address) (the|this) {noun} to whoever is (the |){role} of {s}: {t}");

    private static readonly Phrasings s_otherDay = new Phrasings("What about {v}?", "And {v}?", "How about {v}?", "(And |)for {v}?", "{v}?", "(Please check|Check) {v} (too|as well).", "I meant {v}.", "OK, and {v}?").Also(
        "(Then|So|OK,|Now|Also) (for |){v}(, please|)(?|.)", "(Change|Switch|Make) it (to |){v}.", "(Do|Try|Check) (that|it|the same) for {v}(, please|)(.|?)",
        "(Sorry, |No, |)(not then|I want|I need|make that) {v}.", "(And|But|Or) (how|what) (about|is it) {v}?", "(Is it|Will it be) the same {v}?", "{v} (too|as well|instead|now)(, please|).",
        "(I also|Now I) (want|need) {v}.", "(Let me see|Show me|Tell me|Give me) {v}(, please|).");

    private static readonly Phrasings s_otherUnit = new Phrasings("In {v}, please.", "And in {v}?", "What is (that|it) in {v}?", "Give (me |)that in {v}.", "(Can|Could) you (say|show) it in {v}?", "{v}, please.", "I need it in {v}.", "How much is (that|it) in {v}?").Also(
        "(Convert|Change|Switch|Turn) (it|that) (to|into) {v}(, please|).", "(Same|The same|That|It|And that) in {v}(, please|)(.|?)", "(Use|Take|I want|I prefer|Make it) {v}(, please|).",
        "(Now|Then|Rather|But) in {v}(?|.|, please.)", "(How|What) (does it|would it) (read|be) in {v}?", "(Tell|Show) me (it |that |the same |)in {v}.", "(Sorry, |No, |)(I want it |)in {v}(!|.|)",
        "{v} (instead|would be better|is better|now)(, please|).");

    private static readonly Phrasings s_both = new Phrasings(
        "What is the {noun} {of} {a} and {of} {b}?", "(Tell|Give) me the {noun} {of} {a} and {b}(, please|).", "Compare the {noun} {of} {a} and {of} {b}.", "I need the {noun} (both |){of} {a} and {of} {b}.", "{noun} {of} {a} and {b}?",
        "(Check|Get) the {noun} {of} {a} and (also |){of} {b}.", "What is the {noun} {of} {a}, and what is it {of} {b}?", "(Can|Could) you (check|find) the {noun} {of} {a} and {of} {b}?").Also(
        "(Say|State|Report|Show|Find|Fetch|Give|Look up) (me |)the {noun} (both |){of} {a} and {b}(.|, please.|)", "{a} and {b}: (what is|give me|tell me|I need) the {noun}(?|.)",
        "(I want|I'd like|I would like|Let me see) the {noun} {of} {a} (as well as|and also|and then|plus) {of} {b}.",
        "(First|Once) the {noun} {of} {a}, then {of} {b}(, please|).", "The {noun}, {of} {a} and {of} {b}(, please|)(?|.)", "(For both|Of both|Twice): the {noun} {of} {a} and {of} {b}.",
        "(How does|Does) the {noun} {of} {a} (compare|relate) to (that|the one) {of} {b}?", "(Which|What) {noun} {of} {a}, (which|and what) {of} {b}?");

    private static readonly Phrasings s_sets = new Phrasings("(Sets|Set) the {noun}.", "Changes the {noun} to a value.", "Sets the {noun} to the given {parameter}.", "(Adjusts|Adjust) the {noun}", "The new {parameter} of the {noun}.").Also(
        "(Gives|Assigns) (a|the) new {parameter} to the {noun}.", "(Updates|Regulates|Controls|Turns|Modifies) the {noun}(.|)", "(For|To) (setting|changing|set|change) the {noun}(.|)",
        "(Use|Call) this to (set|change|adjust) the {noun}.", "Puts the {noun} (to|at) (a|the given|some) {parameter}.", "The {noun}, (to be set|as wanted).");

    private static readonly Phrasings s_set = new Phrasings(
        "(Set|Put|Change|Adjust|Turn) the {noun} to {v}(.|, please.|)", "(Please|Can you|Could you) (set|change) the {noun} to {v}(.|?|)", "(Put|Keep) the {noun} at {v}", "I (want|need) the {noun} at {v}.", "{noun} {v}, please.",
        "Make the {noun} {v}.", "The {noun} should be {v}.", "Let us have {v} as the {noun}.").Also(
        "(Bring|Move|Switch|Turn|Raise|Lower|Regulate) the {noun} to {v}(.|, please.|)", "(Will|Would) you (put|set|turn|bring) the {noun} (to|at) {v}?", "{v} (for|as) the {noun}(, please|)(.|)",
        "(The|My) {noun} (to|at|on) {v}(, please|)(.|)", "(Let|Make) the {noun} (be |become |go to |){v}(, please|).", "(I would like|I'd like|Give me) {v} (for|as|on) the {noun}.",
        "(New|Change of) {noun}: {v}(.|)", "(Update|Modify|Fix|Regulate) the {noun}: {v}(.|)", "The {noun} (must|has to|shall|is to) be (at |){v}.", "(Choose|Take|Use) {v} (for|as) the {noun}(.|, please.)");

    private static readonly Phrasings s_send = new Phrasings(
        "Send a {noun} to {p}: {t}", "(Please |)send the {noun} \"{t}\" to {p}.", "Write a {noun} to {p} saying {t}", "(Can|Could) you send {p} a {noun}: {t}", "{p} should get this {noun}: {t}", "A {noun} for {p}: {t}",
        "Send {p} the {noun} \"{t}\"(, please|).", "Let {p} have a {noun} that says {t}").Also(
        "(Deliver|Pass|Mail|Forward|Address) a {noun} to {p}(:|, saying|, with the words) {t}", "(I want|I need|I would like|I'd like) to send {p} (a|this) {noun}: {t}",
        "(Tell|Inform|Notify) {p} (by|with|in) a {noun}: {t}", "(To|For) {p}, (send|write) (a|this|the) {noun}: {t}", "{noun} (to|for) {p}: {t}", "(Would|Will) you (write|send) {p} (a|this|the) {noun}: {t}",
        "(Make|Prepare|Draft|Create) a {noun} (to|for) {p}: {t}", "(Make sure|See) that {p} gets (the|this|a) {noun}: {t}", "(Give|Hand) {p} (the|a|this) {noun}: {t}",
        "{p} (waits for|needs|wants|expects) a {noun}: {t}");

    private static readonly Phrasings s_book = new Phrasings(
        "(Book|Reserve|Get) a {noun} in {c} for {n} people{tail}(.|, please.)", "I (need|want) a {noun} for {n} people in {c}{tail}.", "Reserve a {noun} in {c} for {n}{tail}", "(Please|Can you) book a {noun} in {c}{tail} for {n} people(.|?)",
        "We are {n} (people|guests) and (need|want) a {noun} in {c}{tail}.", "In {c}, book a {noun} for {n}{tail}.", "A {noun} for {n} in {c}{tail}, please.", "(Can|Could) we have a {noun} in {c} for {n} people{tail}?").Also(
        "(Find|Arrange|Organise|Secure|Take) a {noun} in {c} for {n} (people|persons|guests){tail}(.|, please.|)", "(We|I) (would like|'d like|are looking for|look for) a {noun} in {c}{tail}, for {n}( people|).",
        "(Make|Place) a (reservation|booking) for a {noun} in {c} for {n}{tail}.", "{n} people need a {noun} in {c}{tail}.", "A {noun} in {c}{tail}, {n} (people|persons|guests)(, please|).",
        "(Will|Would) you (book|reserve|arrange) a {noun} for {n} in {c}{tail}?", "(Is|Get me) a {noun} in {c} (free |)for {n}{tail}(?|.)",
        "(For|With) {n} (people|persons|guests), (book|reserve|get) a {noun} in {c}{tail}.", "In {c}{tail} (we|I) (want|need) a {noun} for {n}.");

    private static readonly Phrasings s_order = new Phrasings(
        "Order {noun}: {n} of {t}.", "(Please |)order {n} {t} with the {noun}.", "I (want|need) {n} {t} from the {noun}.", "{noun}: {n} {t}, please.", "(Buy|Get) {n} {t} with the {noun}.", "Add {n} {t} to the {noun} order.",
        "(Can|Could) you order {n} {t} from the {noun}?").Also(
        "(Place|Make) an order (with|from|at) the {noun}: {n} {t}.", "(We|I) (would like|take|'d like|are out of {t}:) {n} {t} from the {noun}.",
        "(Purchase|Bring|Request|Fetch) {n} {t} (from|with|through) the {noun}(.|, please.)", "{n} {t} from the {noun}(, please|)(.|)", "(Will|Would) you (order|buy|get) {n} {t} (from|with) the {noun}?",
        "(From|With) the {noun}, (order|get|buy|take) {n} {t}.", "(Put|Include) {n} {t} (on|in) the {noun} (order|list).", "The {noun}: (order|get|buy) {n} {t}.");

    private static readonly Phrasings s_search = new Phrasings(
        "Search the {noun} for {t}", "Find {t} in the {noun}.", "Look for {t} in the {noun}.", "Search {noun}: {t}", "(Can|Could) you search the {noun} for {t}?", "(What|Is there anything) about {t} in the {noun}?", "I (am looking|look) for {t} in the {noun}.",
        "(Please |)check the {noun} for {t}").Also(
        "(Scan|Query|Browse|Go through|Consult) the {noun} for {t}", "(Seek|Locate|Discover|Get|Look up) {t} (in|among) the {noun}(.|, please.|)",
        "(Does|Do) the {noun} (have|say|hold|mention) (anything about|something on) {t}?", "(Would|Will) you (look for|search for|find) {t} in the {noun}?",
        "(In|Among) the {noun}, (search for|find|look for|is there) {t}", "{t}: (search|see|check|ask) the {noun}", "(I want|I need|I would like) to (find|see) {t} in the {noun}.",
        "(What|Anything) do the {noun} (say|have|tell) (on|about) {t}?", "{noun} (search|query|lookup): {t}");

    private static readonly Phrasings s_play = new Phrasings(
        "Play the {noun} {t}", "Start the {noun} {t}.", "I want the {noun} {t}", "(Please |)play {t}, the {noun}.", "(Can|Could) you play the {noun} {t}?", "Put on the {noun} {t}.", "Let us hear the {noun} {t}.").Also(
        "(Begin|Run|Launch|Switch on|Turn on) the {noun} {t}(.|)", "(I would like|I'd like|I want|Let me|We want) to hear the {noun} {t}(.|)", "(Would|Will) you (play|start|put on) the {noun} {t}?",
        "(The|My|Our) {noun} {t}(, please|)(.|)", "(Let|Make) the {noun} {t} (play|run|start).", "{noun}: {t}", "(For|As) (the|our|my) {noun}, (play|take|start|choose) {t}(.|)", "Time for the {noun} {t}(.|)");
}
