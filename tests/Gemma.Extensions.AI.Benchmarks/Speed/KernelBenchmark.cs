using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Matrix products alone, every format and tier: bytes of weights and operations a second, to be held against what the machine can do.</summary>
internal static unsafe class KernelBenchmark
{
    public static Command Create()
    {
        var formats = new Option<string[]>("--format") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["Q4_K", "Q6_K", "Q8_0", "Q4_0", "BF16"] };
        var kernels = new Option<string[]>("--kernel") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [KernelTier.Select(null).Name] };
        var rows = new Option<int[]>("--rows") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 4, 8, 512], Description = "Rows of activations." };
        var threads = new Option<int?>("--threads");
        var shape = new Option<int[]>("--shape") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [18432, 2304], Description = "Rows and columns of the weights." };
        var seconds = new Option<double>("--seconds") { DefaultValueFactory = _ => 0.4, Description = "Time for each measurement; the best run counts." };
        var command = new Command("kernels", "Matrix products alone: GB/s of weights and Gop/s, best of the runs.") { formats, kernels, rows, threads, shape, seconds };
        command.SetAction(result =>
        {
            foreach (string kernel in result.GetValue(kernels)!)
            {
                using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = kernel, Threads = result.GetValue(threads) });
                foreach (string format in result.GetValue(formats)!)
                {
                    Measure(backend, format, result.GetValue(rows)!, result.GetValue(shape)!, result.GetValue(seconds));
                }
            }
        });
        return command;
    }

    private static void Measure(CpuBackend backend, string name, int[] rowCounts, int[] shape, double seconds)
    {
        BlockFormat.TryGet(name, out BlockFormat? format);
        ArgumentNullException.ThrowIfNull(format);
        long bytes = format.ByteLength((long)shape[0] * shape[1]);

        // Four copies in turn, so that a single row finds nothing in the caches.
        const int Copies = 4;
        byte* data = (byte*)NativeMemory.AlignedAlloc((nuint)(Copies * bytes), 4096);
        new Random(1).NextBytes(new Span<byte>(data, (int)Math.Min(bytes, 1 << 24)));
        for (long done = Math.Min(bytes, 1 << 24); done < Copies * bytes; done += 1 << 24)
        {
            Buffer.MemoryCopy(data, data + done, Copies * bytes - done, Math.Min(Copies * bytes - done, 1 << 24));
        }

        var weights = new WeightMatrix[Copies];
        for (int i = 0; i < Copies; i++)
        {
            weights[i] = backend.LoadWeights(new TensorView("w", format, [shape[0], shape[1]], data + i * bytes, bytes, "random"));
        }

        foreach (int rows in rowCounts)
        {
            using Matrix x = backend.CreateMatrix(rows, shape[1]), y = backend.CreateMatrix(rows, shape[0]);
            for (int r = 0; r < rows; r++)
            {
                for (int i = 0; i < shape[1]; i++)
                {
                    x.Row(r)[i] = (i * 7919 + r * 104729) % 1000 / 500f - 1;
                }
            }

            double best = double.MaxValue;
            long end = Stopwatch.GetTimestamp() + (long)(seconds * Stopwatch.Frequency);
            for (int i = 0; i < 6 || Stopwatch.GetTimestamp() < end; i++)
            {
                long start = Stopwatch.GetTimestamp();
                backend.MatMul(x, weights[i % Copies], y, rows);
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }

            Console.WriteLine(
                $"{backend.Name,-18} {name,-7} rows {rows,4}  {best * 1000,9:F3} ms  {bytes / best / 1e9,7:F2} GB/s  {2.0 * rows * shape[0] * shape[1] / best / 1e9,8:F1} Gop/s");
        }

        NativeMemory.AlignedFree(data);
    }
}
