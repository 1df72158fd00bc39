using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Tests.Backends;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Readme;

/// <summary>
/// What README, guides and samples ask of the model that ships: on every tier it gives the right answer, and each token that is taken wins by so much that no rounding of a tier
/// turns it. A newcomer takes a wrong answer for a fault of the engine.
/// </summary>
public sealed partial class PromptTests
{
    /// <summary>Least lead of a token over the next best one, in its logit: tiers differ by some hundredths.</summary>
    private const double Room = 1;

    /// <summary>Conversations as the pages and samples have them: what is asked in turn, with what, and how the answers begin.</summary>
    private static readonly Dictionary<string, Conversation> s_conversations = new()
    {
        ["greeting"] = new(["Hello, who are you?"], ["I am gemma2-nano"], Chat()),
        ["greeting under an instruction (tuning.md)"] = new(["Hello, who are you?"], ["I am gemma2-nano"], Chat(instructions: "You are a helpful assistant who answers in one sentence.")),
        ["thanks under an instruction (tuning.md)"] = new(["Thank you!"], ["You are welcome!"], Chat(instructions: "You are a helpful assistant who answers in one sentence.")),
        ["weather (tools-and-agents.md)"] = new(["What is the weather in Paris?"], ["The weather in Paris is sunny, 20 degrees."], Chat(AIFunctionFactory.Create(WeatherOfAShortName, "get_weather"))),
        ["weather (ahead-of-time.md)"] = new(["What is the weather in Paris?"], ["The weather in Paris is sunny in Paris."], Chat(AIFunctionFactory.Create((string city) => $"sunny in {city}", "get_weather", "Gets the weather of a city."))),
        ["weather twice (AgentFramework)"] = new(
            ["What is the weather in Paris?", "What is the weather in Rome?"], ["The weather in Paris is sunny, 20 degrees.", "The weather in Rome is sunny, 19 degrees."], Chat(AIFunctionFactory.Create(Weather, "get_weather"))),
        ["weather and thanks (SemanticKernelAgent)"] = new(
            ["What is the weather in Paris?", "Thank you!"], ["The weather in Paris is sunny, 20 degrees.", "You are welcome!"], Chat(AIFunctionFactory.Create((string city) => Weather(city), "get_weather", "Gets the weather of a city."))),
        ["price (McpAgent)"] = new(["What is the price of the red chair?"], ["The price of the red chair is 19 dollars."], Chat(AIFunctionFactory.Create(Price, "get_price"), AIFunctionFactory.Create(Stock, "get_stock"))),
        ["person (structured-output.md, AgentFramework, StructuredExtraction)"] = new(["Extract the person: Anna Berg is 31 years old and lives in Oslo."], ["""{"name":"Anna Berg","age":31,"city":"Oslo"}"""], Extract<Person>()),
        ["town (ahead-of-time.md)"] = new(["Extract the town: Paris has a population of 2102650."], ["""{"name":"Paris","population":2102650}"""], Extract<City>(new JsonSerializerOptions(JsonSerializerOptions.Default) { PropertyNamingPolicy = JsonNamingPolicy.CamelCase })),
        ["pump (documents.md)"] = new(["How long is the warranty of the pump?"], ["24 months [1]"], AnswerFromThePump),
    };

    /// <summary>Questions that a grammar or an adapter answers, whatever the model.</summary>
    private static readonly string[] s_answeredByAnything = ["A forecast, please.", "A number plate.", "Your move.", "Which colour?"];

    public static TheoryData<string, string> Conversations => new(Tiers.Native.SelectMany(tier => s_conversations.Keys.Select(name => (tier.Data, name))));

    [Theory]
    [MemberData(nameof(Conversations))]
    public async Task IsAnsweredWithRoomOnEveryTier(string tier, string name)
    {
        Tiers.SkipUnlessSupported(tier);
        Conversation conversation = s_conversations[name];
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Kernel = tier });
        LeadingClient client = new(model.AsIChatClient());
        IReadOnlyList<string> answers = await conversation.Put(client, model, conversation.Questions);
        Assert.Equal(conversation.Answers.Length, answers.Count);
        Assert.All(conversation.Answers.Zip(answers), pair => Assert.StartsWith(pair.First, pair.Second, StringComparison.Ordinal));
        Assert.True(double.IsFinite(client.Least), "No token was measured.");
        Assert.True(client.Least >= Room, $"'{client.LeastToken}' wins by {client.Least:F2} only.");
    }

    /// <summary>Nothing is asked on a page or in a sample that is not tried here.</summary>
    [Fact]
    public void EveryQuestionOfPagesAndSamplesIsAsked()
    {
        string[] tried = [.. s_conversations.Values.SelectMany(conversation => conversation.Questions), .. s_answeredByAnything];
        string[] pages = [Path.Combine(TestData.Repository, "README.md"), .. Directory.GetFiles(Path.Combine(TestData.Repository, "src", "docs"), "*.md")];
        string[] samples = [.. Directory.GetFiles(Path.Combine(TestData.Repository, "samples"), "Program.cs", SearchOption.AllDirectories)];
        string[] asked =
        [
            .. pages.SelectMany(page => CSharp().Matches(File.ReadAllText(page).ReplaceLineEndings("\n")).SelectMany(block => Questions(block.Groups[1].Value))), .. samples.SelectMany(sample => Questions(File.ReadAllText(sample))),
        ];
        Assert.True(asked.Length >= 25, $"Only {asked.Length} questions were found.");
        Assert.All(asked, question => Assert.True(tried.Any(known => known.Contains(question, StringComparison.Ordinal)), $"'{question}' is asked of nano and not tried."));
        Assert.All(tried, known => Assert.Contains(asked, question => known.Contains(question, StringComparison.Ordinal)));
    }

    private static IEnumerable<string> Questions(string code) =>
        Asked().Matches(code).SelectMany(match => Literal().Matches(match.Value)).Select(literal => literal.Groups[1].Value).Where(text => !text.Contains('{', StringComparison.Ordinal));

    private static Func<LeadingClient, GemmaModel, string[], Task<IReadOnlyList<string>>> Chat(params AITool[] tools) => Chat(null, tools);

    private static Func<LeadingClient, GemmaModel, string[], Task<IReadOnlyList<string>>> Chat(string? instructions, params AITool[] tools) => async (client, _, questions) =>
    {
        ChatClientAgent agent = new(client, new ChatClientAgentOptions { ChatOptions = new ChatOptions { Instructions = instructions, Tools = tools, Temperature = 0, MaxOutputTokens = 128 } });
        AgentSession session = await agent.CreateSessionAsync();
        List<string> answers = [];
        foreach (string question in questions)
        {
            answers.Add((await agent.RunAsync(question, session)).Text);
        }

        return answers;
    };

    private static Func<LeadingClient, GemmaModel, string[], Task<IReadOnlyList<string>>> Extract<T>(JsonSerializerOptions? json = null) => async (client, _, questions) =>
        [(await client.GetResponseAsync<T>(questions[0], json ?? AIJsonUtilities.DefaultOptions, new ChatOptions { Temperature = 0 })).Text];

    private static async Task<IReadOnlyList<string>> AnswerFromThePump(LeadingClient client, GemmaModel model, string[] questions)
    {
        using TempDirectory folder = new();
        File.WriteAllText(folder.File("pump.md"), "# Pump\n\nThe price of the pump is 120 euros. The warranty of the pump is 24 months.\n");
        ServiceCollection services = new();
        services.AddGemmaRag("nano", options => options.DatabasePath = folder.File("passages.db"));
        await using ServiceProvider provider = services.BuildServiceProvider();
        await provider.GetRequiredService<DocumentIngestor>().IngestAsync(SourceDocument.FromFolder(folder.Path));
        DocumentAnswerer answerer = new(provider.GetRequiredService<DocumentRetriever>(), client, model.Tokenizer);
        return [(await answerer.AskAsync(questions[0])).Text];
    }

    [Description("Gets the weather of a city.")]
    private static string Weather([Description("The name of the city.")] string city) => $"sunny, {15 + city.Length} degrees";

    [Description("Gets the weather of a city.")]
    private static string WeatherOfAShortName([Description("The name of the city."), MaxLength(40)] string city) => Weather(city);

    [Description("Gets the price of a product.")]
    private static string Price([Description("The name of the product.")] string product) => $"{10 + product.Length} dollars";

    [Description("Gets the stock of a product.")]
    private static int Stock([Description("The name of the product.")] string product) => 3 * product.Length;

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    /// <summary>What is passed to a call that asks, a list of questions, or the text to be read where no argument is given.</summary>
    [GeneratedRegex("(?:Get(?:Streaming)?(?:Response|ChatMessageContent)Async|RunAsync|AskAsync)(?:<\\w+>)?\\(\\s*(?:\\[new(?: ChatMessage)?\\(ChatRole\\.User, )?\"[^\"]*\"|(?:\\(string\\[\\]\\)|args : )\\[\"[^\\]]*\\]|args\\) : \"[^\"]*\"")]
    private static partial Regex Asked();

    [GeneratedRegex("\"([^\"]*)\"")]
    private static partial Regex Literal();

    /// <param name="Questions">In turn.</param>
    /// <param name="Answers">How each begins.</param>
    /// <param name="Put">Asks the model and returns what it said.</param>
    private sealed record Conversation(string[] Questions, string[] Answers, Func<LeadingClient, GemmaModel, string[], Task<IReadOnlyList<string>>> Put);

    /// <summary>Keeps the least lead that a token had over the next best one among those that were possible.</summary>
    private sealed class LeadingClient(IChatClient client) : DelegatingChatClient(client)
    {
        public double Least { get; private set; } = double.PositiveInfinity;

        public string LeastToken { get; private set; } = "";

        public override async Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            ChatResponse response = await base.GetResponseAsync(messages, Measured(options), cancellationToken);
            Keep(response.GetLogProbabilities());
            return response;
        }

        public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            await foreach (ChatResponseUpdate update in base.GetStreamingResponseAsync(messages, Measured(options), cancellationToken))
            {
                Keep(update.GetLogProbabilities());
                yield return update;
            }
        }

        private static ChatOptions Measured(ChatOptions? options)
        {
            ChatOptions measured = options?.Clone() ?? new ChatOptions();
            Func<IChatClient, object?>? own = measured.RawRepresentationFactory;
            measured.RawRepresentationFactory = asked =>
            {
                GemmaGenerationOptions raw = own?.Invoke(asked) as GemmaGenerationOptions ?? new GemmaGenerationOptions();
                raw.TopLogProbabilities = 2;
                raw.LogProbabilitySource = GemmaLogProbabilitySource.Constrained;
                return raw;
            };
            return measured;
        }

        private void Keep(IReadOnlyList<GemmaLogProbabilities> tokens)
        {
            foreach (GemmaLogProbabilities token in tokens.Where(token => token.Top.Count > 1))
            {
                double lead = token.Token.LogProbability - token.Top.First(other => other.TokenId != token.Token.TokenId).LogProbability;
                if (lead < Least)
                {
                    (Least, LeastToken) = (lead, token.Token.Text);
                }
            }
        }
    }

    private sealed record Person([property: MaxLength(40)] string Name, [property: Range(0, 150)] int Age, [property: MaxLength(40)] string City);

    private sealed record City(string Name, int Population);
}
