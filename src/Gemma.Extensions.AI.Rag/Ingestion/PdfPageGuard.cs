using System.Globalization;
using UglyToad.PdfPig;
using UglyToad.PdfPig.Content;
using UglyToad.PdfPig.Core;
using UglyToad.PdfPig.Filters;
using UglyToad.PdfPig.Outline.Destinations;
using UglyToad.PdfPig.Tokens;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>
/// Measures a page before the parser draws it: how deep forms draw one another, and how much is drawn with every form counted as often as it is.
/// </summary>
internal sealed class PdfPageGuard(PdfDocument document, PdfGuard guard) : IPageFactory<PdfPageGuard.Checked>
{
    /// <summary>Limits of a page in bytes, operands and operators, and characters. Content of a form counts each time it is drawn.</summary>
    private const long MaxBytes = 1L << 25, MaxWords = 8_000_000, MaxCharacters = 1_000_000;

    /// <summary>Forms within forms, and saved states; real ones are below ten, and 28 was the limit of the first readers.</summary>
    private const int DeepestForm = 64, DeepestState = 1024;

    /// <summary>Parents that are asked for what a page does not say itself.</summary>
    private const int MaxParents = 64;

    /// <summary>Cost of drawing an image, in words.</summary>
    private const int WordsOfImage = 100;

    private readonly PdfResourceGuard _resources = new(document, guard);
    private readonly HashSet<DictionaryToken> _checked = new(ReferenceEqualityComparer.Instance);

    public Checked Create(int number, DictionaryToken dictionary, PageTreeMembers pageTreeMembers, NamedDestinations namedDestinations)
    {
        Cost cost = default;
        DictionaryToken? resources = Resources(dictionary);
        Dictionary<(IndirectReference, DictionaryToken?), Cost?> known = [];
        foreach (StreamToken stream in Contents(Member(dictionary, "Contents")))
        {
            cost = cost.Plus(Measure(stream, resources, known, 0), 1);
            Check(cost);
        }

        return new Checked();
    }

    private void Check(Cost cost)
    {
        string? what = cost.Bytes > MaxBytes ? string.Create(CultureInfo.InvariantCulture, $"draws more than {MaxBytes >> 20:N0} MiB")
            : cost.Words > MaxWords ? string.Create(CultureInfo.InvariantCulture, $"has more than {MaxWords:N0} drawing instructions")
            : cost.Characters > MaxCharacters ? string.Create(CultureInfo.InvariantCulture, $"has more than {MaxCharacters:N0} characters")
            : null;
        if (what is not null)
        {
            throw guard.Exceeded(what);
        }
    }

    private Cost Measure(StreamToken stream, DictionaryToken? resources, Dictionary<(IndirectReference, DictionaryToken?), Cost?> known, int depth)
    {
        guard.CancellationToken.ThrowIfCancellationRequested();
        if (resources is not null && _checked.Add(resources))
        {
            _resources.Check(resources);
        }

        if (depth > DeepestForm)
        {
            throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"draws forms within forms, more than {DeepestForm} deep"));
        }

        ReadOnlyMemory<byte> bytes = stream.Decode(document.Structure.FilterProvider, document.Structure.TokenScanner);
        if (bytes.Length > MaxBytes)
        {
            Check(new Cost(bytes.Length, 0, 0));
        }

        PdfContentScanner content = new(bytes.Span);
        if (content.DeepestState > DeepestState)
        {
            throw guard.Exceeded(string.Create(CultureInfo.InvariantCulture, $"saves more than {DeepestState:N0} drawing states, one in another"));
        }

        Cost cost = new(bytes.Length, content.Words, content.Characters);
        DictionaryToken? forms = Resolve(Member(resources, "XObject")) as DictionaryToken;
        foreach ((string name, int times) in content.Drawn)
        {
            if (Member(forms, name) is not IndirectReferenceToken reference)
            {
                continue;
            }

            if (known.TryGetValue((reference.Data, resources), out Cost? before))
            {
                cost = cost.Plus(before ?? throw guard.Exceeded("draws a form that draws itself"), times);
            }
            else if (Resolve(reference) is StreamToken form && Resolve(Member(form.StreamDictionary, "Subtype")) is NameToken { Data: "Form" })
            {
                known[(reference.Data, resources)] = null;
                Cost inner = Measure(form, Resolve(Member(form.StreamDictionary, "Resources")) as DictionaryToken ?? resources, known, depth + 1);
                known[(reference.Data, resources)] = inner;
                cost = cost.Plus(inner, times);
            }
            else
            {
                cost = cost.Plus(new Cost(0, WordsOfImage, 0), times);
            }

            Check(cost);
        }

        return cost;
    }

    private IEnumerable<StreamToken> Contents(IToken? token) => Resolve(token) switch
    {
        StreamToken stream => [stream],
        ArrayToken array => array.Data.Select(Resolve).OfType<StreamToken>(),
        _ => [],
    };

    /// <summary>A page without resources takes those of the branch of the tree that it is on.</summary>
    private DictionaryToken? Resources(DictionaryToken page)
    {
        DictionaryToken? node = page;
        for (int i = 0; i < MaxParents && node is not null; i++)
        {
            if (Resolve(Member(node, "Resources")) is DictionaryToken resources)
            {
                return resources;
            }

            node = Resolve(Member(node, "Parent")) as DictionaryToken;
        }

        return null;
    }

    private static IToken? Member(DictionaryToken? dictionary, string name) => dictionary is not null && dictionary.Data.TryGetValue(name, out IToken? value) ? value : null;

    private IToken? Resolve(IToken? token)
    {
        for (int i = 0; i < MaxParents && token is IndirectReferenceToken reference; i++)
        {
            token = document.Structure.TokenScanner.Get(reference.Data)?.Data;
        }

        return token;
    }

    /// <summary>A page within the limits.</summary>
    public sealed record Checked;

    private readonly record struct Cost(double Bytes, double Words, double Characters)
    {
        public Cost Plus(Cost other, int times) => new(Bytes + times * other.Bytes, Words + times * other.Words, Characters + times * other.Characters);
    }
}
