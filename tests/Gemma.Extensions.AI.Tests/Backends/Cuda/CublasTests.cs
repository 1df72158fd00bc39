using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Tests.Backends.Ptx;

namespace Gemma.Extensions.AI.Tests.Backends.Cuda;

/// <summary>Products of prompts by a library that may be there or not, and may be wrong.</summary>
public sealed class CublasTests
{
    /// <summary>It is used once it has shown that it gives what our kernel gives and the same bits for rows together and apart; of all types, and not for generated rows.</summary>
    [Fact]
    public void ItMultipliesPrompts()
    {
        InterpretedGpu gpu = new();
        using (CudaBackend backend = gpu.CreateBackend(cublas: InterpretedGpu.CreateCublas()))
        {
            Assert.EndsWith("with cuBLASLt", backend.Name, StringComparison.Ordinal);
            float[] expected = Multiply(new InterpretedGpu().CreateBackend(), 20, 17), actual = Multiply(backend, 20, 17);
            Assert.InRange(expected.Zip(actual).Max(pair => Math.Abs(pair.First - pair.Second)), 0, 1e-4f * expected.Max(Math.Abs));
            Assert.Equal(expected[..300], actual[..300]); // generated rows
            Assert.Equal(2, gpu.Launches["prompt_product_32"] + gpu.Launches.GetValueOrDefault("prompt_product_128")); // one trial for each shape of weights
            int products = gpu.CublasProducts;
            Multiply(backend, 20, 17);
            Assert.Equal(products + 2, gpu.CublasProducts);
            Assert.Equal(2, gpu.Launches["prompt_product_32"] + gpu.Launches.GetValueOrDefault("prompt_product_128"));
        }

        Assert.Equal((0, 0, 0L), (gpu.CublasObjects, gpu.OpenContexts, gpu.Memory.Used));
    }

    /// <summary>Whatever is wrong with it, the kernels of this project multiply instead, and no number changes.</summary>
    [Theory]
    [InlineData("cublasLtCreate")]
    [InlineData("cublasLtMatmulDescCreate")]
    [InlineData("cublasLtMatrixLayoutCreate")]
    [InlineData("cublasLtMatmulAlgoGetHeuristic")]
    [InlineData("cublasLtMatmul")]
    [InlineData("none")]
    [InlineData("batch")]
    [InlineData("wrong")]
    public void WhereItFailsOurKernelsMultiply(string fault)
    {
        InterpretedGpu gpu = new() { CublasFault = fault };
        using CudaBackend backend = gpu.CreateBackend(cublas: InterpretedGpu.CreateCublas()), expected = new InterpretedGpu().CreateBackend();
        Assert.Equal(Multiply(expected, 20, 17), Multiply(backend, 20, 17));
        int products = gpu.CublasProducts;
        Multiply(backend, 20, 17);
        Assert.Equal(products, gpu.CublasProducts);
        Assert.Null(backend.Failure);
    }

    [Fact]
    public void ALibraryWithoutAFunctionIsNotUsed() => Assert.Throws<EntryPointNotFoundException>(() => InterpretedGpu.CreateCublas(missing: "cublasLtMatmul"));

    /// <summary>[rows, 3 + 97], the first rows generated.</summary>
    private static float[] Multiply(CudaBackend backend, int rows, int promptRows)
    {
        using RandomTensors random = new(4);
        WeightMatrix weights = backend.LoadWeights(random.Create(TensorType.BF16, 3, 256), random.Create(TensorType.Q8_0, 97, 256));
        using Matrix x = backend.CreateMatrix(rows, 256), y = backend.CreateMatrix(rows, weights.Rows);
        for (int r = 0; r < rows; r++)
        {
            random.Fill(x, r);
        }

        backend.MatMul(x, weights, y, rows, promptRows);
        return y.Read(0, rows).ToArray();
    }
}
