using System.ClientModel;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using OpenAI;
using OpenAI.Responses;

// Streams responses of the server at an address through Microsoft.Extensions.AI.OpenAI: an agent loop of the abstractions and one of Agent Framework. Says how they ended.
ResponsesClient responses = new OpenAIClient(new ApiKeyCredential("none"), new OpenAIClientOptions { Endpoint = new Uri(args[0]) }).GetResponsesClient();
ChatOptions options = new() { Tools = [.. DensityAgent.Tools] };
using FunctionInvokingChatClient client = new(responses.AsIChatClient("agent"));
ChatResponse streamed = await client.GetStreamingResponseAsync(DensityAgent.Question, options).ToChatResponseAsync();
ChatClientAgent agent = new(responses.AsIChatClient("agent"), new ChatClientAgentOptions { ChatOptions = options });
StringBuilder said = new();
await foreach (AgentResponseUpdate update in agent.RunStreamingAsync(DensityAgent.Question, await agent.CreateSessionAsync()))
{
    said.Append(update.Text);
}

Console.WriteLine(JsonSerializer.Serialize(new
{
    openai = typeof(OpenAIClient).Assembly.GetName().Version!.ToString(3),
    streamed = streamed.Text,
    input = streamed.Usage?.InputTokenCount,
    agent = said.ToString(),
}));
