using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>One instruction, carried out for the active lanes of a warp.</summary>
internal unsafe delegate void PtxStep(PtxWarp warp);

/// <summary>A kernel, ready to run.</summary>
/// <param name="Name">Its entry's name.</param>
/// <param name="Parameters">Size and offset of each parameter.</param>
/// <param name="Code">Its instructions.</param>
/// <param name="Registers">Words of the registers and constants of one warp as they are at the start: registers hold <see cref="PtxModule.Poison"/>, constants their value.</param>
/// <param name="Predicates">Number of its predicates.</param>
/// <param name="Specials">Places of the registers that the hardware fills, by name.</param>
/// <param name="SharedBytes">Shared memory of a block.</param>
/// <param name="MaxThreads">Most threads of a block that it was compiled for.</param>
internal sealed record PtxKernel(
    string Name, (int Size, int Offset)[] Parameters, PtxStep[] Code, uint[] Registers, int Predicates, (int Place, string Name)[] Specials, int SharedBytes, int MaxThreads)
{
    public int ParameterBytes => Parameters.Length == 0 ? 0 : Parameters[^1].Offset + Parameters[^1].Size;
}

/// <summary>
/// Reads the PTX text of the kernels, so that they run on any machine (see <see cref="PtxLaunch"/>). Only what the kernels use is known: anything else is a
/// <see cref="NotSupportedException"/>. Places of registers are offsets in words: 32 lanes of 32 bits or of 64; predicates are masks of lanes.
/// </summary>
internal sealed partial class PtxModule
{
    /// <summary>What a register holds before it is written: NaN as a number, far outside of all memory as an address.</summary>
    public const uint Poison = 0x7FC0DEAD;

    /// <summary>Address of the first byte of shared memory, so that 0 is no address.</summary>
    public const ulong SharedBase = 0x100;

    private readonly Dictionary<string, int> _globalSymbols = [];
    private int _globalShared;

    public Dictionary<string, PtxKernel> Kernels { get; } = [];

    /// <summary>The lines of a kernel's body that are instructions, by line number of the text: what a mutation can take away.</summary>
    public static bool IsInstruction(string line) =>
        line.StartsWith('\t') && line.TrimEnd().EndsWith(';') && line.TrimStart()[0] is not '.';

    public static PtxModule Parse(string text)
    {
        PtxModule module = new();
        string[] lines = text.Split('\n');
        for (int i = 0; i < lines.Length; i++)
        {
            string line = Clean(lines[i]);
            if (line.StartsWith(".shared", StringComparison.Ordinal))
            {
                module._globalShared = Declare(line, module._globalSymbols, module._globalShared);
            }
            else if (line.StartsWith(".visible .entry", StringComparison.Ordinal))
            {
                Body body = new(module, line);
                i = body.Read(lines, i + 1);
                module.Kernels.Add(body.Name, body.Build());
            }
        }

        return module;
    }

    private static string Clean(string line)
    {
        int comment = line.IndexOf("//", StringComparison.Ordinal);
        return (comment < 0 ? line : line[..comment]).Trim();
    }

    /// <summary>Lays out an array of shared memory behind what there is.</summary>
    private static int Declare(string line, Dictionary<string, int> symbols, int end)
    {
        Match match = SharedArray().Match(line);
        if (!match.Success)
        {
            throw new NotSupportedException(line);
        }

        int align = int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), size = int.Parse(match.Groups[3].Value, CultureInfo.InvariantCulture);
        end = (end + align - 1) / align * align;
        symbols[match.Groups[2].Value] = end;
        return end + size;
    }

    [GeneratedRegex(@"^\.shared \.align (\d+) \.b8\s+(\w+)\[(\d+)\];$")]
    private static partial Regex SharedArray();

    [GeneratedRegex(@"\.param (?:\.align (\d+) )?\.[a-z](\d+) (\w+)(?:\[(\d+)\])?")]
    private static partial Regex Parameter();

    [GeneratedRegex(@"^(?:@(!?)(%p\d+)\s+)?([a-z][\w.]*)\s*(.*);$")]
    private static partial Regex Instruction();

    /// <summary>One kernel while it is read: names of registers, labels and parameters.</summary>
    private sealed class Body(PtxModule module, string entry) : PtxOperands
    {
        private readonly List<(int Size, int Offset)> _parameters = [];
        private readonly List<string> _instructions = [];
        private readonly Dictionary<string, int> _labels = [];
        private int _shared = module._globalShared;
        private int _maxThreads = 1024;

        public string Name { get; } = entry[(entry.IndexOf(".entry", StringComparison.Ordinal) + 7)..].TrimEnd('(', ')').Trim();

        public int Read(string[] lines, int i)
        {
            foreach ((string symbol, int at) in module._globalSymbols)
            {
                Symbols[symbol] = at;
            }

            for (; Clean(lines[i]) is not "{" and var line; i++)
            {
                if (Parameter().Match(line) is { Success: true } match)
                {
                    AddParameter(match);
                }
                else if (line.StartsWith(".maxntid", StringComparison.Ordinal))
                {
                    _maxThreads = int.Parse(line[8..].Split(',')[0], CultureInfo.InvariantCulture);
                }
            }

            for (i++; Clean(lines[i]) is not "}" and var line; i++)
            {
                if (line.EndsWith(':'))
                {
                    _labels[line[..^1]] = _instructions.Count;
                }
                else if (line.StartsWith(".shared", StringComparison.Ordinal))
                {
                    _shared = Declare(line, Symbols, _shared);
                }
                else if (line.Length > 0 && line[0] is not '.')
                {
                    _instructions.Add(line);
                }
            }

            return i;
        }

        public PtxKernel Build()
        {
            PtxStep[] code = [.. _instructions.Select(Decode)];
            return new PtxKernel(Name, [.. _parameters], code, Image(), PredicateCount, [.. Specials], _shared, _maxThreads);
        }

        private void AddParameter(Match match)
        {
            int size = match.Groups[4].Success ? int.Parse(match.Groups[4].Value, CultureInfo.InvariantCulture) : int.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture) / 8;
            int align = match.Groups[1].Success ? int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture) : size;
            int offset = _parameters.Count == 0 ? 0 : _parameters[^1].Offset + _parameters[^1].Size;
            offset = (offset + align - 1) / align * align;
            Parameters[match.Groups[3].Value] = offset;
            _parameters.Add((size, offset));
        }

        private PtxStep Decode(string line)
        {
            Match match = Instruction().Match(line);
            if (!match.Success)
            {
                throw new NotSupportedException(line);
            }

            string operation = match.Groups[3].Value;
            string[] operands = Split(match.Groups[4].Value);
            int predicate = match.Groups[2].Success ? PredicateOf(match.Groups[2].Value) : -1;
            uint flip = match.Groups[1].Value == "!" ? ~0u : 0;
            if (operation is "bra" or "bra.uni")
            {
                int target = _labels[operands[0]];
                return predicate < 0
                    ? warp => warp.Branch(target, warp.Mask)
                    : warp => warp.Branch(target, (warp.P[predicate] ^ flip) & warp.Mask);
            }

            PtxStep step = PtxDecoder.Decode(operation, operands, this) ?? throw new NotSupportedException(line);
            return predicate < 0 ? step : warp =>
            {
                uint all = warp.Mask;
                warp.Mask = all & (warp.P[predicate] ^ flip);
                if (warp.Mask != 0)
                {
                    step(warp);
                }

                warp.Mask = all;
            };
        }

        /// <summary>Splits at commas outside of braces and brackets.</summary>
        private static string[] Split(string operands)
        {
            List<string> parts = [];
            int depth = 0, begin = 0;
            for (int i = 0; i <= operands.Length; i++)
            {
                if (i == operands.Length || (operands[i] == ',' && depth == 0))
                {
                    if (operands[begin..i].Trim() is { Length: > 0 } part)
                    {
                        parts.Add(part);
                    }

                    begin = i + 1;
                }
                else
                {
                    depth += operands[i] is '{' or '[' ? 1 : operands[i] is '}' or ']' ? -1 : 0;
                }
            }

            return [.. parts];
        }
    }
}
