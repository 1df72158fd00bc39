namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>What a short run takes: a directory 'student' with a config.json, a corpus in which each word is one of three, and a part held out.</summary>
internal static class Student
{
    public static void Write(TempDirectory directory)
    {
        Directory.CreateDirectory(directory.File("student"));
        File.WriteAllText(directory.File("student/config.json"), """
            {"architectures":["Gemma2ForCausalLM"],"model_type":"gemma2","vocab_size":1024,"hidden_size":32,"intermediate_size":48,"num_hidden_layers":2,"num_attention_heads":2,
             "num_key_value_heads":1,"head_dim":16,"hidden_activation":"gelu_pytorch_tanh","max_position_embeddings":128,"sliding_window":16,"rms_norm_eps":1e-6,"rope_theta":10000.0,
             "query_pre_attn_scalar":16,"attn_logit_softcapping":50.0,"final_logit_softcapping":30.0,"bos_token_id":2,"eos_token_id":1,"pad_token_id":0}
            """);
        string[] words = ["the", "little", "model", "reads", "a", "book", "and", "then", "it", "writes", "one", "more"];
        Random random = new(1);
        File.WriteAllText(directory.File("corpus.txt"), string.Join(' ', Enumerable.Range(0, 1500).Select(i => words[(i + random.Next(3)) % words.Length])));
        File.WriteAllText(directory.File("held-out.txt"), string.Join(' ', Enumerable.Range(0, 200).Select(i => words[(i + random.Next(3)) % words.Length])));
    }

    public static void AddTokenizer(TempDirectory directory, string name = "student") => File.Copy(TestData.Local("tiny/tokenizer.model"), Path.Combine(directory.File(name), "tokenizer.model"));

    /// <summary>Lines of the log of a run, without the speed.</summary>
    public static string[] Losses(string run) => [.. File.ReadAllLines(Path.Combine(run, "loss.csv")).Select(line => string.Join(',', line.Split(',').Where((_, column) => column != 6)))];

    /// <summary>Does something when a line is written.</summary>
    internal sealed class ReactingWriter(string start, Action react) : StringWriter
    {
        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (value?.StartsWith(start, StringComparison.Ordinal) == true)
            {
                react();
            }
        }
    }
}
