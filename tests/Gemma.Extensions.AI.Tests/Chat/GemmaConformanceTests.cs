using Gemma.Extensions.AI.Conformance;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>The suite for any chat client, over a loaded model.</summary>
public class GemmaConformanceTests : ChatClientConformance
{
    protected override IChatClient CreateClient() => TinyModel.Client();
}

/// <summary>The same, with a client from a service provider that loads its model on first use.</summary>
public class GemmaFromServicesConformanceTests : ChatClientConformance, IClassFixture<GemmaFromServicesConformanceTests.Services>
{
    private readonly Services _services;

    public GemmaFromServicesConformanceTests(Services services) => _services = services;

    protected override IChatClient CreateClient() => _services.Provider.GetRequiredService<IChatClient>();

    public sealed class Services : IDisposable
    {
        public Services()
        {
            ServiceCollection services = new();
            services.AddGemmaChatClient(TestData.Local("gguf/tiny-Q4_K_M.gguf"));
            Provider = services.BuildServiceProvider();
        }

        public ServiceProvider Provider { get; }

        public void Dispose() => Provider.Dispose();
    }
}
