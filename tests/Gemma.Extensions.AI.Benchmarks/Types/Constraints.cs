using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>Constraints for those who have nothing else to do until they are compiled.</summary>
internal static class Constraints
{
    /// <inheritdoc cref="ResponseConstraintFactory.CreateAsync"/>
    public static ITokenConstraint? Create(GemmaTokenizer tokenizer, ChatOptions? options, IReadOnlyList<int> endTokens, JsonSchemaOptions? schemaOptions = null, JsonTypeInfo? answerType = null) =>
        ResponseConstraintFactory.CreateAsync(tokenizer, options, endTokens, schemaOptions: schemaOptions, answerType: answerType).AsTask().GetAwaiter().GetResult();
}
