using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Engines;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Matrix products alone by BenchmarkDotNet, each held against its roofline: the time that reading the weights or multiplying must take on this machine.</summary>
internal static class KernelBenchmark
{
    public static Command Create()
    {
        Option<string[]> formats = new("--format") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["Q4_K", "Q6_K", "Q8_0", "Q4_0", "BF16"] };
        Option<int[]> rows = new("--rows") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [1, 8, 512], Description = "Rows of activations." };
        Option<string?> kernel = new("--kernel") { Description = "Kernel tier; the fastest if absent." };
        Option<string?> results = new("--results") { Description = "Directory for the table." };
        Command command = new("kernels", "Matrix products alone (BenchmarkDotNet), with their share of the roofline.") { formats, rows, kernel, results };
        command.SetAction(parse => Run(parse.GetValue(formats)!, parse.GetValue(rows)!, parse.GetValue(kernel), parse.GetValue(results)));
        return command;
    }

    private static void Run(string[] formats, int[] rows, string? kernel, string? results)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        MatrixProduct.Formats = formats;
        MatrixProduct.RowCounts = rows;
        MatrixProduct.Kernel = kernel;
        int threads = ProcessorTopology.PhysicalCores();
        MachinePeaks before = MachinePeaks.Measure(threads);

        // One product an iteration: memory is read from end to end, and products take from a millisecond to half a second.
        Job job = Job.Default.WithToolchain(InProcessEmitToolchain.Instance).WithStrategy(RunStrategy.Monitoring).WithWarmupCount(4).WithIterationCount(12);
        IConfig config = ManualConfig.CreateEmpty().AddJob(job).AddColumnProvider(DefaultColumnProviders.Instance).AddLogger(NullLogger.Instance);
        Summary summary = BenchmarkRunner.Run<MatrixProduct>(config);
        MachinePeaks after = MachinePeaks.Measure(threads);
        string table = Table(summary, before, after, threads, kernel ?? KernelTier.Select(null).Name);
        Console.WriteLine(table);
        if (results is not null)
        {
            File.WriteAllText(Path.Combine(results, "kernels.md"), table);
        }
    }

    private static string Table(Summary summary, MachinePeaks before, MachinePeaks after, int threads, string kernel)
    {
        MachinePeaks peaks = new(
            Math.Max(before.ReadGigabytes, after.ReadGigabytes), Math.Max(before.ByteGigaops, after.ByteGigaops), Math.Max(before.FloatGigaops, after.FloatGigaops),
            Math.Max(before.PairGigaops, after.PairGigaops));
        StringBuilder text = new();
        text.AppendLine($"# Matrix products, tier {kernel}").AppendLine();
        text.AppendLine($"{CompareBenchmark.Processor()}, {threads} threads, {RuntimeInformation.FrameworkDescription}, BenchmarkDotNet, {DateTime.UtcNow:yyyy-MM-dd}. Weights of {MatrixProduct.Outputs} x {MatrixProduct.Columns}, four copies in turn.");
        text.AppendLine($"Roofs before / after: {before.ReadGigabytes:F1} / {after.ReadGigabytes:F1} GB/s read, {before.ByteGigaops:F0} / {after.ByteGigaops:F0} Gop/s of bytes (`vpdpbusd`), {before.FloatGigaops:F0} / {after.FloatGigaops:F0} Gop/s of float32, {before.PairGigaops:F0} / {after.PairGigaops:F0} Gop/s of pairs of bfloat16.");
        text.AppendLine("\"Of the roof\": the longer of the times for reading the weights and for the operations at the higher of these figures, over the median time.").AppendLine();
        text.AppendLine("| format | rows | median | standard error | weights GB/s | Gop/s | of the roof |").AppendLine("|---|---|---|---|---|---|---|");
        foreach (BenchmarkReport report in summary.Reports.Where(report => report.ResultStatistics is not null))
        {
            string format = (string)report.BenchmarkCase.Parameters[nameof(MatrixProduct.Format)];
            int rows = (int)report.BenchmarkCase.Parameters[nameof(MatrixProduct.Rows)];
            double seconds = report.ResultStatistics!.Median / 1e9, elements = (double)MatrixProduct.Outputs * MatrixProduct.Columns;
            BlockFormat.TryGet(format, out BlockFormat? type);
            double bytes = type!.ByteLength((long)elements), operations = 2 * elements * rows;
            double products = type.Type == TensorType.BF16 && kernel == "avx512-bf16" ? peaks.PairGigaops : type.BlockElements == 1 ? peaks.FloatGigaops : peaks.ByteGigaops;
            double roof = Math.Max(bytes / (peaks.ReadGigabytes * 1e9), operations / (products * 1e9));
            text.AppendLine(
                $"| {format} | {rows} | {seconds * 1e3:F3} ms | {report.ResultStatistics.StandardError / 1e6:F3} ms | {bytes / seconds / 1e9:F1} | {operations / seconds / 1e9:F0} | {roof / seconds:P0} |");
        }

        return text.ToString();
    }
}

/// <summary>One matrix product of random weights.</summary>
public unsafe class MatrixProduct
{
    internal const int Outputs = 18432, Columns = 2304;

    // Four copies in turn, so that a single row finds nothing in the caches.
    private const int Copies = 4;

    private readonly WeightMatrix[] _weights = new WeightMatrix[Copies];
    private CpuBackend? _backend;
    private Matrix? _x, _y;
    private byte* _data;
    private int _turn;

    internal static string[] Formats { get; set; } = [];

    internal static int[] RowCounts { get; set; } = [];

    internal static string? Kernel { get; set; }

    [ParamsSource(nameof(FormatNames))]
    public string Format { get; set; } = "";

    [ParamsSource(nameof(RowNumbers))]
    public int Rows { get; set; }

    public static IEnumerable<string> FormatNames => Formats;

    public static IEnumerable<int> RowNumbers => RowCounts;

    [GlobalSetup]
    public void Setup()
    {
        _backend = CpuBackend.Create(new CpuBackendOptions { Kernel = Kernel });
        BlockFormat.TryGet(Format, out BlockFormat? format);
        ArgumentNullException.ThrowIfNull(format);
        long bytes = format.ByteLength((long)Outputs * Columns);
        _data = (byte*)NativeMemory.AlignedAlloc((nuint)(Copies * bytes), 4096);
        Random random = new(1);
        for (int i = 0; i < Copies; i++)
        {
            Fill(new Span<byte>(_data + i * bytes, checked((int)bytes)), format.Type, random);
            _weights[i] = _backend.LoadWeights(new TensorView("w", format, [Outputs, Columns], _data + i * bytes, bytes, "random"));
        }

        _x = _backend.CreateMatrix(Rows, Columns);
        _y = _backend.CreateMatrix(Rows, Outputs);
        for (int r = 0; r < Rows; r++)
        {
            _x.Write(r, [.. Enumerable.Range(0, Columns).Select(_ => random.NextSingle() - 0.5f)]);
        }

        // The code around the kernels is compiled again once it has run often and nothing new has been compiled for a while: four warm-up products end before.
        for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < 1;)
        {
            Product();
        }
    }

    /// <summary>Random blocks. bfloat16 gets ordinary numbers: one in 128 random bit patterns is subnormal, and processors are slow with those.</summary>
    private static void Fill(Span<byte> data, TensorType type, Random random)
    {
        random.NextBytes(data);
        for (int i = 1; i < data.Length && type == TensorType.BF16; i += 2)
        {
            data[i] = (byte)((data[i] & 0x80) | 0x3C | (data[i] & 1));
        }
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _x!.Dispose();
        _y!.Dispose();
        _backend!.Dispose();
        NativeMemory.AlignedFree(_data);
    }

    [Benchmark]
    public void Product() => _backend!.MatMul(_x!, _weights[_turn++ % Copies], _y!, Rows, Rows > 8 ? Rows : 0);
}
