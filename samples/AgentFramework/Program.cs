using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using Gemma.Extensions.AI;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;

// The model: a path in GEMMA_MODEL, or the small one of the package Gemma.Extensions.AI.Nano.
using GemmaModel model = GemmaModel.Load(Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano");

[Description("Gets the weather of a city.")]
static string GetWeather([Description("The name of the city.")] string city)
{
    Console.WriteLine($"[get_weather({city})]");
    return $"sunny, {15 + city.Length} degrees";
}

// The agent calls the tool by itself, and remembers what was said in a session.
AIAgent agent = new ChatClientAgent(model.AsIChatClient(), new ChatClientAgentOptions
{
    Name = "Guide",
    ChatOptions = new ChatOptions { Tools = [AIFunctionFactory.Create(GetWeather, "get_weather")], Temperature = 0, MaxOutputTokens = 128 },
});
AgentSession session = await agent.CreateSessionAsync();
foreach (string question in args.Length > 0 ? args : ["What is the weather in Paris?", "What is the weather in Rome?"])
{
    Console.WriteLine($"> {question}");
    await foreach (AgentResponseUpdate update in agent.RunStreamingAsync(question, session))
    {
        Console.Write(update.Text);
    }

    Console.WriteLine();
}

// A typed answer: the JSON that the model writes satisfies the schema of the type, whatever the model.
AIAgent reader = new ChatClientAgent(model.AsIChatClient(), new ChatClientAgentOptions { ChatOptions = new ChatOptions { Temperature = 0 } });
AgentResponse<Person> person = await reader.RunAsync<Person>("Extract the person: Anna Berg is 31 years old and lives in Oslo.");
Console.WriteLine(person.Result);

internal sealed record Person([property: MaxLength(40)] string Name, [property: Range(0, 150)] int Age, [property: MaxLength(40)] string City);
