using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>A tool whose function is in another process. The types of its parameters are known there alone, where they completed the schema.</summary>
/// <param name="name">The tool's name.</param>
/// <param name="description">What it is for.</param>
/// <param name="schema">The schema of its parameters, which the model is shown.</param>
/// <param name="enforcedSchema">The same, completed by the types: calls are held to it.</param>
internal sealed class CarriedTool(string name, string description, JsonElement schema, JsonElement enforcedSchema) : AIFunctionDeclaration
{
    public override string Name => name;

    public override string Description => description;

    public override JsonElement JsonSchema => schema;

    public JsonElement EnforcedSchema => enforcedSchema;
}
