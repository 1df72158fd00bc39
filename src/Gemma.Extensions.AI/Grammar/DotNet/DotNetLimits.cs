using System.Globalization;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Grammar.Schema;

namespace Gemma.Extensions.AI.Grammar.DotNet;

/// <summary>
/// Exclusive limits of types that round: 1e-40 read as a <c>decimal</c> is 0 again. The limit becomes the next value of the type, inclusive.
/// </summary>
internal static class DotNetLimits
{
    /// <summary>Replaces exclusive limits of the schema where the type is one of those.</summary>
    public static void Include(JsonObject schema, Type type)
    {
        Include(schema, type, "exclusiveMinimum", "minimum", 1);
        Include(schema, type, "exclusiveMaximum", "maximum", -1);
    }

    private static void Include(JsonObject schema, Type type, string exclusive, string inclusive, int direction)
    {
        if (schema[exclusive] is JsonValue limit && !schema.ContainsKey(inclusive) && Next(limit.ToString(), type, direction) is { } next)
        {
            schema.Remove(exclusive);
            schema[inclusive] = JsonNode.Parse(next);
        }
    }

    /// <summary>The next value of the type beyond the limit, upwards or downwards, as JSON; null for other types, or if there is none.</summary>
    private static string? Next(string limit, Type type, int direction)
    {
        if (type == typeof(decimal))
        {
            return decimal.TryParse(limit, NumberStyles.Float, CultureInfo.InvariantCulture, out decimal number) ? NextDecimal(number, direction)?.ToString(CultureInfo.InvariantCulture) : null;
        }

        if ((type != typeof(float) && type != typeof(Half)) || !ExactDecimal.TryParse(limit, out ExactDecimal exact))
        {
            return null;
        }

        double next = type == typeof(float) ? (float)exact.ToDouble() : (double)(Half)exact.ToDouble();
        while (double.IsFinite(next) && ExactDecimal.Of(next).CompareTo(exact) * direction <= 0)
        {
            next = type == typeof(float)
                ? (direction > 0 ? MathF.BitIncrement((float)next) : MathF.BitDecrement((float)next))
                : (double)(direction > 0 ? Half.BitIncrement((Half)next) : Half.BitDecrement((Half)next));
        }

        return double.IsFinite(next) ? ExactDecimal.Of(next).ToString() : null;
    }

    private static decimal? NextDecimal(decimal number, int direction)
    {
        for (byte scale = 28; scale > 0; scale--)
        {
            decimal step = new(1, 0, 0, direction < 0, scale);
            if (number + step is { } next && next != number && next - number == step)
            {
                return next;
            }
        }

        return number == (direction > 0 ? decimal.MaxValue : decimal.MinValue) ? null : number + direction;
    }
}
