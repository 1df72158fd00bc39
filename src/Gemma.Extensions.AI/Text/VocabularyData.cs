using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>A vocabulary as it was read, before the tables of <see cref="TokenizerVocabulary"/> are built: files that add and rename tokens change it.</summary>
/// <param name="source">Where it comes from, for messages.</param>
internal sealed class VocabularyData(string source)
{
    /// <summary>Most ids without a token that a file may leave between or after those that have one.</summary>
    public const int MaxGap = 1 << 16;

    /// <summary>The score that llama.cpp's converter gives added tokens, which have none.</summary>
    private const float AddedScore = -1000;

    private Dictionary<string, int>? _ids;

    public string Source { get; } = source;

    /// <summary>UTF-8 by id; empty for an id without a token.</summary>
    public List<byte[]> Pieces { get; } = [];

    /// <summary>By id; the pair whose piece has the highest merges first.</summary>
    public List<float> Scores { get; } = [];

    /// <summary>By id; <see cref="TokenKind.Unused"/> for an id without a token.</summary>
    public List<TokenKind> Kinds { get; } = [];

    /// <summary>The matching rules of tokens other than plain matches of their text.</summary>
    public Dictionary<int, TokenMatching> Matching { get; } = [];

    /// <summary>-1: the token of the name <c>&lt;bos&gt;</c>; likewise the others.</summary>
    public int BosId { get; set; } = -1;

    public int EosId { get; set; } = -1;

    public int PadId { get; set; } = -1;

    /// <summary>Tokens that end a reply, as far as the files name them: those that look like markup are structure, whatever type the file gives them.</summary>
    public IReadOnlyList<int> StopIds { get; set; } = [];

    public int Count => Pieces.Count;

    public void Add(byte[] piece, float score, TokenKind kind)
    {
        Pieces.Add(piece);
        Scores.Add(score);
        Kinds.Add(kind);
    }

    /// <summary>True if the id has a token.</summary>
    public bool Holds(int id) => (uint)id < (uint)Count && (Pieces[id].Length > 0 || Kinds[id] != TokenKind.Unused);

    /// <summary>True if the token of an id has this text.</summary>
    public bool Holds(int id, string content) => (uint)id < (uint)Count && AddedToken.Spell(Encoding.UTF8.GetString(Pieces[id])) == content;

    /// <summary>The first id with this text (U+2581 for a space), -1 if there is none.</summary>
    public int Find(string content)
    {
        if (_ids is null)
        {
            _ids = new Dictionary<string, int>(Count, StringComparer.Ordinal);
            for (int id = 0; id < Count; id++)
            {
                if (Pieces[id].Length > 0)
                {
                    _ids.TryAdd(AddedToken.Spell(Encoding.UTF8.GetString(Pieces[id])), id);
                }
            }
        }

        return _ids.GetValueOrDefault(content, -1);
    }

    /// <summary>Gives a token its id: a new one, another name for the one that had the id, or another way to match it.</summary>
    /// <exception cref="GemmaModelFormatException">The id is out of range, or the token has no text.</exception>
    public void Put(AddedToken token)
    {
        if (token.Content.Length == 0 || token.Id < 0 || token.Id > Count + (long)MaxGap || token.Id >= TokenizerVocabulary.MaxPieces)
        {
            throw TokenizerVocabulary.Bad(Source, $"the added token '{token.Content}' has the id {token.Id:N0} beside {Count:N0} others");
        }

        while (Count <= token.Id)
        {
            Add([], AddedScore, TokenKind.Unused);
        }

        bool isRenamed = !Holds(token.Id, token.Content);
        if (isRenamed || Kinds[token.Id] is not (TokenKind.Unknown or TokenKind.Byte))
        {
            bool merges = !isRenamed && Kinds[token.Id] == TokenKind.Normal && !Matching.GetValueOrDefault(token.Id).HasFlag(TokenMatching.NeverMerges);
            Pieces[token.Id] = Encoding.UTF8.GetBytes(token.Content);
            Kinds[token.Id] = token.IsSpecial ? TokenKind.Control : TokenKind.UserDefined;

            // A token matched anywhere never reaches the merges; one inside a word does.
            Matching.Remove(token.Id);
            TokenMatching matching = token.Matching | (merges && token.Matching.HasFlag(TokenMatching.SingleWord) ? TokenMatching.Merges : 0);
            if (matching != 0)
            {
                Matching[token.Id] = matching;
            }

            if (isRenamed)
            {
                _ids = null;
            }
        }
    }

    /// <summary>Makes a token that text can spell structure, as those are that mark turns.</summary>
    public void MakeControl(int id)
    {
        // A line feed that ends replies stays a line feed.
        if (Kinds[id] is TokenKind.Normal or TokenKind.UserDefined && !string.IsNullOrWhiteSpace(Encoding.UTF8.GetString(Pieces[id]).Replace('\u2581', ' ')))
        {
            Kinds[id] = TokenKind.Control;
        }
    }
}
