using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Benchmarks.Schemas;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Judges that share nothing with the compiler or with <see cref="SchemaOracle"/>: JsonSchema.Net, and ajv where the environment variable AJV_DIRECTORY names it.</summary>
internal sealed class IndependentValidators : IDisposable
{
    private readonly AjvValidator? _ajv = AjvValidator.TryStart(out _);

    /// <summary>Fails where either of them says otherwise than is given, but for known departures of JsonSchema.Net from the specification.</summary>
    public void Agree(string schema, params IReadOnlyList<(string Text, bool IsValid)> texts)
    {
        IReadOnlySet<string> keywords = SchemaKeywords.Of(JsonNode.Parse(schema)!.AsObject());
        NetValidator? net = Net(schema);
        foreach ((string text, bool isValid) in texts)
        {
            JsonElement document = JsonElement.Parse(text);
            Assert.True(net is null || net.IsValid(document) == isValid || NetValidator.Departure(document, keywords) is not null, $"JsonSchema.Net says {!isValid} of {text} under {schema}.");
        }

        if (_ajv?.Validate(schema, [.. texts.Select(static t => t.Text)], out _) is { } verdicts)
        {
            Assert.All(verdicts, (verdict, i) => Assert.True(verdict is null || verdict == texts[i].IsValid, $"ajv says {verdict} of {texts[i].Text} under {schema}."));
        }
    }

    /// <summary>Null for an expression that .NET does not know (<see cref="NetValidator.DotNetExpressions"/>).</summary>
    private static NetValidator? Net(string schema)
    {
        try
        {
            return new NetValidator(JsonElement.Parse(schema));
        }
        catch (RegexParseException)
        {
            return null;
        }
    }

    public void Dispose() => _ajv?.Dispose();
}
