namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Options of the compilation of schemas.</summary>
internal sealed record JsonSchemaOptions
{
    /// <summary>Ignore what cannot be enforced instead of refusing the schema.</summary>
    public bool Lenient { get; init; }

    /// <summary>Allow white space between the parts of a document, as much as in indented text.</summary>
    public bool AllowWhitespace { get; init; } = true;

    /// <summary>The format "time" has an offset, as RFC 3339 says, instead of none, as .NET reads it.</summary>
    public bool Rfc3339Times { get; init; }

    /// <summary>The nesting limit; System.Text.Json reads 64 levels by default. Schemas that require more get more.</summary>
    public int MaxNesting { get; init; } = 64;

    /// <summary>Accept declared properties in any order; otherwise they come in the order of the schema, and all others after them.</summary>
    public bool AnyPropertyOrder { get; init; }

    /// <summary>Most characters of texts and names that the schema itself does not bound; null: no limit. What a schema asks for wins: longer texts, where all that it allows are longer.</summary>
    public int? MaxTextLength { get; init; }

    /// <summary>Restrict objects with declared properties to those, unless the schema mentions others (<see cref="ClosedObjects"/>).</summary>
    public bool ClosesObjects { get; init; }
}
