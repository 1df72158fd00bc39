using System.CommandLine;

if (args is [Gemma.Extensions.AI.Benchmarks.Speed.StartBenchmark.OneStart, string model, string hugePages])
{
    // Before the command line is set up: what is timed is the library, from the start of the process.
    await Gemma.Extensions.AI.Benchmarks.Speed.StartBenchmark.FirstTokenAsync(model, bool.Parse(hugePages));
    return 0;
}

// One file a benchmark; each registers its own subcommand here.
RootCommand root = new("Benchmarks of Gemma.Extensions.AI. Results are committed under results/<cpu>/.");
root.Add(Gemma.Extensions.AI.Benchmarks.Rag.VectorSearchBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Rag.RetrievalBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Rag.LanguagesBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Evaluation.MultipleChoiceBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.MaskBenchCommand.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Types.TypesBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Schemas.RandomSchemasBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Engine.EngineBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Engine.HostileBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Engine.SoakBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Engine.LoadBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Engine.WarmBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Server.ServerSoakBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Server.ServerOverheadBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Server.ServerRerankBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Server.IdleConnectionsBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Server.ServerCompareBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Text.TextBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.ForwardBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.CompareBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.GpuReport.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.KernelBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.AmxBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.StartBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.DivergenceBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Speed.RowKindsBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.CancellationBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.Training.TrainingBenchmark.Create());
root.Add(Gemma.Extensions.AI.Benchmarks.QuantizeBenchmark.Create());
return await root.Parse(args).InvokeAsync();
