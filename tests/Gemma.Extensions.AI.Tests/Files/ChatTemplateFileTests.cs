using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Tests.Text;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>Where a checkpoint keeps its chat template, and what becomes of it from the file to the answer.</summary>
public sealed class ChatTemplateFileTests : IDisposable
{
    private const string Custom = "CUSTOM {% for m in messages %}{{ m['content'] }}{% endfor %}";

    private readonly TempDirectory _directory = new();

    public ChatTemplateFileTests()
    {
        foreach (string name in new[] { "config.json", "generation_config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json" })
        {
            File.Copy(TestData.Local("tiny/" + name), _directory.File(name));
        }
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void TemplatesAreFoundInTheOrderOfTransformers()
    {
        Assert.Null(Read());
        Write("chat_template.json", new JsonObject { ["chat_template"] = "old" });
        Assert.Equal(("old", "chat_template.json"), Read());
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = null, ["bos_token"] = "<bos>" });
        Assert.Equal(("old", "chat_template.json"), Read());
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = "configured", ["eos_token"] = new JsonObject { ["content"] = "<|im_end|>" }, ["add_bos_token"] = true });
        Assert.Equal(("configured", "tokenizer_config.json"), Read());
        Assert.Equal("<|im_end|>", Assert.Single(CheckpointTemplate.Read(_directory.Path)!.SpecialTokens).Value);
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = new JsonArray(Named("tool_use", "TOOLS"), Named("default", "DEFAULT")) });
        Assert.Equal(("DEFAULT", "tokenizer_config.json"), Read());
        File.WriteAllText(_directory.File("chat_template.jinja"), "\uFEFFown");
        Assert.Equal(("own", "chat_template.jinja"), Read());

        File.Delete(_directory.File("chat_template.jinja"));
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = new JsonArray(Named("tool_use", "TOOLS"), Named("rag", "R")) });
        Assert.Contains("named tool_use, rag, but none named 'default'", Assert.Throws<GemmaModelFormatException>(() => Read()).Message);
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = 5 });
        Assert.Contains("chat_template", Assert.Throws<GemmaModelFormatException>(() => Read()).Message);

        (string, string)? Read() => CheckpointTemplate.Read(_directory.Path) is { } found ? (found.Text, found.Source) : null;
        static JsonObject Named(string name, string template) => new() { ["name"] = name, ["template"] = template };
    }

    [Fact]
    public void TheShippedModelHasGooglesFormat()
    {
        using ModelFile nano = ModelFile.Open(ModelAliases.Find("nano", out _)!, checkScales: false);
        ChatFormat format = FoundFormat.Find(nano, nano.CreateTokenizer(), null).Format;
        Assert.Equal(("gemma", "tokenizer.chat_template"), (format.Name, format.Source));
        Assert.Equal(ChatTemplate.Render(format.Tokenizer, [new(ChatRole.System, "S"), new(ChatRole.User, "Hi")]), ChatTemplate.Render(format, [new(ChatRole.System, "S"), new(ChatRole.User, "Hi")]).Tokens);
    }

    [Fact]
    public async Task AChatMLCheckpointIsAskedInChatMLAndStopsAtItsMarker()
    {
        File.WriteAllText(_directory.File("tokenizer.json"), File.ReadAllText(_directory.File("tokenizer.json")).Replace("<start_of_turn>", "<|im_start|>").Replace("<end_of_turn>", "<|im_end|>"));
        Write("tokenizer_config.json", new JsonObject { ["chat_template"] = ChatFormatData.ChatML[0], ["eos_token"] = "<|im_end|>" });
        Recorder log = new();
        using GemmaModel model = GemmaModel.LoadCore(_directory.Path, new GemmaOptions(), null, log, TestContext.Current.CancellationToken);
        Assert.Equal("chatml", model.ChatFormat.Name);
        int end = model.Tokenizer.FindMarker("<|im_end|>");
        Assert.Contains(end, model.ChatFormat.StopTokens(model.StopTokens));
        Assert.Contains(log.Lines, line => line.Contains("'chatml' (tokenizer_config.json)", StringComparison.Ordinal) && line.Contains($"{end}", StringComparison.Ordinal));
        using IChatClient client = model.AsIChatClient();
        ChatResponse response = await client.GetResponseAsync([new(ChatRole.System, "S"), new(ChatRole.User, "Hi")], new ChatOptions { MaxOutputTokens = 4 }, TestContext.Current.CancellationToken);
        int[] prompt = model.Tokenizer.Encode("<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", matchSpecial: true);
        Assert.Equal(prompt.Length + 1, response.Usage!.InputTokenCount); // and bos
    }

    [Fact]
    public async Task ATemplateThatCannotBeUsedKeepsNobodyFromTheRest()
    {
        File.WriteAllText(_directory.File("chat_template.jinja"), "{% for m in messages %}\n{% include 'x' %}{% endfor %}");
        Recorder log = new();
        using (GemmaModel model = GemmaModel.LoadCore(_directory.Path, new GemmaOptions(), null, log, TestContext.Current.CancellationToken))
        {
            GemmaModelFormatException refused = await Assert.ThrowsAsync<GemmaModelFormatException>(() => model.AsIChatClient().GetResponseAsync("Hi", cancellationToken: TestContext.Current.CancellationToken));
            Assert.Contains("chat_template.jinja", refused.Message);
            Assert.Contains("line 2, column 4: the tag 'include' is not supported", refused.Message);
            Assert.Contains("GemmaOptions.ChatFormat", refused.Message);
            Assert.Contains(log.Lines, line => line.Contains("'include'", StringComparison.Ordinal));
            Assert.Single(await model.AsIEmbeddingGenerator().GenerateAsync(["Hi"], cancellationToken: TestContext.Current.CancellationToken));
        }

        using GemmaModel forced = GemmaModel.Load(_directory.Path, new GemmaOptions { ChatFormat = GemmaChatFormat.Gemma });
        Assert.Equal(("gemma", "GemmaOptions.ChatFormat"), (forced.ChatFormat.Name, forced.ChatFormat.Source));
        Assert.Contains("ChatFormat is 9", Assert.Throws<ArgumentException>(() => GemmaModel.Load(_directory.Path, new GemmaOptions { ChatFormat = (GemmaChatFormat)9 })).Message);
        Assert.False(new GemmaOptions().LoadsLike(new GemmaOptions { ChatFormat = GemmaChatFormat.Gemma }));
    }

    [Fact]
    public async Task InspectSaysWhichFormatAndWhichTokensEndAnAnswer()
    {
        File.WriteAllText(_directory.File("chat_template.jinja"), Custom);
        JsonNode report = JsonNode.Parse(await Run("inspect", _directory.Path, "--json"))!;
        Assert.Equal(("template", "chat_template.jinja"), ((string?)report["chat_format"], (string?)report["chat_format_source"]));
        Assert.NotEmpty(report["end_tokens"]!.AsArray());
        string table = await Run("inspect", _directory.Path);
        Assert.Contains("template (chat_template.jinja)", table);
        Assert.Contains("end tokens", table);
        Assert.Null(report["chat_format_tools"]);
        File.WriteAllText(_directory.File("chat_template.jinja"), "{% if tools %}{{ tools | tojson }}{% endif %}" + Custom);
        Assert.Contains("place of its own for tools", (string?)JsonNode.Parse(await Run("inspect", _directory.Path, "--json"))!["chat_format_tools"]);
        File.WriteAllText(_directory.File("chat_template.jinja"), "{{");
        Assert.Contains("cannot be used", (string?)JsonNode.Parse(await Run("inspect", _directory.Path, "--json"))!["chat_format"]);
        Assert.NotEmpty(await Run("chat", "--model", _directory.Path, "--prompt", "Hi", "--max-tokens", "2", "--chat-format", "chatml"));
    }

    private static async Task<string> Run(params string[] arguments)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(arguments, new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader(""), IsInteractive = false });
        Assert.True(exit == 0, error.ToString());
        return output.ToString();
    }

    private void Write(string name, JsonObject json) => File.WriteAllText(_directory.File(name), json.ToJsonString());

    private sealed class Recorder : ILoggerFactory, ILogger
    {
        public List<string> Lines { get; } = [];

        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Add(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
