using System.Text.Json;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>A tool of the server. What goes wrong with a call is the call's result, which the model that called can read.</summary>
internal abstract class ModelTool : McpServerTool
{
    private readonly string[] _arguments;

    /// <param name="name">What it is called by.</param>
    /// <param name="title">Its name for people.</param>
    /// <param name="description">What it does, for models.</param>
    /// <param name="schema">JSON schema of its arguments.</param>
    protected ModelTool(string name, string title, string description, string schema)
    {
        ProtocolTool = new Tool
        {
            Name = name,
            Title = title,
            Description = description,
            InputSchema = JsonElement.Parse(schema),
            Annotations = new ToolAnnotations { ReadOnlyHint = true, OpenWorldHint = false },
        };
        _arguments = [.. ProtocolTool.InputSchema.GetProperty("properties").EnumerateObject().Select(property => property.Name)];
    }

    public override Tool ProtocolTool { get; }

    public override IReadOnlyList<object> Metadata => [];

    public override async ValueTask<CallToolResult> InvokeAsync(RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken = default)
    {
        try
        {
            return await RunAsync(new ToolArguments(request.Params?.Arguments ?? new Dictionary<string, JsonElement>(), _arguments), request, cancellationToken);
        }
        catch (Exception e) when (e is GemmaException or ArgumentException or NotSupportedException or IOException or UnauthorizedAccessException or TimeoutException)
        {
            return new CallToolResult { IsError = true, Content = [new TextContentBlock { Text = WithoutParameter(e.Message) }] };
        }
    }

    protected abstract Task<CallToolResult> RunAsync(ToolArguments arguments, RequestContext<CallToolRequestParams> request, CancellationToken cancellationToken);

    protected static CallToolResult Result(string text, JsonElement? structured = null) => new() { Content = [new TextContentBlock { Text = text }], StructuredContent = structured };

    private static string WithoutParameter(string message) => message.IndexOf(" (Parameter '", StringComparison.Ordinal) is > 0 and int end ? message[..end] : message;
}
