using System.Globalization;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.Core.Events;
using YamlDotNet.RepresentationModel;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>YAML as JSON.</summary>
internal static class YamlText
{
    /// <summary>Deepest nesting of a task; those that come with the package nest four deep.</summary>
    private const int Deepest = 64;

    /// <exception cref="FormatException">The text is not YAML, nests too deep, or has anchors.</exception>
    public static string ToJson(string yaml, string source)
    {
        YamlStream stream = [];
        try
        {
            Check(yaml, source);
            stream.Load(new StringReader(yaml));
        }
        catch (YamlException e)
        {
            throw new FormatException($"{source}, line {e.Start.Line}: {e.Message}", e);
        }

        return stream.Documents.Count == 1 ? Convert(stream.Documents[0].RootNode, source)?.ToJsonString() ?? "null"
            : throw new FormatException($"{source}: the file holds {stream.Documents.Count} documents, expected one.");
    }

    /// <summary>An alias may stand in what it names, and then there is no end to it.</summary>
    private static void Check(string yaml, string source)
    {
        Parser events = new(new StringReader(yaml));
        int depth = 0;
        while (events.MoveNext())
        {
            depth += events.Current!.NestingIncrease;
            if (depth > Deepest)
            {
                throw new FormatException($"{source}, line {events.Current.Start.Line}: values nest more than {Deepest} deep.");
            }

            if (events.Current is AnchorAlias or NodeEvent { Anchor.IsEmpty: false })
            {
                throw new FormatException($"{source}, line {events.Current.Start.Line}: anchors and aliases are not read.");
            }
        }
    }

    private static JsonNode? Convert(YamlNode node, string source)
    {
        switch (node)
        {
            case YamlMappingNode mapping:
                JsonObject fields = [];
                foreach ((YamlNode key, YamlNode value) in mapping.Children)
                {
                    fields[(key as YamlScalarNode)?.Value ?? throw new FormatException($"{source}, line {key.Start.Line}: a key is no text.")] = Convert(value, source);
                }

                return fields;
            case YamlSequenceNode sequence:
                return new JsonArray([.. sequence.Children.Select(item => Convert(item, source))]);
            case YamlScalarNode { Style: ScalarStyle.Plain } plain:
                return plain.Value switch
                {
                    null or "" or "~" or "null" => null,
                    "true" => true,
                    "false" => false,
                    var text when long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long whole) => whole,
                    var text when double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number) => number,
                    var text => text,
                };
            default:
                return ((YamlScalarNode)node).Value;
        }
    }
}
