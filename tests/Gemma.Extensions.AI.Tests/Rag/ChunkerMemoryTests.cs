using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Ingestion;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Tests that look at the memory of the whole process: nothing runs beside them.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ProcessMemoryCollection
{
    public const string Name = "process memory";
}

/// <summary>How much a chunker holds at a time.</summary>
[Collection(ProcessMemoryCollection.Name)]
public sealed class ChunkerMemoryTests
{
    /// <summary>A paragraph of many sentences or lines is cut as it is read: what is held at a time is little beside the text.</summary>
    [Theory]
    [InlineData("中。", false)]
    [InlineData("A. ", false)]
    [InlineData("a\n", true)]
    public void CuttingHoldsLittleOfAParagraph(string of, bool preformatted)
    {
        const int Characters = 600_000;
        ParsedDocument document = new(null, [new DocumentBlock(string.Concat(Enumerable.Repeat(of, Characters / of.Length)), [], IsPreformatted: preformatted)]);
        long before = MemoryAtRest(), most = long.MinValue;
        CountingTokenizer tokenizer = new();
        tokenizer.Asked = calls => most = calls % 50_000 == 0 ? Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before) : most;
        int chunks = new Chunker(tokenizer, 256, 48, 32).Split(document, "x").Count;
        Assert.True(chunks > 1000);
        Assert.True(most is > long.MinValue and < 16 * Characters, $"{most:N0} bytes are held"); // the passages, and little else
    }

    /// <summary>What earlier tests left goes with their finalizers, in more than one collection.</summary>
    private static long MemoryAtRest()
    {
        long memory = GC.GetTotalMemory(forceFullCollection: true);
        for (int i = 0; i < 20; i++)
        {
            GC.WaitForPendingFinalizers();
            long after = GC.GetTotalMemory(forceFullCollection: true);
            if (Math.Abs(after - memory) < 10_000)
            {
                return after;
            }

            memory = after;
        }

        return memory;
    }
}
