using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>While 16 weight rows are multiplied, all lines of the 16 that follow are prefetched: one that is left out is waited for, and products stay right.</summary>
public sealed unsafe class PrefetchTests
{
    public static TheoryData<string, int, int, bool> Kernels
    {
        get
        {
            using InterpretedKernels kernels = new(bfloat16: true);
            TheoryData<string, int, int, bool> data = new();
            foreach (BlockFormat format in BlockFormat.All)
            {
                foreach ((int rows, bool interleaved) in ((int[])[1, 4, 8, 16]).SelectMany(rows => ((int, bool)[])[(rows, false), (rows, true)]))
                {
                    if (kernels.WeightFormat(format.Type) is { } tile && kernels.CanGemv(tile, rows, interleaved))
                    {
                        data.Add(format.Name, rows, 2304, interleaved);
                        data.Add(format.Name, rows, 512, interleaved);
                    }
                }
            }

            return data;
        }
    }

    [Theory, MemberData(nameof(Kernels))]
    public void EveryLineOfTheNextRowsIsRequested(string format, int rows, int columns, bool interleaved)
    {
        const ulong Ahead = 0x7000_0000_0000;
        using InterpretedKernels kernels = new(bfloat16: true) { Prefetched = [] };
        using RandomTensors random = new(1);
        TensorView weights = random.Create(Enum.Parse<TensorType>(format), GemvArgs.WeightRows, columns);
        long bytes = 4L * columns * rows, stride = weights.ByteLength / GemvArgs.WeightRows;
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)(bytes + GemvArgs.ScratchBytes), 64);
        new Span<byte>(memory, (int)bytes + GemvArgs.ScratchBytes).Clear();
        float* output = stackalloc float[GemvArgs.WeightRows * rows];
        GemvArgs args = new()
        {
            Weights = weights.Data, WeightStride = interleaved ? InterleavedRows.Stride : stride, Columns = columns, Count = rows, Activations = memory, ActivationScales = (float*)memory, ZeroPointTerms = memory,
            Scratch = memory + bytes, Output = output, Ahead = (byte*)Ahead, RowBytes = stride,
        };
        kernels.Gemv(kernels.WeightFormat(weights.Format.Type)!, &args);
        NativeMemory.AlignedFree(memory);
        ulong[] lines = [.. Enumerable.Range(0, (int)((weights.ByteLength + 63) / 64)).Select(line => (Ahead / 64) + (ulong)line)];
        Assert.Equal([], lines.Where(line => !kernels.Prefetched.Contains(line)).Select(line => line - (Ahead / 64)));

        // And little else: what is requested twice or beyond takes slots from what is needed.
        Assert.InRange(kernels.Prefetched.Count, lines.Length, (lines.Length * 5 / 4) + 8);
    }
}
