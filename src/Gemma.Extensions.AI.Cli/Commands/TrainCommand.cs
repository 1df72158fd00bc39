using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.Cli.Terminal;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma train</c> and <c>gemma distill</c>: next-token training, and training towards a teacher's distribution.</summary>
internal static class TrainCommand
{
    private static readonly Option<string[]> s_data = new("--data") { Description = "Training files: .jsonl with one {\"messages\":[…]} a line, or plain text.", Required = true, AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string[]> s_validation = new("--validation") { Description = "Files to measure on.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<string> s_output = new("--output", "-o") { Description = "Directory of the run. A run that was stopped continues from its checkpoint there.", Required = true };
    private static readonly Option<int> s_steps = new("--steps") { Description = "Weight updates.", DefaultValueFactory = _ => 1000 };
    private static readonly Option<float> s_rate = new("--learning-rate") { Description = "Largest learning rate, reached after the warm-up.", DefaultValueFactory = _ => 1e-3f };
    private static readonly Option<int> s_length = new("--length") { Description = "Tokens of the longest document.", DefaultValueFactory = _ => 256 };
    private static readonly Option<int> s_batch = new("--batch-tokens") { Description = "Tokens of one micro-batch.", DefaultValueFactory = _ => 2048 };
    private static readonly Option<int> s_accumulate = new("--micro-batches") { Description = "Micro-batches of one update.", DefaultValueFactory = _ => 4 };
    private static readonly Option<int> s_every = new("--checkpoint-every") { Description = "Steps between checkpoints and validations.", DefaultValueFactory = _ => 100 };
    private static readonly Option<int> s_seed = new("--seed") { Description = "Of a new model's weights and of the order of the documents.", DefaultValueFactory = _ => 1 };
    private static readonly Option<float> s_clip = new("--clip-norm") { Description = "Largest norm of the gradient; 0: no clipping.", DefaultValueFactory = _ => 1f };
    private static readonly Option<int> s_warmup = new("--warmup") { Description = "Steps over which the learning rate rises; a cosine follows.", DefaultValueFactory = _ => 100 };
    private static readonly Option<bool> s_half = new("--bf16") { Description = "Write the model as bfloat16 instead of float32." };
    private static readonly Option<int?> s_threads = CommonOptions.Threads();
    private static readonly Option<int?> s_lora = new("--lora") { Description = "Train a low-rank adapter of this rank instead of the weights, which stay as they are, in any format; it is saved as PEFT does.", HelpName = "rank" };
    private static readonly Option<float?> s_alpha = new("--alpha") { Description = "The adapter's update is alpha/rank times its factors. Default: twice the rank." };
    private static readonly Option<string[]> s_targets = new("--targets") { Description = $"Projections that the adapter changes: some of {string.Join(", ", LoraOptions.AllTargets)}. Default: all.", AllowMultipleArgumentsPerToken = true };
    private static readonly Option<bool> s_replies = new("--model-turns-only") { Description = "In conversations, train on the model's turns only." };

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Where to start: a model to train on (any format), or a directory with config.json and tokenizer alone for a new one.", HelpName = "path", Required = true };
        Command command = Common(new Command("train", "Train a model on text or conversations.\n\nExample:\n  gemma train --model ./student --data corpus.txt --output run --steps 2000\n  gemma train --model gemma-2-2b-it-Q8_0.gguf --lora 8 --data chats.jsonl --batch-tokens 256 --output run"));
        command.Add(model);
        command.SetAction((parsed, cancellation) => RunAsync(parsed.Host(), Read(parsed, parsed.GetRequiredValue(model)), cancellation));
        return command;
    }

    public static Command CreateDistill()
    {
        Option<string> teacher = new("--teacher") { Description = "The model to learn from, in any format; it runs as it is, quantised or not.", HelpName = "path", Required = true };
        Option<string> student = new("--student") { Description = "The student's config.json, or a directory that holds it, for a new model with the teacher's vocabulary; or a model to go on from.", HelpName = "path", Required = true };
        Option<float> temperature = new("--temperature") { Description = "Softens both distributions.", DefaultValueFactory = _ => 1f };
        Option<float> mix = new("--mix") { Description = "Share of the teacher in the loss, 0 to 1; the rest is the label's.", DefaultValueFactory = _ => 0.9f };
        Option<int> top = new("--top-k") { Description = "Logits of the teacher kept for a token; 0: all.", DefaultValueFactory = _ => 64 };
        Command command = Common(new Command("distill", "Train a small model to predict what a larger one does. The teacher's answers are kept in the output directory, and asked for once.\n\nExample:\n  gemma distill --teacher gemma-2-2b-it-Q4_K_M.gguf --student student/config.json --data corpus.txt --output run"));
        foreach (Option option in new Option[] { teacher, student, temperature, mix, top })
        {
            command.Add(option);
        }

        command.SetAction((parsed, cancellation) => RunAsync(
            parsed.Host(),
            Read(parsed, parsed.GetRequiredValue(student)) with
            {
                Teacher = parsed.GetRequiredValue(teacher), TeacherShare = parsed.GetValue(mix), Temperature = parsed.GetValue(temperature), TeacherLogits = parsed.GetValue(top),
            },
            cancellation));
        return command;
    }

    private static Command Common(Command command)
    {
        foreach (Option option in new Option[] { s_data, s_validation, s_output, s_steps, s_rate, s_length, s_batch, s_accumulate, s_every, s_seed, s_clip, s_warmup, s_half, s_threads, s_replies, s_lora, s_alpha, s_targets })
        {
            command.Add(option);
        }

        return command;
    }

    private static GemmaTrainingOptions Read(ParseResult parsed, string model)
    {
        if (parsed.GetValue(s_lora) is null && (parsed.GetValue(s_alpha) is not null || parsed.GetValue(s_targets) is { Length: > 0 }))
        {
            throw new ArgumentException("--alpha and --targets describe an adapter; give its rank with --lora.");
        }

        return new GemmaTrainingOptions
        {
            Model = model,
            Data = parsed.GetRequiredValue(s_data),
            Validation = parsed.GetValue(s_validation) ?? [],
            Output = parsed.GetRequiredValue(s_output),
            Steps = parsed.GetValue(s_steps),
            LearningRate = parsed.GetValue(s_rate),
            MaxLength = parsed.GetValue(s_length),
            MicroBatchTokens = parsed.GetValue(s_batch),
            MicroBatches = parsed.GetValue(s_accumulate),
            CheckpointEvery = parsed.GetValue(s_every),
            WarmupSteps = parsed.GetValue(s_warmup),
            ClipNorm = parsed.GetValue(s_clip),
            Seed = parsed.GetValue(s_seed),
            Threads = parsed.GetValue(s_threads),
            BFloat16 = parsed.GetValue(s_half),
            ModelTurnsOnly = parsed.GetValue(s_replies),
            LoraRank = parsed.GetValue(s_lora),
            LoraAlpha = parsed.GetValue(s_alpha),
            LoraTargets = parsed.GetValue(s_targets) is { Length: > 0 } targets ? targets : LoraOptions.AllTargets,
        };
    }

    private static async Task RunAsync(CliInvocation host, GemmaTrainingOptions options, CancellationToken cancellation)
    {
        options.Validate(OptionWords.Of);
        using ProgressLine line = new(host);
        GemmaTrainer trainer = new(options)
        {
            Log = text =>
            {
                line.Keep();
                host.Output.WriteLine(text);
            },
            Warn = warning => host.Error.WriteLine($"gemma: warning: {warning}"),
            TeacherProgress = new SynchronousProgress<GemmaTeacherProgress>(p => line.Show("asking the teacher", p.Documents, p.AllDocuments)),
        };
        GemmaTrainingResult result = await trainer.RunAsync(cancellation);
        string measured = result.ValidationLoss is { } loss ? string.Create(CultureInfo.InvariantCulture, $", validation perplexity {Math.Exp(loss):F4}") : "";
        host.Output.WriteLine($"{result.Path}: after {result.Steps:N0} steps{measured}");
    }
}
