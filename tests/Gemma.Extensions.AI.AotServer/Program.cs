// The model that ships, by all three APIs, at a port that is free: says where, then waits.
WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
builder.Services.AddGemmaChatClient("nano");
builder.Services.AddGemmaServer();
WebApplication app = builder.Build();
app.Urls.Add("http://127.0.0.1:0");
app.MapOpenAI();
app.MapOllama();
app.MapAnthropic();
await app.StartAsync();
Console.WriteLine(app.Urls.Single());
await app.WaitForShutdownAsync();
