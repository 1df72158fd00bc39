using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>The reference model of 4 layers and random weights, loaded once for all tests of the chat client.</summary>
internal static class TinyModel
{
    private static readonly Lazy<GemmaModel> s_model = new(() => GemmaModel.Load(Path));

    public static string Path => TestData.Local("tiny");

    public static GemmaModel Model => s_model.Value;

    public static IChatClient Client() => Model.AsIChatClient();

    public static ChatOptions Greedy(int tokens = 16) => new() { Temperature = 0, MaxOutputTokens = tokens };
}
