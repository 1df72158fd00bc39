namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Restricts objects to the properties named by the schema. A schema that does not mention other properties allows them without meaning to: the caller ignores
/// them, and a small model fills its answer with them. A schema that wants more says <c>additionalProperties</c>.
/// </summary>
/// <remarks>
/// This narrows the answers, not the schema: it looks at all schemas that hold for an object together (through allOf, $ref, anyOf, if…), after conditions and complements
/// were evaluated by the standard. So every answer validates, and a satisfiable schema stays satisfiable: required names are always kept.
/// </remarks>
internal static class ClosedObjects
{
    /// <summary>True if an object can be restricted to the names given by its schemas, including required ones.</summary>
    public static bool CanClose(ObjectConstraint c) =>
        c.Clauses.Any(static clause => clause.Covers == KeyClause.Coverage.NamedOnly)
        && !c.Clauses.Any(static clause => clause.Covers == KeyClause.Coverage.Others)
        && c.Names.All.Length == 0
        && c.Min <= c.Required.Count; // Otherwise undeclared names may be needed to reach the minimum.

    /// <summary>The alternatives of a condition, which does not describe the object.</summary>
    public static Conjunction[] WithoutCoverage(Conjunction[] alternatives) =>
        Array.ConvertAll(alternatives, static a => a.Object is { Clauses.Count: > 0 } o
            ? a with { Object = o with { Clauses = [.. o.Clauses.Select(static c => c with { Covers = KeyClause.Coverage.Nothing })] } }
            : a);
}
