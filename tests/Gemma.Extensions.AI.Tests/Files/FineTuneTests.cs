using System.Text;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Text;
using Gemma.Extensions.AI.Text;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>Checkpoints whose tokens were added or renamed, in every file that may say so.</summary>
public sealed class FineTuneTests : IDisposable
{
    private static readonly string[] s_chatML = ["<|im_start|>", "<|im_end|>"];
    private static readonly string[] s_all = ["tokenizer.model", "tokenizer.json", "added_tokens.json", "tokenizer_config.json"];

    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Theory]
    [InlineData("tokenizer.model,tokenizer.json,added_tokens.json,tokenizer_config.json")]
    [InlineData("tokenizer.json,added_tokens.json,tokenizer_config.json")]
    [InlineData("tokenizer.json")]
    [InlineData("tokenizer.model,added_tokens.json,tokenizer_config.json")]
    [InlineData("tokenizer.model,added_tokens.json")]
    [InlineData("tokenizer.model,tokenizer_config.json")]
    public void AddedTokensAreFoundWhereverTheyStand(string files)
    {
        FineTune.AddTokenizer(_temp.Path, [.. s_chatML, "[CITE]"], files.Split(','));
        GemmaTokenizer tokenizer = TokenizerFiles.Open(_temp.Path);
        Assert.Equal([1024, .. Tokenizers.Tiny.Encode("user\nHi", true), 1025, 1026], tokenizer.Encode("<|im_start|>user\nHi<|im_end|>[CITE]", matchSpecial: true));
        Assert.Equal((TokenKind.Control, TokenKind.Control, TokenKind.UserDefined), (tokenizer.GetKind(1024), tokenizer.GetKind(1025), tokenizer.GetKind(1026)));
        Assert.Equal("[CITE]", Encoding.UTF8.GetString(tokenizer.GetBytes(1026)));
        Assert.Equal((1027, 2, 1, 0), (tokenizer.VocabularySize, tokenizer.BosId, tokenizer.EosId, tokenizer.PadId));
    }

    [Fact]
    public void ATokenizerJsonWinsOverWhatIsOlder()
    {
        // Turn markers renamed in tokenizer.json; everything beside it still has Google's names.
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        string json = File.ReadAllText(TestData.Local("tiny/tokenizer.json")).Replace("<start_of_turn>", "<|im_start|>", StringComparison.Ordinal).Replace("<end_of_turn>", "<|im_end|>", StringComparison.Ordinal);
        File.WriteAllText(_temp.File("tokenizer.json"), json);
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject
        {
            ["eos_token"] = "<|im_end|>", ["added_tokens_decoder"] = FineTune.Decoder([new(8, "<start_of_turn>", true, TokenMatching.None), new(9, "<end_of_turn>", true, TokenMatching.None)]),
        });
        FineTune.Put(_temp.Path, "added_tokens.json", new JsonObject { ["<end_of_turn>"] = 9 });
        GemmaTokenizer tokenizer = TokenizerFiles.Open(_temp.Path);
        Assert.Equal([8, 9], tokenizer.Encode("<|im_start|><|im_end|>", matchSpecial: true));
        Assert.Equal((1024, -1, 9), (tokenizer.VocabularySize, tokenizer.EndOfTurnId, tokenizer.EosId));
    }

    [Theory]
    [InlineData("tokenizer_config.json")]
    [InlineData("added_tokens.json")]
    public void TokensOfASentencePieceModelAreRenamed(string file)
    {
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        FineTune.Put(_temp.Path, file, file[0] == 'a'
            ? new JsonObject { ["<|im_start|>"] = 6, ["[TOOL]"] = 7 }
            : new JsonObject { ["added_tokens_decoder"] = FineTune.Decoder([new(6, "<|im_start|>", true, TokenMatching.None), new(7, "[TOOL]", false, TokenMatching.None)]) });
        FineTune.Put(_temp.Path, "special_tokens_map.json", new JsonObject { ["additional_special_tokens"] = new JsonArray("[TOOL]"), ["eos_token"] = new JsonObject { ["content"] = "<end_of_turn>" } });
        GemmaTokenizer tokenizer = TokenizerFiles.Open(_temp.Path);
        Assert.Equal([6, 7], tokenizer.Encode("<|im_start|>[TOOL]", matchSpecial: true));
        Assert.DoesNotContain(6, tokenizer.Encode("<unused0>", matchSpecial: true));

        // The map makes one special, and another the end.
        Assert.Equal((TokenKind.Control, TokenKind.Control, 9), (tokenizer.GetKind(6), tokenizer.GetKind(7), tokenizer.EosId));
    }

    [Fact]
    public void FlagsCountAsWritten()
    {
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject { ["added_tokens_decoder"] = FineTune.Decoder([new(1024, "<tool>", true, TokenMatching.LeftStrip | TokenMatching.RightStrip)]) });
        Assert.Equal([.. Tokenizers.Tiny.Encode("a", true), 1024, .. Tokenizers.Tiny.Encode("b", true)], TokenizerFiles.Open(_temp.Path).Encode("a <tool> b", matchSpecial: true));
    }

    /// <summary>A line feed may end replies and stays a line feed; markup that does is structure, even if nothing calls it special.</summary>
    [Fact]
    public void WhatEndsRepliesCannotBeTypedIfItIsMarkup()
    {
        FineTune.AddTokenizer(_temp.Path, ["<eot>"], "tokenizer.model", "added_tokens.json");
        GemmaTokenizer tokenizer = TokenizerFiles.Open(_temp.Path, [1024, 10]);
        Assert.Equal((TokenKind.Control, TokenKind.UserDefined), (tokenizer.GetKind(1024), tokenizer.GetKind(10)));
        Assert.DoesNotContain(1024, tokenizer.Encode("<eot>", matchSpecial: false));
        Assert.Equal([10], tokenizer.Encode("\n\n", matchSpecial: false));
    }

    [Fact]
    public void ATokenWithoutARowIsRefusedAtLoad()
    {
        FineTune.Write(_temp.Path, rows: 1);
        FineTune.AddTokenizer(_temp.Path, s_chatML, s_all);
        string message = Assert.Throws<GemmaModelFormatException>(() => GemmaModel.Load(_temp.Path)).Message;
        Assert.Contains("1025 ('<|im_end|>')", message);
        Assert.Contains("1025 rows", message);
    }

    /// <summary>Rows without a token that the model would always choose: ten times a row that it knows, at the end and in a gap.</summary>
    [Fact]
    public void IdsWithoutATokenAreNeverDrawn()
    {
        FineTune.Write(_temp.Path, rows: 64, scale: 10);
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        FineTune.Put(_temp.Path, "added_tokens.json", new JsonObject { ["[A]"] = 1040 });
        bool[] isToken = [.. Enumerable.Range(0, 1088).Select(id => id is < 1024 or 1040)];
        SamplingOptions[] samplings = [new() { Temperature = 0 }, new() { Temperature = 2, Seed = 1 }, new() { Temperature = 1, TopK = 5, Seed = 2, LogitBias = new Dictionary<int, float> { [1050] = 100 } }];
        using (TinyEngine blind = new(path: _temp.Path))
        {
            Assert.Contains(samplings, sampling => blind.Start([2, 300, 301], 40, sampling: sampling) is var all && all.Result.Error is null && all.Tokens.Any(id => !isToken[id]));
        }

        string gguf = _temp.File("padded.gguf");
        using (ModelFile file = ModelFile.Open(_temp.Path))
        {
            ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), gguf);
        }

        foreach (string path in new[] { _temp.Path, gguf })
        {
            using GemmaModel model = GemmaModel.Load(path, new GemmaOptions { Kernel = "reference", Threads = 1, DraftModelPath = gguf });
            Assert.Equal(isToken, Enumerable.Range(0, 1088).Select(id => id < model.Tokenizer.VocabularySize && model.Tokenizer.GetKind(id) != TokenKind.Unused));
            foreach (SamplingOptions sampling in samplings)
            {
                Generation generation = new();
                model.Engine.Submit(new GenerationRequest { Prompt = [2, 300, 301], Sink = generation, MaxOutputTokens = 40, Sampling = sampling });
                Assert.Null(generation.Result.Error);
                Assert.Equal(40, generation.Tokens.Length);
                Assert.All(generation.Tokens, id => Assert.True(isToken[id], $"{id}"));
            }
        }
    }

    [Fact]
    public void AllIdsThatEndRepliesCount()
    {
        FineTune.Write(_temp.Path, rows: 8, eos: [1025, 1026]);
        FineTune.AddTokenizer(_temp.Path, [.. s_chatML, "<eot>", "[END]", "<|endoftext|>"], "tokenizer.json");
        JsonNode config = JsonNode.Parse(File.ReadAllText(_temp.File("config.json")))!;
        config["eos_token_id"] = new JsonArray(1, 1031, 4000);
        FineTune.Put(_temp.Path, "config.json", config);
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject { ["eos_token"] = "[END]" });
        using ModelFile file = ModelFile.Open(_temp.Path);

        // generation_config.json, config.json (4000 does not exist), the tokenizer's eos, and the names of Gemma's end of turn and of the end of a text.
        int[] expected = [1, 9, 1025, 1026, 1027, 1028, 1031];
        Assert.Equal(expected, EndTokens.Of(file, file.CreateTokenizer()));
        string gguf = _temp.File("all.gguf");
        ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), gguf);
        using ModelFile converted = ModelFile.Open(gguf);
        Assert.Equal(expected, EndTokens.Of(converted, converted.CreateTokenizer()));

        // What llama.cpp knows by name needs no place: <eos> and <|endoftext|>. eos and the end of a turn have theirs.
        GgufMetadata metadata = ((GgufModelFile)converted).Metadata;
        int? Id(string name) => metadata.GetInt32($"tokenizer.ggml.{name}_token_id");
        Assert.Equal([1027, 9, 1026, 1031], new[] { Id("eos"), Id("eot"), Id("eom"), Id("fim_pad") }.OfType<int>());
    }

    [Fact]
    public void ATagThatIsSpeltAsTheEndOfOtherModelsIsText()
    {
        // Gemma 2's own vocabulary has HTML's </s>, user-defined.
        FineTune.Write(_temp.Path, rows: 8);
        FineTune.AddTokenizer(_temp.Path, ["</s>"], "tokenizer.json");
        using ModelFile file = ModelFile.Open(_temp.Path);
        string gguf = _temp.File("tag.gguf");
        ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), gguf);
        using ModelFile converted = ModelFile.Open(gguf);
        foreach (ModelFile each in (ModelFile[])[file, converted])
        {
            GemmaTokenizer tokenizer = each.CreateTokenizer();
            Assert.Equal((TokenKind.UserDefined, "</s>"), (tokenizer.GetKind(1024), tokenizer.GetPiece(1024)));
            Assert.Equal([1, 9], EndTokens.Of(each, tokenizer));
            Assert.Equal(1024, tokenizer.Encode("x</s>", matchSpecial: false)[^1]);
        }
    }

    [Fact]
    public void ANumberIsAListOfOne()
    {
        FineTune.Write(_temp.Path, rows: 0);
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.json");
        FineTune.Put(_temp.Path, "generation_config.json", new JsonObject { ["eos_token_id"] = 17 });
        using ModelFile file = ModelFile.Open(_temp.Path);
        Assert.Equal([1, 9, 17], EndTokens.Of(file, file.CreateTokenizer()));
    }

    [Fact]
    public void MoreEndsThanGGUFHasPlacesForAreRefused()
    {
        FineTune.Write(_temp.Path, rows: 0, eos: [30, 31, 32, 33, 34, 35, 36]);
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        using ModelFile file = ModelFile.Open(_temp.Path);
        Assert.Contains("eos_token_id", Assert.Throws<GemmaModelFormatException>(() => ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), _temp.File("x.gguf"))).Message);
    }

    [Fact]
    public void AConvertedCheckpointKeepsItsTokensAndSplitsTextAsBefore()
    {
        AddedToken[] tokens =
        [
            new(1024, "<|im_start|>", true, TokenMatching.None), new(1025, "<|im_end|>", true, TokenMatching.None), new(1026, "[CITE]", false, TokenMatching.Normalized),
            new(1028, "<both>", true, TokenMatching.LeftStrip | TokenMatching.RightStrip), new(1029, "cat", false, TokenMatching.SingleWord), new(6, "<tool>", true, TokenMatching.RightStrip),
        ];
        FineTune.Write(_temp.Path, rows: 16, eos: [1025]);
        FineTune.AddTokenizer(_temp.Path, [], "tokenizer.model");
        const string Template = "{{ bos_token }}{% for m in messages %}{{ '<|im_start|>' + m['role'] }}{% endfor %}";
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject
        {
            ["added_tokens_decoder"] = FineTune.Decoder(tokens), ["eos_token"] = "<|im_end|>", ["add_eos_token"] = true,
            ["chat_template"] = new JsonArray(new JsonObject { ["name"] = "default", ["template"] = Template }, new JsonObject { ["name"] = "tool_use", ["template"] = "{{ 1 }}" }),
        });
        using ModelFile original = ModelFile.Open(_temp.Path);
        ModelConverter.Write(original, QuantizationRecipe.Get("Q8_0"), _temp.File("m.gguf"));
        ModelConverter.Write(ModelFile.Open(_temp.File("m.gguf")), QuantizationRecipe.Get("Q4_0"), _temp.File("m2.gguf"));
        foreach (string file in new[] { "m.gguf", "m2.gguf" })
        {
            using GgufModelFile converted = (GgufModelFile)ModelFile.Open(_temp.File(file));
            GemmaTokenizer before = original.CreateTokenizer(), after = converted.CreateTokenizer();
            for (int id = 0; id < before.VocabularySize; id++)
            {
                if (before.GetPiece(id).Length > 0)
                {
                    Assert.Equal((before.GetPiece(id), before.GetKind(id), before.GetScore(id), before.GetMatching(id)), (after.GetPiece(id), after.GetKind(id), after.GetScore(id), after.GetMatching(id)));
                }
            }

            // As llama.cpp's converter marks what is no token.
            Assert.Equal(("[PAD1027]", "[PAD1039]", TokenKind.Unused), (after.GetPiece(1027), after.GetPiece(1039), after.GetKind(1027)));
            AssertSplitsAlike(before, after, [.. tokens.Select(token => token.Content)]);
            Assert.Equal((0.25f, 7, 0.5f), (converted.GenerationDefaults.Temperature, converted.GenerationDefaults.TopK, converted.GenerationDefaults.TopP));
            Assert.Equal((GgufType.Float32, GgufType.Int32, GgufType.Float32), (Type("temp"), Type("top_k"), Type("top_p")));
            Assert.True(converted.AddsEndToken);
            Assert.Equal((Template, "{{ 1 }}"), (converted.Metadata.GetString("tokenizer.chat_template"), converted.Metadata.GetString("tokenizer.chat_template.tool_use")));
            Assert.Equal(["tool_use"], converted.Metadata.GetStrings("tokenizer.chat_templates")!.Select(Encoding.UTF8.GetString));

            GgufType Type(string name) => converted.Metadata.Values["general.sampling." + name].Type;
        }
    }

    [Fact]
    public void TemplatesAreTakenFromWhereTransformersTakesThem()
    {
        Assert.Empty(ChatTemplateFiles.Read(_temp.Path));
        FineTune.Put(_temp.Path, "chat_template.json", new JsonObject { ["chat_template"] = "of the processor" });
        Assert.Equal(["of the processor"], ChatTemplateFiles.Read(_temp.Path).Select(t => t.Text));
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject { ["chat_template"] = "of the tokenizer" });
        Assert.Equal([("default", "of the tokenizer")], ChatTemplateFiles.Read(_temp.Path).Select(t => (t.Name, t.Text)));
        File.WriteAllText(_temp.File("chat_template.jinja"), "é\n");
        Directory.CreateDirectory(_temp.File("additional_chat_templates"));
        File.WriteAllText(_temp.File("additional_chat_templates/rag.jinja"), "of documents");
        Assert.Equal([("default", "é\n"), ("rag", "of documents")], ChatTemplateFiles.Read(_temp.Path).Select(t => (t.Name, t.Text)));
        File.Delete(_temp.File("chat_template.jinja"));
        Directory.Delete(_temp.File("additional_chat_templates"), recursive: true);
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject { ["chat_template"] = 7 });
        Assert.Contains("'chat_template' is 7", Assert.Throws<GemmaModelFormatException>(() => ChatTemplateFiles.Read(_temp.Path)).Message);
    }

    [Fact]
    public void DamagedFilesBesideTheTokenizerAreReadOrRefused()
    {
        Random random = new(23);
        FineTune.AddTokenizer(_temp.Path, [.. s_chatML, "[CITE]"], "tokenizer.model", "added_tokens.json");
        FineTune.Put(_temp.Path, "special_tokens_map.json", JsonNode.Parse("""{"bos_token":{"content":"<bos>","lstrip":false},"eos_token":"<|im_end|>","additional_special_tokens":["<|im_start|>",{"content":"[CITE]"}]}""")!);
        FineTune.Put(_temp.Path, "tokenizer_config.json", new JsonObject
        {
            ["added_tokens_decoder"] = FineTune.Decoder([new(6, "<a>", true, TokenMatching.LeftStrip), new(1027, "b c", false, TokenMatching.Normalized)]), ["eos_token"] = "<a>", ["chat_template"] = "x", ["extra_special_tokens"] = new JsonObject { ["a"] = "<b>" },
        });
        int accepted = 0, count = 0;
        foreach (string file in new[] { "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json" })
        {
            byte[] valid = File.ReadAllBytes(_temp.File(file));
            for (int i = 0; i < 500; i++, count++)
            {
                File.WriteAllBytes(_temp.File(file), Mutation.Apply(valid, valid.Length, random));
                try
                {
                    GemmaTokenizer tokenizer = TokenizerFiles.Open(_temp.Path);
                    Assert.All(tokenizer.Encode("a <a> [CITE]<|im_end|> b c", matchSpecial: true), id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
                    ChatTemplateFiles.Read(_temp.Path);
                    accepted++;
                }
                catch (GemmaModelFormatException)
                {
                }
            }

            File.WriteAllBytes(_temp.File(file), valid);
        }

        Assert.InRange(accepted, 1, count - 1);
    }

    private static void AssertSplitsAlike(GemmaTokenizer before, GemmaTokenizer after, string[] tokens)
    {
        string[] parts = [.. tokens, " ", "  ", "\n", "\n\n", "\t", "the ", "é日", "a", "<end_of_turn>", "<unused0>", "[PAD1027]", "▁", "<b>", "<0x0A>"];
        Random random = new(9);
        for (int round = 0; round < 1500; round++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(12)).Select(_ => parts[random.Next(parts.Length)]));
            bool special = random.Next(2) == 0;
            Assert.Equal(before.Encode(text, special), after.Encode(text, special));
        }
    }
}
