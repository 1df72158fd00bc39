using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Gemma.Extensions.AI.Tests.Engine;

namespace Gemma.Extensions.AI.Tests.Backends.Cuda;

/// <summary>Steps of generation become graphs of the driver: what is called in which order, and that no text changes.</summary>
public sealed class CudaGraphTests
{
    private static readonly EngineOptions s_options = TinyEngine.Exact with { KvCacheBytes = 8 << 20, SpeculativeTokens = 0, PrefixCache = false };

    [Fact]
    public void TheSecondStepOfAKindBecomesAGraphThatIsUsedFromThenOn()
    {
        InterpretedGpu gpu = new();
        int[] prompt = TinyEngine.Prompt(1, 9);
        int[] text;
        using (TinyEngine tiny = new(s_options, wrap: _ => gpu.CreateBackend()))
        {
            text = tiny.Generate(prompt, 12);
            string[] calls = [.. gpu.Calls];
            int begin = Array.IndexOf(calls, "cuStreamBeginCapture_v2"), end = Array.IndexOf(calls, "cuStreamEndCapture");
            Assert.True(begin > 0);
            Assert.All(calls[(begin + 1)..end], call => Assert.Equal("cuLaunchKernel", call));
            Assert.Equal(["cuGraphInstantiateWithFlags", "cuGraphDestroy", "cuGraphLaunch"], calls[(end + 1)..(end + 4)]);

            // The steps after it are that graph alone.
            string[] later = calls[(end + 4)..];
            Assert.True(later.Length >= 6, string.Join(' ', later));
            Assert.All(later, call => Assert.Equal("cuGraphLaunch", call));
            Assert.Equal(text, tiny.Generate(prompt, 12)); // finds the graphs of the first time
            Assert.Single(gpu.Calls, call => call == "cuStreamBeginCapture_v2");
        }

        Assert.Equal((0, 0), (gpu.GraphCount, gpu.OpenContexts));

        // Without graphs the text is the same.
        InterpretedGpu plain = new() { Inject = function => function == "cuStreamBeginCapture_v2" ? InterpretedGpu.CaptureUnsupported : 0 };
        using TinyEngine other = new(s_options, wrap: _ => plain.CreateBackend());
        Assert.Equal(text, other.Generate(prompt, 12));
        Assert.DoesNotContain("cuGraphLaunch", plain.Calls);
        Assert.Single(plain.Calls, call => call == "cuStreamBeginCapture_v2"); // not asked again
    }

    /// <summary>Where the driver cannot make a graph of what it recorded, the step is launched kernel by kernel.</summary>
    [Theory]
    [InlineData("cuStreamEndCapture", 901)]
    [InlineData("cuGraphInstantiateWithFlags", InterpretedGpu.OutOfMemory)]
    public void AGraphThatFailsCostsNoStep(string function, int code)
    {
        int[] prompt = TinyEngine.Prompt(2, 7);
        using TinyEngine expected = new(s_options, Tiers.Cuda);
        InterpretedGpu gpu = new() { Inject = called => called == function ? code : 0 };
        using TinyEngine tiny = new(s_options, wrap: _ => gpu.CreateBackend());
        Assert.Equal(expected.Generate(prompt, 8), tiny.Generate(prompt, 8));
        Assert.DoesNotContain("cuGraphLaunch", gpu.Calls);
        Assert.Equal(0, gpu.GraphCount);
    }

    /// <summary>Steps of other shapes (more sequences, other lengths) have graphs of their own, and more than are kept push out the oldest.</summary>
    [Fact]
    public void ShapesHaveGraphsOfTheirOwn()
    {
        InterpretedGpu gpu = new();
        using (CudaBackend backend = gpu.CreateBackend())
        {
            using Matrix x = backend.CreateMatrix(40, 32);
            x.Write(0, [.. Enumerable.Repeat(1f, 40 * 32)]);
            foreach (int shapes in (int[])[20, 20, 20, 40, 40, 20, 20])
            {
                for (int rows = 1; rows <= shapes; rows++)
                {
                    ForwardBatch batch = new(rows, 1);
                    batch.Add(new int[rows], 0, [0], [0]);
                    backend.Begin(batch);
                    backend.Softcap(x, 2, rows);
                    backend.Wait();
                }
            }

            Assert.Equal(Repeated(180), x.Read(0, 1)[0], 1e-5);
            Assert.Equal(Repeated(2), x.Read(39, 1)[0], 1e-5);
            Assert.Equal(40, gpu.Calls.Count(call => call == "cuStreamBeginCapture_v2")); // twice for 20 shapes: those of the first time were pushed out
            Assert.Equal(20, gpu.GraphCount);
        }

        Assert.Equal(0, gpu.GraphCount);

        static double Repeated(int times)
        {
            double value = 1;
            for (int i = 0; i < times; i++)
            {
                value = 2 * Math.Tanh(value / 2);
            }

            return value;
        }
    }

    /// <summary>Other threads read blocks and load adapters while launches become a graph.</summary>
    [Fact]
    public async Task OtherThreadsMayCopyMeanwhile()
    {
        InterpretedGpu gpu = new();
        using CudaBackend backend = gpu.CreateBackend();
        using KvPool pool = backend.CreateKvPool(new KvLayout(1, 1, 32, 32, GemmaKvCacheType.F16), 2);
        byte[] bytes = [.. Enumerable.Range(0, (int)pool.Layout.BlockBytes).Select(i => (byte)i)];
        pool.WriteBlock(1, bytes);
        using Matrix x = backend.CreateMatrix(1, 64);
        using CancellationTokenSource stop = new();
        Task reader = Task.Run(() =>
        {
            byte[] read = new byte[bytes.Length];
            while (!stop.IsCancellationRequested)
            {
                pool.ReadBlock(1, read);
                Assert.Equal(bytes, read);
                backend.LoadLowRank(8, 64, new LowRankPart(0, 1, new float[64], new float[8]));
            }
        }, TestContext.Current.CancellationToken);
        ForwardBatch batch = new(1, 1);
        batch.Add([0], 0, [0], [0]);
        for (int i = 0; i < 200; i++)
        {
            backend.Begin(batch);
            for (int j = 0; j < 2 + i % 4; j++)
            {
                backend.Softcap(x, 2, 1);
            }

            Assert.Equal(0, x.Read(0, 1)[0]);
        }

        await stop.CancelAsync();
        await reader;
        Assert.Null(backend.Failure);
        Assert.Contains("cuGraphLaunch", gpu.Calls);
    }
}
