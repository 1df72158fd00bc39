using System.CommandLine;
using System.Text.Json;
using Gemma.Extensions.AI.Hub;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma models</c>: what is in the cache.</summary>
internal static class ModelsCommand
{
    public static Command Create()
    {
        Option<bool> json = CommonOptions.Json();
        Command command = new("models", "List the models in the cache with their sizes. Use one with --model hf:NAME.\n\nExamples:\n  gemma models\n  gemma models remove google/gemma-2-2b-it") { json };
        command.SetAction(parsed =>
        {
            HubCache cache = Cache();
            IReadOnlyList<CachedModel> models = cache.List();
            if (parsed.GetValue(json))
            {
                parsed.Host().Output.WriteLine(JsonSerializer.Serialize(models, SnakeCaseJson.Default.IReadOnlyListCachedModel));
            }
            else if (models.Count == 0)
            {
                parsed.Host().Output.WriteLine($"No complete models in '{cache.Root}'. 'gemma pull' downloads one.");
            }
            else
            {
                Print(AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(parsed.Host().Output) }), models, cache.Root);
            }
        });

        Argument<string> name = new("model") { Description = "Name as 'gemma models' lists it, with @revision where there are several." };
        Command remove = new("remove", "Remove a model from the cache.\n\nExample:\n  gemma models remove google/gemma-2-2b-it") { name };
        remove.SetAction(parsed => Remove(parsed.Host(), parsed.GetRequiredValue(name)));
        command.Add(remove);
        return command;
    }

    private static HubCache Cache() => new(new HubSettings(new GemmaHubOptions()).Cache);

    private static void Remove(CliInvocation host, string name)
    {
        HubCache cache = Cache();
        string bare = name.StartsWith(HubReference.Prefix, StringComparison.OrdinalIgnoreCase) ? name[HubReference.Prefix.Length..] : name;
        CachedModel[] found = [.. cache.List().Where(m => m.Reference.Equals(bare, StringComparison.OrdinalIgnoreCase) || $"{m.Reference}@{m.Revision}".Equals(bare, StringComparison.OrdinalIgnoreCase))];
        if (found.Length == 0)
        {
            throw new ArgumentException($"'{name}' is not in the cache '{cache.Root}'. 'gemma models' lists what is.");
        }

        foreach (CachedModel model in found)
        {
            host.Output.WriteLine($"removed {model.Reference}{(model.Revision.Length > 0 ? "@" + model.Revision : "")}, {InspectCommand.Size(cache.Remove(model))} freed");
        }
    }

    private static void Print(IAnsiConsole console, IReadOnlyList<CachedModel> models, string root)
    {
        Table table = new Table().Border(TableBorder.Rounded).AddColumn("model").AddColumn("revision").AddColumn(new TableColumn("size").RightAligned());
        foreach (CachedModel model in models)
        {
            table.AddRow(Markup.Escape(model.Reference), Markup.Escape(model.Revision.Length > 12 ? model.Revision[..12] : model.Revision), InspectCommand.Size(model.Bytes));
        }

        console.Write(table.Caption(Markup.Escape(root)));
    }
}
