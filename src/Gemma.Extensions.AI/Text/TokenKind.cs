namespace Gemma.Extensions.AI.Text;

/// <summary>The kind of a vocabulary entry, with the values of SentencePiece and GGUF.</summary>
internal enum TokenKind : byte
{
    /// <summary>A piece that merges produce.</summary>
    Normal = 1,

    /// <summary>Stands for what the vocabulary cannot spell.</summary>
    Unknown = 2,

    /// <summary>Structure, not text: bos, eos, padding, and the turn markers, whatever the file calls those.</summary>
    Control = 3,

    /// <summary>Matched in the text before any merge, longest first.</summary>
    UserDefined = 4,

    /// <summary>An entry that encoding never produces.</summary>
    Unused = 5,

    /// <summary>One byte of a character that has no piece.</summary>
    Byte = 6,
}
