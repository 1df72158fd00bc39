using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>Gives the operands of one kernel their places: registers, constants and predicates.</summary>
internal abstract partial class PtxOperands
{
    private readonly Dictionary<string, int> _places = [];
    private readonly Dictionary<string, int> _predicates = [];
    private readonly List<(int Place, ulong Value, bool IsWide)> _constants = [];
    private int _words;

    protected Dictionary<string, int> Parameters { get; } = [];

    /// <summary>Arrays of shared memory and their first bytes.</summary>
    protected Dictionary<string, int> Symbols { get; } = [];

    protected List<(int Place, string Name)> Specials { get; } = [];

    protected int PredicateCount => _predicates.Count;

    public int PredicateOf(string name)
    {
        if (!_predicates.TryGetValue(name, out int index))
        {
            if (!name.StartsWith("%p", StringComparison.Ordinal))
            {
                throw new NotSupportedException($"{name} is no predicate.");
            }

            _predicates[name] = index = _predicates.Count;
        }

        return index;
    }

    /// <summary>Place of a register, or of a constant that 32 lanes share.</summary>
    /// <param name="operand">Its text.</param>
    /// <param name="isWide">Whether the instruction takes 64 bits of it.</param>
    public int PlaceOf(string operand, bool isWide)
    {
        operand = operand.Trim();
        bool isRegister = operand[0] == '%';
        if (isRegister && isWide != operand.StartsWith("%rd", StringComparison.Ordinal))
        {
            throw new NotSupportedException($"{operand} has the wrong width.");
        }

        string key = isRegister ? operand : $"{operand} {isWide}";
        if (_places.TryGetValue(key, out int place))
        {
            return place;
        }

        _places[key] = place = _words;
        _words += isWide ? 64 : 32;
        if (!isRegister)
        {
            _constants.Add((place, ConstantOf(operand), isWide));
        }
        else if (operand.Contains('.', StringComparison.Ordinal))
        {
            Specials.Add((place, operand));
        }

        return place;
    }

    public bool IsConstant(string operand, out ulong value)
    {
        value = operand[0] == '%' ? 0 : ConstantOf(operand);
        return operand[0] != '%';
    }

    /// <summary>Base and offset of an address: [%rd4+16], [symbol+8], [parameter].</summary>
    public (int Place, long Offset, bool IsParameter) AddressOf(string operand)
    {
        Match match = Address().Match(operand);
        string name = match.Groups[1].Value;
        long offset = match.Groups[2].Success ? long.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture) : 0;
        return !match.Success ? throw new NotSupportedException(operand)
            : Parameters.TryGetValue(name, out int parameter) ? (0, parameter + offset, true)
            : (PlaceOf(name, IsWideName(name)), offset, false);
    }

    /// <summary>Whether an address is held in 64 bits; those of shared memory may be held in 32.</summary>
    public static bool IsWideAddress(string operand) => IsWideName(Address().Match(operand).Groups[1].Value);

    private static bool IsWideName(string name) => !name.StartsWith("%r", StringComparison.Ordinal) || name.StartsWith("%rd", StringComparison.Ordinal);

    /// <summary>The operands of {a,b,c,d}, or the one that there is.</summary>
    public static string[] VectorOf(string operand) => operand[0] == '{' ? operand[1..^1].Split(',', StringSplitOptions.TrimEntries) : [operand];

    /// <summary>The registers of a warp as they are at the start.</summary>
    protected uint[] Image()
    {
        uint[] image = new uint[_words <= PtxWarp.MaxWords ? _words : throw new NotSupportedException($"{_words / 32} registers")];
        Array.Fill(image, PtxModule.Poison);
        foreach ((int place, ulong value, bool isWide) in _constants)
        {
            for (int lane = 0; lane < 32; lane++)
            {
                if (isWide)
                {
                    image[place + 2 * lane] = (uint)value;
                    image[place + 2 * lane + 1] = (uint)(value >> 32);
                }
                else
                {
                    image[place + lane] = (uint)value;
                }
            }
        }

        return image;
    }

    private ulong ConstantOf(string text) =>
        Symbols.TryGetValue(text, out int at) ? PtxModule.SharedBase + (ulong)at
        : text.StartsWith("0f", StringComparison.Ordinal) ? uint.Parse(text[2..], NumberStyles.HexNumber, CultureInfo.InvariantCulture)
        : (ulong)long.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\[([%\w$]+)(?:\+(-?\d+))?\]$")]
    private static partial Regex Address();
}
