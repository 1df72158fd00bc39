using Gemma.Extensions.AI.Conformance;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>The suite for any chat client, over a cluster of three nodes.</summary>
[Collection(ThreeNodesCollection.Name)]
public class ClusterConformanceTests(ThreeNodes nodes) : ChatClientConformance
{
    protected override IChatClient CreateClient() => nodes.Cluster.Client();
}

/// <summary>The suite for any embedding generator, over a cluster of three nodes.</summary>
[Collection(ThreeNodesCollection.Name)]
public class ClusterEmbeddingConformanceTests(ThreeNodes nodes) : EmbeddingGeneratorConformance
{
    protected override string? TooLong => string.Join(' ', Enumerable.Repeat("river", 5_000));

    protected override IEmbeddingGenerator<string, Embedding<float>> CreateGenerator() => new GemmaClusterEmbeddingGenerator(nodes.Cluster.Cluster.Client, "tiny");
}
