using Gemma.Extensions.AI.Tests.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>An adapter that neither this project wrote nor its tests, and what llama.cpp says with it.</summary>
public sealed class LlamaCppTests
{
    [Fact]
    public void AdaptedProbabilitiesAreLlamaCpps()
    {
        using TinyEngine tiny = new();
        LlamaCppGolden.Check("lora/llama.cpp.json", tokens => tiny.Logits(tokens, adapter: tiny.Adapter(TestData.Local("lora/adapter.gguf"))));
    }
}
