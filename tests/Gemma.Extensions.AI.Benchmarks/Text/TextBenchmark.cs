using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Text;

/// <summary>Loading, encoding and decoding of the tokenizer, and the time that sampling adds to a token. One thread.</summary>
internal static class TextBenchmark
{
    public static Command Create()
    {
        Option<string> tokenizer = new("--tokenizer") { Description = "tokenizer.model or tokenizer.json.", Required = true };
        Option<string[]> files = new("--file") { Description = "UTF-8 text to encode, several are joined.", Required = true, AllowMultipleArgumentsPerToken = true };
        Option<int> repeat = new("--repeat") { DefaultValueFactory = _ => 7, Description = "Measurements of which the median is given." };
        Command command = new("text", "Tokenizer and sampler: load time, MB/s, µs a token.") { tokenizer, files, repeat };
        command.SetAction(parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            Run(parse.GetRequiredValue(tokenizer), parse.GetRequiredValue(files), parse.GetValue(repeat));
        });
        return command;
    }

    private static void Run(string path, string[] files, int repeat)
    {
        Stopwatch clock = Stopwatch.StartNew();
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(path);
        Console.WriteLine($"load, first in the process: {clock.Elapsed.TotalMilliseconds:0} ms");
        Console.WriteLine($"load, median of {repeat}: {Median(repeat, () => GemmaTokenizer.FromFile(path)) * 1e3:0} ms ({tokenizer.VocabularySize:N0} pieces)");

        string text = string.Concat(files.Select(File.ReadAllText));
        int bytes = Encoding.UTF8.GetByteCount(text);
        clock.Restart();
        int[] ids = tokenizer.Encode(text, matchSpecial: true);
        Console.WriteLine($"encode, first in the process: {bytes / clock.Elapsed.TotalSeconds / 1e6:0.0} MB/s");
        List<int> list = new(ids.Length);
        double encode = Median(repeat, () =>
        {
            list.Clear();
            tokenizer.Encode(text, list, matchSpecial: true);
        });
        Console.WriteLine($"encode, median of {repeat}: {bytes / encode / 1e6:0.0} MB/s ({bytes:N0} bytes, {ids.Length:N0} tokens, {bytes / (double)ids.Length:0.00} bytes a token)");
        double decode = Median(repeat, () => tokenizer.Decode(ids));
        Console.WriteLine($"decode, median of {repeat}: {bytes / decode / 1e6:0.0} MB/s");

        Sample("greedy", new SamplingOptions { Temperature = 0 }, repeat);
        Sample("temperature 1", new SamplingOptions { Seed = 1 }, repeat);
        Sample("top-k 64, top-p 0.95", new SamplingOptions { Seed = 1, TopK = 64, TopP = 0.95f }, repeat);
        Sample("top-p 0.95", new SamplingOptions { Seed = 1, TopP = 0.95f }, repeat);
        Sample("top-p 0.95, flat distribution", new SamplingOptions { Seed = 1, TopP = 0.95f }, repeat, flat: true);
        Sample("min-p 0.05", new SamplingOptions { Seed = 1, MinP = 0.05f }, repeat);
        Sample("top-k 64, half the tokens masked", new SamplingOptions { Seed = 1, TopK = 64 }, repeat, masked: true);
    }

    /// <summary>
    /// 256,000 logits: normal with deviation 2.5, and 50 tokens about 14 above; or none above, which leaves tens of thousands of candidates. The copy
    /// that every draw needs is measured apart and taken off.
    /// </summary>
    private static void Sample(string name, SamplingOptions options, int repeat, bool masked = false, bool flat = false)
    {
        const int Size = 256_000;
        const int Draws = 50;
        Random random = new(1);
        float[] logits = [.. Enumerable.Range(0, Size).Select(id => Normal() * 2.5f + (!flat && id % 5120 == 0 ? 14 : 0))];
        float[] work = new float[Size];
        ulong[] mask = masked ? [.. Enumerable.Repeat(0xAAAA_AAAA_AAAA_AAAA, (Size + 63) / 64)] : [];
        Sampler sampler = new(options, Size, []);
        double copy = Median(repeat, () => Each(() => logits.CopyTo(work, 0)));
        double all = Median(repeat, () => Each(() =>
        {
            logits.CopyTo(work, 0);
            sampler.Sample(work, mask);
        }));
        Console.WriteLine($"sample, {name}: {(all - copy) / Draws * 1e6:0} µs of 256,000 logits");

        float Normal() => (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));

        static void Each(Action action)
        {
            for (int i = 0; i < Draws; i++)
            {
                action();
            }
        }
    }

    private static double Median(int repeat, Action action)
    {
        double[] seconds = new double[repeat];
        for (int i = 0; i < repeat; i++)
        {
            long start = Stopwatch.GetTimestamp();
            action();
            seconds[i] = Stopwatch.GetElapsedTime(start).TotalSeconds;
        }

        Array.Sort(seconds);
        return seconds[repeat / 2];
    }
}
