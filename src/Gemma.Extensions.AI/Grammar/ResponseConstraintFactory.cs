using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization.Metadata;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.DotNet;
using Gemma.Extensions.AI.Grammar.Gbnf;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>Creates the constraint that enforces a caller's demands on the answer (format, tools, tool mode).</summary>
internal static class ResponseConstraintFactory
{
    /// <param name="tokenizer">The model's tokenizer.</param>
    /// <param name="options">Format, tools and tool mode.</param>
    /// <param name="endTokens">Tokens that end the reply.</param>
    /// <param name="regex">An ECMA-262 expression that the whole answer must match, where set.</param>
    /// <param name="gbnf">A GBNF grammar of the answer, where set.</param>
    /// <param name="schemaOptions">How schemas are read; null takes the defaults.</param>
    /// <param name="answerType">The type as which a JSON answer is read, where known.</param>
    /// <param name="markup">What stands around a call; null: our own.</param>
    /// <param name="cancellation">Ends the compilation.</param>
    /// <returns>Null where any text is allowed.</returns>
    /// <exception cref="NotSupportedException">Something cannot be enforced; the message names it.</exception>
    /// <exception cref="ArgumentException">A schema, expression or grammar is malformed, nothing satisfies it, or the required tool is not offered.</exception>
    public static async ValueTask<ITokenConstraint?> CreateAsync(
        GemmaTokenizer tokenizer, ChatOptions? options, IReadOnlyList<int> endTokens, string? regex = null, string? gbnf = null, JsonSchemaOptions? schemaOptions = null, JsonTypeInfo? answerType = null,
        ToolMarkup? markup = null, CancellationToken cancellation = default)
    {
        GrammarCompiler compiler = GrammarCompiler.For(tokenizer);
        markup ??= ToolMarkup.Own;
        schemaOptions = (schemaOptions ?? new JsonSchemaOptions()) with { ClosesObjects = true };
        ToolSignature[] tools = Tools(options, schemaOptions.Lenient);
        bool required = options?.ToolMode is RequiredChatToolMode && tools.Length > 0;
        bool several = options?.AllowMultipleToolCalls ?? true;
        (string Key, Func<Symbol> Make)? answer = Answer(options, schemaOptions, regex, gbnf, answerType);
        if (tools.Length == 0)
        {
            return answer is null ? null : (await compiler.KeepAsync(answer.Value.Key, () => new CompiledGrammar(compiler.Vocabulary, answer.Value.Make()), cancellation).ConfigureAwait(false)).CreateConstraint(endTokens);
        }

        StringBuilder key = new($"tools {several} {schemaOptions} ");
        foreach (ToolSignature tool in tools)
        {
            key.Append(JsonValue.Create(tool.Name).ToJsonString()).Append(tool.Parameters.ValueKind == JsonValueKind.Undefined ? "{}" : tool.Parameters.GetRawText()).Append('\n');
        }

        if (required)
        {
            return (await compiler.KeepAsync("required " + key, () => new CompiledGrammar(compiler.Vocabulary, new RuleSymbol(ToolCallGrammar.Calls(markup, tools, several, schemaOptions))), cancellation).ConfigureAwait(false)).CreateConstraint(endTokens);
        }

        if (answer is null)
        {
            return new ToolCallConstraint(
                markup, await compiler.KeepAsync("auto " + key, () => new CompiledGrammar(compiler.Vocabulary, ToolCallGrammar.AfterMarker(markup, tools, several, schemaOptions)), cancellation).ConfigureAwait(false), endTokens);
        }

        CompiledGrammar grammar = await compiler.KeepAsync($"either {answer.Value.Key}\n{key}", () =>
        {
            Rule either = new("answer");
            either.Alternatives.Add([new RuleSymbol(ToolCallGrammar.Calls(markup, tools, several, schemaOptions))]);
            either.Alternatives.Add([answer.Value.Make()]);
            return new CompiledGrammar(compiler.Vocabulary, new RuleSymbol(either));
        }, cancellation).ConfigureAwait(false);
        return grammar.CreateConstraint(endTokens);
    }

    private static ToolSignature[] Tools(ChatOptions? options, bool lenient)
    {
        if (options?.Tools is not { Count: > 0 } || options.ToolMode is NoneChatToolMode)
        {
            return [];
        }

        ToolSignature[] tools = [.. options.Tools.OfType<AIFunctionDeclaration>().Select(t => new ToolSignature(t.Name, CompactJson.WithoutHalves(DotNetParameters.SchemaOf(t, lenient))))];
        if (options.ToolMode is RequiredChatToolMode { RequiredFunctionName: { } name })
        {
            tools = [.. tools.Where(t => t.Name == name)];
            if (tools.Length == 0)
            {
                throw new ArgumentException($"The tool mode requires a call of '{name}', but ChatOptions.Tools holds no function of that name. It holds: {string.Join(", ", options.Tools.Select(static tool => tool?.Name))}.");
            }
        }

        return tools;
    }

    private static (string Key, Func<Symbol> Make)? Answer(ChatOptions? options, JsonSchemaOptions schemaOptions, string? regex, string? gbnf, JsonTypeInfo? type)
    {
        if ((regex is not null && gbnf is not null) || ((regex ?? gbnf) is not null && options?.ResponseFormat is ChatResponseFormatJson))
        {
            throw new ArgumentException("Only one of ResponseFormat, Regex and Grammar can be set: an answer has one form.");
        }

        if (regex is not null)
        {
            return ("regex " + regex, () => new LexerSymbol(GrammarCompiler.RegexLexer(regex)));
        }

        if (gbnf is not null)
        {
            return ("gbnf " + gbnf, () => GbnfCompiler.Compile(gbnf)[0]);
        }

        if (options?.ResponseFormat is not ChatResponseFormatJson json)
        {
            return null;
        }

        JsonElement schema = json.Schema ?? JsonElement.Parse("true");
        if (schema.ValueKind == JsonValueKind.Undefined)
        {
            throw new ArgumentException("ChatOptions.ResponseFormat has a schema that is default(JsonElement). Parse one, or use ChatResponseFormat.Json for any JSON.", nameof(options));
        }

        schema = CompactJson.WithoutHalves(DotNetParameters.AnswerOf(schema, json.SchemaName, type, schemaOptions.Lenient));
        return ($"schema {schemaOptions} {schema.GetRawText()}", () => new ValueSymbol(JsonSchemaCompiler.Compile(schema, schemaOptions)));
    }
}
