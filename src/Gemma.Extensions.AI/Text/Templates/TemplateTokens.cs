using System.Globalization;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>The tokens of a template and the place that a parser has reached.</summary>
internal sealed class TemplateTokens(string source, List<TemplateToken> tokens)
{
    private const int MaxDepth = 100;
    private int _at;
    private int _depth;

    public TokenType Type => tokens[_at].Type;

    public string Text => tokens[_at].Text;

    public int Position => tokens[_at].Position;

    public string Found => Show(tokens[_at]);

    public TemplateToken Next() => tokens[_at < tokens.Count - 1 ? _at++ : _at];

    public bool Is(string name) => Type == TokenType.Operator && Text == name;

    public bool Take(string name)
    {
        bool taken = Is(name);
        _at += taken ? 1 : 0;
        return taken;
    }

    public bool TakeName(string name)
    {
        bool taken = Type == TokenType.Name && Text == name;
        _at += taken ? 1 : 0;
        return taken;
    }

    public TemplateToken Expect(TokenType type) => Type == type ? Next() : throw Bad($"found {Found}, expected {Describe(type)}");

    public void Expect(string name)
    {
        if (!Take(name))
        {
            throw Bad($"found {Found}, expected '{name}'");
        }
    }

    public void ExpectName(string name)
    {
        if (!TakeName(name))
        {
            throw Bad($"found {Found}, expected '{name}'");
        }
    }

    public static string Show(TemplateToken token) =>
        token.Type is TokenType.Name or TokenType.Operator or TokenType.Integer or TokenType.Float ? $"'{token.Text}'" : Describe(token.Type);

    public Depth Nested() => ++_depth <= MaxDepth ? new Depth(this) : throw Bad($"tags or expressions are nested more than {MaxDepth} deep");

    public TemplateException Bad(string message) => Bad(Position, message);

    public TemplateException Bad(int position, string message) => TemplateException.At(source, position, TemplateFault.Unsupported, message);

    private static string Describe(TokenType type) => type switch
    {
        TokenType.BlockEnd => "the end of the tag (%})",
        TokenType.VariableEnd => "the end of the tag (}})",
        TokenType.Name => "a name",
        TokenType.String => "a string",
        TokenType.End => "the end of the template",
        _ => "text",
    };

    internal readonly ref struct Depth(TemplateTokens tokens)
    {
        public void Dispose() => tokens._depth--;
    }
}
