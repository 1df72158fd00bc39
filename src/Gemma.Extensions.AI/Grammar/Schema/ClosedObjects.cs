namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Keeps what a model writes to the properties that a schema names. An object schema that says nothing of other properties allows them, but means nothing
/// by it: they are ignored by who asked, and a small model fills its answer with them. A schema that wants more says <c>additionalProperties</c>.
/// </summary>
/// <remarks>
/// This narrows the answers and not the schema: what the schemas that hold for an object (through allOf, $ref, anyOf, if…) say together decides, after conditions and
/// complements have been worked out as the standard has them. So every answer validates, and a schema that had answers keeps some: what is required may always be there.
/// </remarks>
internal static class ClosedObjects
{
    /// <summary>Whether an object can be kept to the names that its schemas give it, required ones among them.</summary>
    public static bool CanClose(ObjectConstraint c) =>
        c.Clauses.Any(static clause => clause.Covers == KeyClause.Coverage.NamedOnly)
        && !c.Clauses.Any(static clause => clause.Covers == KeyClause.Coverage.Others)
        && c.Names.All.Length == 0
        && c.Min <= c.Required.Count; // More than are required: they may have to be others.

    /// <summary>The alternatives of a condition, which is no description of the object.</summary>
    public static Conjunction[] WithoutCoverage(Conjunction[] alternatives) =>
        Array.ConvertAll(alternatives, static a => a.Object is { Clauses.Count: > 0 } o
            ? a with { Object = o with { Clauses = [.. o.Clauses.Select(static c => c with { Covers = KeyClause.Coverage.Nothing })] } }
            : a);
}
