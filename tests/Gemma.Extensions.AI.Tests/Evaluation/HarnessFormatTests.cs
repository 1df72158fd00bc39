using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Evaluation.Tasks;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>
/// Prompts of the built-in tasks, character by character as lm-evaluation-harness 0.4 writes them (its templates were read, and filled in by hand with questions of our own): what stands
/// before the continuation, and the continuations.
/// </summary>
public class HarnessFormatTests
{
    public static TheoryData<string> Tasks => [.. EvaluationTask.BuiltIn];

    [Theory]
    [MemberData(nameof(Tasks))]
    public void EveryTaskSurvivesBeingWrittenAndRead(string name)
    {
        EvaluationTask task = EvaluationTask.Find(name);
        Assert.Equal(name, task.Name);
        Assert.Equal(task.ToJson(), EvaluationTask.Parse(task.ToJson()).ToJson());
        Assert.NotNull(task.About);
    }

    [Fact]
    public void Arc()
    {
        const string Row = """{"id":"1","question":"Which of these is a metal?","choices":{"text":["wood","iron","glass"],"label":["A","B","C"]},"answerKey":"B"}""";
        const string Example = """{"question":"What do bees make?","choices":{"text":["milk","honey","silk","wool"],"label":["1","2","3","4"]},"answerKey":"2"}""";
        Question question = Ask("arc_challenge", Row, Example);
        Assert.Equal(["Question: What do bees make?\nAnswer: honey\n\nQuestion: Which of these is a metal?\nAnswer:"], question.Contexts);
        Assert.Equal([" wood", " iron", " glass"], question.Continuations);
        Assert.Equal([1], CompiledTask.Places(question.Answer, 3));
    }

    [Fact]
    public void HellaSwagWithItsCleanUp()
    {
        const string Row = """
            {"activity_label":"Baking bread","ctx_a":"[header] How to bake bread [title] Prepare.  [step] Wash your hands.","ctx_b":"then YOU",
             "endings":["mix flour. [substeps] Add water."," knead the  dough.","[step]bake it.","[title] eat."],"label":"2"}
            """;

        // Trimmed; " [title]" becomes ". "; what stands in brackets goes; each pair of spaces becomes one (three become two). capitalize() lowers all letters behind the first.
        Question question = Ask("hellaswag", Row);
        Assert.Equal(["Baking bread: How to bake bread. Prepare.  Wash your hands. Then you"], question.Contexts);
        Assert.Equal([" mix flour. Add water.", " knead the dough.", " bake it.", "  eat."], question.Continuations);
        Assert.Equal([2], CompiledTask.Places(question.Answer, 4));
    }

    [Fact]
    public void Piqa()
    {
        Question question = Ask("piqa", """{"goal":"To dry wet shoes,","sol1":"fill them with paper.","sol2":"fill them with water.","label":0}""");
        Assert.Equal(["Question: To dry wet shoes,\nAnswer:"], question.Contexts);
        Assert.Equal([" fill them with paper.", " fill them with water."], question.Continuations);
        Assert.Equal([0], CompiledTask.Places(question.Answer, 2));
    }

    [Fact]
    public void WinoGrandeScoresTheRestOfTheSentenceBehindEachName()
    {
        const string Row = """{"sentence":"Ann thanked Bea because _ had helped.","option1":"Ann","option2":"Bea","answer":"2"}""";
        const string Example = """{"sentence":"The key fits the lock, so _ turns.","option1":"the key","option2":"the lock","answer":"1"}""";
        Question question = Ask("winogrande", Row, Example);
        const string Before = "The key fits the lock, so the key turns.\n\n";
        Assert.Equal([Before + "Ann thanked Bea because Ann", Before + "Ann thanked Bea because Bea"], question.Contexts);
        Assert.Equal([" had helped.", " had helped."], question.Continuations);
        Assert.Equal([1], CompiledTask.Places(question.Answer, 2));
    }

    [Fact]
    public void BoolQ()
    {
        Question question = Ask("boolq", """{"passage":"Iron rusts.","question":"does iron rust","label":1}""");
        Assert.Equal(["Iron rusts.\nQuestion: does iron rust?\nAnswer:"], question.Contexts);
        Assert.Equal([" no", " yes"], question.Continuations);
        Assert.Equal([1], CompiledTask.Places(question.Answer, 2));
        Assert.Equal([0], CompiledTask.Places(Ask("boolq", """{"passage":"x","question":"y","answer":false}""").Answer, 2)); // as the data set itself has it
    }

    [Fact]
    public void Mmlu()
    {
        const string Row = """{"question":" What is 2 + 2? ","subject":"elementary_mathematics","choices":["3","4","5","6"],"answer":1}""";
        const string Example = """{"question":"What is 1 + 1?","subject":"elementary_mathematics","choices":["2","3","4","5"],"answer":0}""";
        Question question = Ask("mmlu", Row, Example);
        Assert.Equal(
            ["The following are multiple choice questions (with answers) about elementary mathematics.\n\n"
                + "What is 1 + 1?\nA. 2\nB. 3\nC. 4\nD. 5\nAnswer: A\n\n"
                + "What is 2 + 2?\nA. 3\nB. 4\nC. 5\nD. 6\nAnswer:"], question.Contexts);
        Assert.Equal([" A", " B", " C", " D"], question.Continuations);
        Assert.Equal("elementary_mathematics", question.Group);
    }

    [Fact]
    public void Gsm8k()
    {
        const string Row = """{"question":"Tom has 3 apples and buys 4. How many has he?","answer":"3 + 4 = <<3+4=7>>7\n#### 7"}""";
        const string Example = """{"question":"Half of 10?","answer":"10 / 2 = <<10/2=5>>5\n#### 5"}""";
        Question question = Ask("gsm8k", Row, Example);
        Assert.Equal(["Question: Half of 10?\nAnswer: 10 / 2 = <<10/2=5>>5\n#### 5\n\nQuestion: Tom has 3 apples and buys 4. How many has he?\nAnswer:"], question.Contexts);
        Assert.Equal(["Question:", "</s>", "<|im_end|>"], EvaluationTask.Find("gsm8k").Stop);
    }

    [Fact]
    public void Others()
    {
        Question social = Ask("social_iqa", """{"context":"Jo fell.","question":"How does Jo feel?","answerA":"sad","answerB":"glad","answerC":"tall","label":"1"}""");
        Assert.Equal(["Q: Jo fell. How does Jo feel?\nA:"], social.Contexts);
        Assert.Equal([0], CompiledTask.Places(social.Answer, 3));
        Question trivia = Ask("triviaqa", """{"question":"Who wrote it","answer":{"aliases":["Ann","A. Writer"]}}""", """{"question":"Which town","answer":{"aliases":["Bath","City of Bath"]}}""");
        Assert.Equal(["Question: Which town?\nAnswer: Bath\n\nQuestion: Who wrote it?\nAnswer:"], trivia.Contexts);
        Question open = Ask("nq_open", """{"question":"who wrote it","answer":["Ann"]}""", """{"question":"which town","answer":["Bath"]}""");
        Assert.Equal(["Answer these questions:\n\nQ: which town?\nA: Bath\nQ: who wrote it?\nA:"], open.Contexts);
        Question reasoned = Ask("bbh", """{"input":"not True is","target":"False"}""", """{"input":"not False is","target":"So the answer is True."}""");
        Assert.Equal(["Q: not False is\nA: Let's think step by step.\nSo the answer is True.\n\nQ: not True is\nA: Let's think step by step.\n"], reasoned.Contexts);
        Question program = Ask("mbpp", """{"text":"Add one.","test_list":["assert f(1) == 2","assert f(2) == 3","assert f(3) == 4"],"code":"def f(x): return x + 1"}""");
        Assert.Equal(["You are an expert Python programmer, and here is your task: Add one. Your code should pass these tests:\n\nassert f(1) == 2\nassert f(2) == 3\nassert f(3) == 4\n[BEGIN]\n"], program.Contexts);
    }

    [Fact]
    public void AnswersOfDropAreNumbersSpansAndDates()
    {
        const string Row = """
            {"passage":"P.","question":"Q?","answer":{"number":"3","date":{"day":"","month":"","year":""},"spans":[]},
             "validated_answers":{"number":["","4"],"date":[{"day":"1","month":"May","year":"1900"},{"day":"","month":"","year":""}],"spans":[[],[]]}}
            """;
        Question question = Ask("drop", Row);
        Assert.Equal(["P. Q?"], question.Contexts);
        Assert.Equal("""[["3"],["1 May 1900"],["4"]]""", question.Answer!.ToJsonString());
    }

    [Fact]
    public void WhatARowLacksIsRefusedByName()
    {
        FormatException missing = Assert.Throws<FormatException>(() => Ask("arc_easy", """{"choices":{"text":["a"],"label":["A"]},"answerKey":"A"}"""));
        Assert.Contains("'prompt'", missing.Message, StringComparison.Ordinal);
        Assert.Contains("question", missing.Message, StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => Ask("arc_easy", """{"question":"x","choices":{"text":["a"],"label":["A"]},"answerKey":"E"}"""));
        Assert.Throws<FormatException>(() => CompiledTask.Places(JsonValue.Create(4), 4));
    }

    [Theory]
    [InlineData("""{"name":"x","kind":"choices","prompt":"a","metrics":["acc"]}""", "'choices' is missing")]
    [InlineData("""{"name":"x","kind":"choices","prompt":"a","choices":"b","answer":"c","metrics":["exact_match"]}""", "no metric of the kind")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"{{ a","answer":"c","metrics":["f1"]}""", "is no template")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"a","answer":"c","metrics":["f1"],"extract":[{"name":"n","pattern":"("}]}""", "no regular expression")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"a","answer":"c","metrics":["f1"],"fewshots":3}""", "fewshots")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"a","answer":"c","metrics":["f1"],"fewShot":3}""", "fewShotSplit")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"a","answer":"c","metrics":null}""", "metrics")]
    [InlineData("""{"name":"x","kind":"guess","prompt":"a"}""", "kind")]
    [InlineData("""{"name":"x","kind":"calls","prompt":"a","answer":"c","metrics":["calls"]}""", "'tools'")]
    [InlineData("""{"name":"x","kind":"generate","prompt":"a","answer":"c","tools":"t","metrics":["f1"]}""", "'tools'")]
    [InlineData("""{"name":"x","kind":"calls","prompt":"a","answer":"c","tools":"t","fewShot":1,"fewShotSplit":"train","metrics":["calls"]}""", "no examples")]
    public void TasksThatCannotBeAreRefused(string json, string reason) =>
        Assert.Contains(reason, Assert.Throws<FormatException>(() => EvaluationTask.Parse(json)).Message, StringComparison.Ordinal);

    [Fact]
    public void ATaskInYamlIsTheSameTask()
    {
        using TempDirectory directory = new();
        File.WriteAllText(directory.File("mine.yaml"), """
            # One of the user's own.
            name: mine
            kind: generate
            prompt: "Q: {{q}}\nA:"
            answer: a
            stop: ["\n"]
            maxTokens: 8
            normalize: { ignoreCase: true }
            metrics: [exact_match, f1]
            """);
        const string Same = """{"name":"mine","kind":"generate","prompt":"Q: {{q}}\nA:","answer":"a","stop":["\n"],"maxTokens":8,"normalize":{"ignoreCase":true},"metrics":["exact_match","f1"]}""";
        Assert.Equal(EvaluationTask.Parse(Same).ToJson(), EvaluationTask.Load(directory.File("mine.yaml")).ToJson());
    }

    [Theory]
    [InlineData("name: &n mine", "line 1: anchors")]
    [InlineData("name: mine\nstop: &s [a, *s]", "line 2: anchors")]
    [InlineData("deep: [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", "nest more than 64 deep")]
    [InlineData("a: 1\n---\nb: 2", "2 documents")]
    [InlineData("a: [1", "line 2")]
    public void YamlThatIsNoTaskIsRefused(string yaml, string reason)
    {
        using TempDirectory directory = new();
        File.WriteAllText(directory.File("mine.yaml"), yaml);
        Assert.Contains(reason, Assert.Throws<FormatException>(() => EvaluationTask.Load(directory.File("mine.yaml"))).Message, StringComparison.Ordinal);
    }

    private static Question Ask(string task, string row, params string[] examples)
    {
        CompiledTask compiled = new(EvaluationTask.Find(task));
        return compiled.Ask((JsonObject)JsonNode.Parse(row)!, examples.Select(example => (JsonObject)JsonNode.Parse(example)!), compiled.Task.TargetDelimiter);
    }
}
