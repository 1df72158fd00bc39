using System.Text.Json;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Agents of the Microsoft Agent Framework over the client, on the model that ships.</summary>
public sealed class AgentTests : IDisposable
{
    private readonly GemmaModel _model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
    private readonly List<string> _cities = [];

    public void Dispose() => _model.Dispose();

    [Fact]
    public async Task ASessionThatWasStoredGoesOnWhereItWas()
    {
        ChatClientAgent agent = Agent();
        AgentSession session = await agent.CreateSessionAsync();
        await agent.RunAsync("What is the weather in Paris?", session);
        Assert.Equal(["Paris"], _cities);
        JsonElement stored = JsonElement.Parse((await agent.SerializeSessionAsync(session)).GetRawText());

        using GemmaModel restarted = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        ChatClientAgent again = Agent(restarted.AsIChatClient());
        AgentResponse resumed = await again.RunAsync("Thank you!", await again.DeserializeSessionAsync(stored));
        AgentResponse continued = await agent.RunAsync("Thank you!", session);
        Assert.NotEqual("", resumed.Text);
        Assert.Equal(continued.Text, resumed.Text);
        Assert.Equal(continued.Usage!.InputTokenCount, resumed.Usage!.InputTokenCount);
    }

    [Fact]
    public async Task StreamingCallsTheToolAndAnswers()
    {
        ChatClientAgent agent = Agent();
        List<AgentResponseUpdate> updates = [];
        await foreach (AgentResponseUpdate update in agent.RunStreamingAsync("What is the weather in Paris?"))
        {
            updates.Add(update);
        }

        Assert.Equal(["Paris"], _cities);
        Assert.Equal("get_weather", Assert.Single(updates.SelectMany(u => u.Contents).OfType<FunctionCallContent>()).Name);
        Assert.Equal("sunny", Assert.Single(updates.SelectMany(u => u.Contents).OfType<FunctionResultContent>()).Result!.ToString());
        Assert.Contains("sunny", string.Concat(updates.Select(u => u.Text)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AFunctionThatNeedsApprovalWaitsForIt()
    {
        ChatClientAgent agent = Agent(tool: new ApprovalRequiredAIFunction(Weather()));
        AgentSession session = await agent.CreateSessionAsync();
        AgentResponse asked = await agent.RunAsync("What is the weather in Paris?", session);
        ToolApprovalRequestContent request = Assert.Single(asked.Messages.SelectMany(m => m.Contents).OfType<ToolApprovalRequestContent>());
        Assert.Empty(_cities);

        AgentResponse answered = await agent.RunAsync([new ChatMessage(ChatRole.User, [request.CreateResponse(approved: true)])], session);
        Assert.Equal(["Paris"], _cities);
        Assert.Contains("sunny", answered.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ATypedAnswerBesideToolsIsTyped()
    {
        ChatClientAgent agent = new(_model.AsIChatClient(), new ChatClientAgentOptions { ChatOptions = new ChatOptions { Tools = [Weather()], ToolMode = ChatToolMode.None, Temperature = 0 } });
        AgentResponse<Answer> answer = await agent.RunAsync<Answer>("Is it sunny in Paris?");
        Assert.True(Enum.IsDefined(answer.Result.Verdict));
        Assert.Empty(_cities);
    }

    private ChatClientAgent Agent(IChatClient? client = null, AIFunction? tool = null) => new(
        client ?? _model.AsIChatClient(),
        new ChatClientAgentOptions { Name = "Guide", ChatOptions = new ChatOptions { Tools = [tool ?? Weather()], Temperature = 0, MaxOutputTokens = 100 } });

    private AIFunction Weather() => AIFunctionFactory.Create(
        ([System.ComponentModel.Description("The name of the city.")] string city) =>
        {
            _cities.Add(city);
            return "sunny";
        }, "get_weather", "Gets the weather of a city.");

    private sealed record Answer(Verdict Verdict);

    private enum Verdict
    {
        Yes,
        No,
    }
}
