namespace Gemma.Extensions.AI.Text;

/// <summary>The matching flags of a token besides its kind: those of added tokens in Hugging Face files.</summary>
[Flags]
internal enum TokenMatching : byte
{
    /// <summary>Exactly where its text occurs.</summary>
    None = 0,

    /// <summary>Takes the white space before it too (<c>lstrip</c>).</summary>
    LeftStrip = 1,

    /// <summary>Takes the white space after it too (<c>rstrip</c>).</summary>
    RightStrip = 2,

    /// <summary>Matched in normalised text (<c>normalized</c>), after all other tokens, in the text that they leave.</summary>
    Normalized = 4,

    /// <summary>Not within a word (<c>single_word</c>).</summary>
    SingleWord = 8,

    /// <summary>Merges produce it as well as matching does.</summary>
    Merges = 16,

    /// <summary>A normal piece of several characters that no merge produces.</summary>
    NeverMerges = 32,
}
