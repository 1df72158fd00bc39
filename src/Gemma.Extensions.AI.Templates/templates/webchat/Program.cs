using Microsoft.Extensions.AI;

WebApplicationBuilder builder = WebApplication.CreateBuilder(args);
builder.Services.AddGemmaChatClient(); // the model is that of appsettings.json
builder.Services.AddGemmaServer();
builder.Services.AddHealthChecks().AddGemma();

WebApplication app = builder.Build();
app.MapGemmaChatPage();        // a page to chat, at /
app.MapOpenAI();               // /v1: what the page asks, and any client of OpenAI's API
app.MapOllama();               // /api
app.MapAnthropic();            // /v1/messages
app.MapHealthChecks("/health");

// The model from your own code: inject IChatClient, and pass the request's token on.
app.MapGet("/hello", async (IChatClient client, CancellationToken cancellationToken) =>
    (await client.GetResponseAsync("Hello, who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 64 }, cancellationToken)).Text);

app.Run();
