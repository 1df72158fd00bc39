using Gemma.Extensions.AI.Benchmarks.Rag;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Retrieval;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class LanguagesTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Texts and questions in whose words other writings, or no spaces, stand. Twenty other texts stand beside each.</summary>
    [Theory]
    [InlineData("製品の保証期間は五年です。修理は東京の工場で行います。", "保証期間は何年ですか？")]
    [InlineData("水泵每年三月保养一次。保养由工厂负责。", "水泵什么时候保养？")]
    [InlineData("ปั๊มน้ำได้รับการบำรุงรักษาทุกเดือนมีนาคม", "ปั๊มน้ำบำรุงรักษาเมื่อไหร่")]
    [InlineData("펌프는 매년 삼월에 점검합니다.", "펌프는 언제 점검하나요?")]
    [InlineData("版本 GPU加速 支持", "GPU")]
    [InlineData("版本 GPU加速 支持", "加速")]
    [InlineData("版本 GPU加速 支持", "速")]
    [InlineData("Die Donau\u00ADdampf\u00ADschiff\u00ADfahrt ist alt.", "Donaudampfschifffahrt")]
    [InlineData("Die Donaudampfschifffahrt ist alt.", "Donau\u00ADdampf\u00ADschifffahrt")]
    [InlineData("The \uFB01nance section.", "finance")]
    [InlineData("The o\uFB03ce is big.", "office")]
    [InlineData("\uFF2D\uFF4F\uFF44\uFF45\uFF4C \uFF21\uFF22\uFF23\uFF11\uFF12\uFF13 weighs much.", "ABC123")]
    [InlineData("Model ABC123 weighs much.", "ＡＢＣ１２３")]
    [InlineData("zero\u200Bwidth words", "zerowidth")]
    [InlineData("Straße nach Köln", "Strasse")]
    [InlineData("Strasse nach Koeln", "Straße")]
    [InlineData("ΟΔΟΣ σοφίας", "οδός")]
    [InlineData("ISPARTA gülü", "ısparta")]
    [InlineData("ﾎﾟﾝﾌﾟ室", "ポンプ")]
    [InlineData("Đường Nguyễn Huệ dài một cây số.", "duong nguyen hue")]
    [InlineData("\u1112\u1161\u11AB\u1100\u1173\u11AF 박물관", "한글")]
    [InlineData("المضخـــة في القبو", "المضخة")]
    [InlineData("הַמַּשְׁאֵבָה במרתף", "המשאבה")]
    [InlineData("Das Volumen beträgt 5 m³.", "m3")]
    public async Task ATextIsFoundInWhateverWayItIsWritten(string text, string question)
    {
        foreach (string tokenizer in (string[])[new SqliteVectorStoreOptions().FullTextTokenizer, "trigram"])
        {
            using SqliteVectorStore store = new(_directory.File($"{tokenizer}.db"), new SqliteVectorStoreOptions { FullTextTokenizer = tokenizer });
            VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
            await new DocumentIngestor(collection, s_tokenizer).IngestAsync(
                [.. Enumerable.Range(0, 20).Select(i => SourceDocument.FromText($"d{i}", $"Number {i} on the list. 第{i}頁的內容。")), SourceDocument.FromText("found", text)]);
            RetrievedPassage best = (await new DocumentRetriever(collection).SearchAsync(question, 3))[0];
            Assert.Equal("found", best.Chunk.DocumentId);
            Assert.EndsWith(text, best.Chunk.Text, StringComparison.Ordinal); // What is cited is what was written.
            Assert.True(best.Evidence >= new DocumentAnswererOptions().MinEvidence, $"{tokenizer}: evidence {best.Evidence}");
            Assert.True(best.TermCoverage >= new DocumentAnswererOptions().MinTermCoverage, $"{tokenizer}: coverage {best.TermCoverage}");
        }
    }

    /// <summary>Floors a little below what was measured (results/…/languages.md).</summary>
    [Fact]
    public async Task QuestionsInManyLanguagesFindTheirDocument()
    {
        RetrievalCorpus corpus = RetrievalCorpus.Load(Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.Benchmarks", "Rag", "languages.txt"));
        using SqliteVectorStore store = new(_directory.File("languages.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
        await new DocumentIngestor(collection, s_tokenizer).IngestAsync(corpus.Documents);
        LanguageResult[] results = await corpus.ByLanguageAsync(new DocumentRetriever(collection));
        Assert.True(results.Where(r => r.Language is "zh" or "tw" or "ja" or "ko" or "th").Sum(r => r.Questions) >= 60);
        foreach (LanguageResult result in results.Where(r => r.Language != "other subjects"))
        {
            Assert.True(result.Five >= 0.95 * result.Questions, $"{result.Five} of {result.Questions} questions in '{result.Language}' find their document.");
        }

        LanguageResult all = results.Single(r => r.Language == "all"), others = results.Single(r => r.Language == "other subjects");
        Assert.True(all.Answered >= 0.97 * all.Questions, $"{all.Questions - all.Answered} of {all.Questions} questions are refused.");
        Assert.True(others.Answered <= 0.15 * others.Questions, $"{others.Answered} of {others.Questions} questions about other subjects reach the model.");
    }

    /// <summary>Letters between question words and particles are words, which is what a question about soup or an island has.</summary>
    [Theory]
    [InlineData("湯要熬多久？", "湯 熬")]
    [InlineData("鱼在哪里？", "鱼")]
    [InlineData("섬까지 배는 얼마나 걸리나요?", "섬 배")]
    [InlineData("米は何を使いますか？", "米 使")]
    [InlineData("北京明天的天气怎么样？", "")]
    [InlineData("茶", "")] // all that is asked for, which counts as any word
    [InlineData("How long is it boiled?", "")]
    [InlineData("GPU要多少", "")]
    public void SingleLettersBetweenQuestionWordsAreWords(string question, string expected) =>
        Assert.Equal(expected.Split(' ', StringSplitOptions.RemoveEmptyEntries), QueryTerms.Alone(question).Order(StringComparer.Ordinal).OrderBy(letter => question.IndexOf(letter, StringComparison.Ordinal)));

    /// <summary>Other stores have words of their own; they are asked in the question's.</summary>
    [Fact]
    public void OtherStoresAreAskedAsItIsWritten() => Assert.Equal(["straße", "köln"], QueryTerms.Written("Where is the Straße in Köln?"));

    [Fact]
    public async Task PhrasesAndShortWordsAreFoundToo()
    {
        foreach (string tokenizer in (string[])["porter ascii", "trigram"])
        {
            using SqliteVectorStore store = new(_directory.File($"phrases {tokenizer}.db"), new SqliteVectorStoreOptions { FullTextTokenizer = tokenizer });
            SqliteVectorCollection<Guid, DocumentChunk> collection = (SqliteVectorCollection<Guid, DocumentChunk>)store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(null));
            await new DocumentIngestor(collection, s_tokenizer).IngestAsync([SourceDocument.FromText("a", "An ox by the red gate. 使用GPU加速功能"), SourceDocument.FromText("b", "The gate is red. GPU 功能加速")]);
            async Task<string> FoundAsync(string keyword) => string.Concat((await collection.KeywordSearchAsync([keyword], 5).ToListAsync()).Select(r => r.Record.DocumentId).Order());
            Assert.Equal("a", await FoundAsync("red gate"));
            Assert.Equal("a", await FoundAsync("ox"));
            Assert.Equal("a", await FoundAsync("GPU加速"));
            Assert.Equal("ab", await FoundAsync("加速"));
            Assert.Equal("ab", await FoundAsync("能"));
            Assert.Equal("", await FoundAsync("!?"));
        }
    }
}
