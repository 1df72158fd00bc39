using System.Globalization;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>YAML as JSON.</summary>
internal static class YamlText
{
    /// <exception cref="FormatException">The text is not YAML.</exception>
    public static string ToJson(string yaml, string source)
    {
        YamlStream stream = [];
        try
        {
            stream.Load(new StringReader(yaml));
        }
        catch (YamlException e)
        {
            throw new FormatException($"{source}, line {e.Start.Line}: {e.Message}", e);
        }

        return stream.Documents.Count == 1 ? Convert(stream.Documents[0].RootNode, source)?.ToJsonString() ?? "null"
            : throw new FormatException($"{source}: the file holds {stream.Documents.Count} documents, expected one.");
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
            case YamlScalarNode quoted:
                return quoted.Value;
            default:
                throw new FormatException($"{source}, line {node.Start.Line}: anchors and aliases are not read.");
        }
    }
}
