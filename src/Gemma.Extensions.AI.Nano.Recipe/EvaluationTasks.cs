using System.CommandLine;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>Writes held-out cases as tasks and data of <c>gemma eval</c>.</summary>
internal static class EvaluationTasks
{
    private static readonly JsonSerializerOptions s_json = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    public static Command Create()
    {
        Option<string> output = new("--output") { Required = true, Description = "Folder for the tasks and, in 'data', their rows." };
        Option<int> cases = new("--cases") { DefaultValueFactory = _ => 200, Description = "Rows of each task." };
        Command command = new("tasks", "Writes held-out cases as tasks and data of 'gemma eval'.") { output, cases };
        command.SetAction(parse =>
        {
            string folder = parse.GetValue(output)!;
            int count = parse.GetValue(cases);
            Write(folder, "passages", Answered("exact_match", "f1"), count, i => Answer(Draw(i % 2 == 0 ? Skill.Passage : Skill.Absent, i)));
            Write(folder, "sources", Answered("exact_match", "citation_precision", "citation_recall", "refusal"), count, i => Answer(Draw(Skill.Sources, i)));
            Write(folder, "extraction", Answered("exact_match"), count, i => Answer(Draw(Skill.Json, i)));
            Write(folder, "talk", Answered("exact_match", "f1"), count, i => Answer(Draw(Skill.Talk, i)));
            Write(folder, "choices", """{"kind":"choices","prompt":"{{prompt}}","choices":"choices","answer":"place","metrics":["acc","acc_norm"]}""", count, Choices);
            Write(folder, "calls", """{"kind":"calls","prompt":"{{prompt}}","tools":"tools","answer":"calls","groupBy":"category","maxTokens":160,"metrics":["calls","functions"]}""", count, Calls);
        });
        return command;

        static string Answered(params string[] metrics) => $$"""{"kind":"generate","prompt":"{{"{{prompt}}"}}","answer":"answer","maxTokens":160,"normalize":{"trim":true},"metrics":{{JsonSerializer.Serialize(metrics)}}}""";
    }

    private static void Write(string folder, string name, string task, int count, Func<int, JsonObject> draw)
    {
        string data = Directory.CreateDirectory(Path.Combine(folder, "data", $"nano_{name}")).FullName;
        JsonObject named = new() { ["name"] = $"nano_{name}" };
        foreach ((string member, JsonNode? value) in JsonNode.Parse(task)!.AsObject())
        {
            named[member] = value?.DeepClone();
        }

        File.WriteAllText(Path.Combine(folder, $"nano_{name}.json"), named.ToJsonString(new JsonSerializerOptions(s_json) { WriteIndented = true }));
        File.WriteAllLines(Path.Combine(data, "test.jsonl"), Enumerable.Range(0, count).Select(i => draw(i).ToJsonString(s_json)));
    }

    /// <summary>The first case from a number on that is one question: what came before it has no place in a row.</summary>
    private static NanoCase Draw(Skill skill, int index)
    {
        for (int attempt = 0; ; attempt++)
        {
            NanoCase drawn = NanoCorpus.Draw(NanoEvaluation.Seed, index + (100_000 * attempt), Split.HeldOut, skill);
            if (drawn.Messages[0].Role == ChatRole.User && (drawn.Messages.Count == 2 || drawn.Messages[1].Contents.Any(content => content is FunctionCallContent)))
            {
                return drawn;
            }
        }
    }

    /// <summary>System text opens the user's turn, as Gemma has it.</summary>
    private static string Prompt(NanoCase drawn) => drawn.Options?.Instructions is { Length: > 0 } instructions ? $"{instructions}\n\n{drawn.Messages[0].Text}" : drawn.Messages[0].Text;

    private static JsonObject Answer(NanoCase drawn) => new() { ["prompt"] = Prompt(drawn), ["answer"] = drawn.Messages[^1].Text };

    /// <summary>The answer to a question about a passage among three of other questions.</summary>
    private static JsonObject Choices(int index)
    {
        NanoCase drawn = Draw(Skill.Passage, index);
        string right = drawn.Messages[^1].Text;
        List<string> choices = [.. Enumerable.Range(1, 20).Select(i => Draw(Skill.Passage, index + (1000 * i)).Messages[^1].Text).Where(text => text != right).Distinct(StringComparer.Ordinal).Take(3)];
        int place = index % 4;
        choices.Insert(place, right);
        return new JsonObject { ["prompt"] = Prompt(drawn), ["choices"] = new JsonArray([.. choices.Select(text => (JsonNode)text)]), ["place"] = place };
    }

    private static JsonObject Calls(int index)
    {
        bool fits = index % 5 != 4;
        NanoCase drawn = Draw(fits ? Skill.Tool : Skill.NoTool, index);
        FunctionCallContent[] calls = [.. drawn.Messages[1].Contents.OfType<FunctionCallContent>()];
        AIFunctionDeclaration[] tools = [.. drawn.Options!.Tools!.OfType<AIFunctionDeclaration>()];
        return new JsonObject
        {
            ["prompt"] = Prompt(drawn),
            ["category"] = calls.Length switch { 0 => "irrelevance", 1 => tools.Length == 1 ? "simple" : "multiple", _ => "parallel" },
            ["tools"] = new JsonArray([.. tools.Select(tool => new JsonObject
            {
                ["name"] = tool.Name, ["description"] = tool.Description, ["parameters"] = JsonNode.Parse(tool.JsonSchema.GetRawText()),
            })]),
            ["calls"] = new JsonArray([.. calls.Select(call => new JsonObject { ["name"] = call.Name, ["arguments"] = JsonSerializer.SerializeToNode(call.Arguments) })]),
        };
    }
}
