using System.ComponentModel.DataAnnotations;
using Gemma.Extensions.AI;
using Microsoft.Extensions.AI;

// The model: a path in GEMMA_MODEL, or the small one of the package Gemma.Extensions.AI.Nano.
using GemmaModel model = GemmaModel.Load(Environment.GetEnvironmentVariable("GEMMA_MODEL") ?? "nano");
IChatClient client = model.AsIChatClient();

// The type becomes a JSON Schema, and the model can write nothing but JSON that satisfies it.
string text = args.Length > 0 ? string.Join(' ', args) : "Anna Berg is 31 years old and lives in Oslo.";
ChatResponse<Person> response = await client.GetResponseAsync<Person>(
    [new ChatMessage(ChatRole.User, $"Extract the person: {text}")], new ChatOptions { Temperature = 0 });
Console.WriteLine(response.Text);
Console.WriteLine(response.Result);

internal sealed record Person([property: MaxLength(40)] string Name, [property: Range(0, 150)] int Age, [property: MaxLength(40)] string City);
