using System.Reflection;
using System.Reflection.Emit;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Architecture;

/// <summary>Holds the direction of dependencies between the rooms of the core assembly (src/README.md), down to method bodies.</summary>
public class NamespaceTests
{
    private const string Root = "Gemma.Extensions.AI";
    private const string ServerRoot = Root + ".AspNetCore";
    private const string EvaluationRoot = Root + ".Evaluation";
    private const string ClusterRoot = Root + ".Orleans";

    /// <summary>Which rooms a room may use. Exceptions and enumerations of the root namespace are free to all; the root may use every room.</summary>
    private static readonly Dictionary<string, string[]> s_allowed = new()
    {
        ["Formats"] = [],
        ["Text"] = ["Text.Templates"],
        ["Text.Templates"] = [],
        ["Backends"] = ["Files", "Formats"],
        ["Backends.Cpu"] = ["Backends", "Backends.Cpu.Attention", "Backends.Cpu.Jit", "Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Files", "Formats"],
        ["Backends.Cpu.Attention"] = ["Backends", "Backends.Cpu", "Backends.Cpu.Formats", "Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Formats"],
        ["Backends.Cpu.Formats"] = ["Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Formats"], // MatMul: the arguments of kernels
        ["Backends.Cpu.InHalves"] = ["Backends.Cpu.Attention", "Backends.Cpu.Formats", "Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Formats"], // the sources of Attention, Formats and Vector again
        ["Backends.Cpu.InQuarters"] = ["Backends.Cpu.Attention", "Backends.Cpu.Formats", "Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Formats"],
        ["Backends.Cpu.Jit"] = ["Backends.Cpu", "Backends.Cpu.Formats", "Backends.Cpu.MatMul", "Backends.Cpu.Vector", "Formats"],
        ["Backends.Cpu.MatMul"] = ["Backends", "Backends.Cpu", "Backends.Cpu.Attention", "Backends.Cpu.Formats", "Formats"],
        ["Backends.Cpu.Vector"] = ["Backends.Cpu.Attention", "Backends.Cpu.Formats", "Backends.Cpu.InHalves", "Backends.Cpu.InQuarters", "Backends.Cpu.MatMul", "Formats"],
        ["Backends.Cuda"] = ["Backends", "Files", "Formats"],
        ["Backends.Split"] = ["Backends", "Files"],
        ["Devices"] = ["", "Backends", "Backends.Cpu", "Backends.Cuda", "Backends.Split", "Files", "Formats", "Model", "Quantization"], // "": the options of a model
        ["Files"] = ["Formats", "Model", "Text"],
        ["Model"] = ["Backends", "Files", "Formats"],
        ["Engine"] = ["Backends", "Files", "Model"],
        ["Grammar"] = ["Engine", "Grammar.Automaton", "Grammar.Budget", "Grammar.DotNet", "Grammar.Gbnf", "Grammar.Regex", "Grammar.Schema", "Grammar.Tokens", "Text"],
        ["Grammar.Budget"] = [],
        ["Grammar.Regex"] = ["Grammar.Budget"],
        ["Grammar.Automaton"] = ["Grammar.Budget", "Grammar.Regex"],
        ["Grammar.Schema"] = ["Grammar.Automaton", "Grammar.Budget", "Grammar.DotNet", "Grammar.Regex"], // DotNet: the patterns in which .NET writes its types
        ["Grammar.DotNet"] = ["Grammar.Schema"], // exact decimals, the rules of pointers
        ["Grammar.Gbnf"] = ["Grammar.Automaton", "Grammar.Budget", "Grammar.Regex"],
        ["Grammar.Tokens"] = ["Engine", "Grammar.Automaton", "Grammar.Budget", "Grammar.Regex", "Grammar.Schema", "Text"], // Text: the markers around tool calls
        ["Chat"] = ["", "Engine", "Files", "Grammar", "Grammar.Schema", "Model", "Text"], // "": the model and the options of a request
        ["Guard"] = ["", "Text"], // "": the model, policies and options
        ["Hosting"] = ["", "Engine", "Hub"],
        ["Hub"] = ["", "Files"], // "": its options and progress, which are public
        ["Quantization"] = ["Backends", "Engine", "Files", "Formats", "Model", "Text"],
    };

    /// <summary>The same for the server package (its README.md).</summary>
    private static readonly Dictionary<string, string[]> s_allowedInServer = new()
    {
        ["Http"] = [""], // its options
        ["Models"] = ["Http"],
        ["Requests"] = ["", "Http", "Models"],
        ["OpenAI"] = ["", "Http", "Models", "Requests"],
        ["Ollama"] = ["", "Http", "Models", "Requests"],
        ["Anthropic"] = ["", "Http", "Models", "Requests"],
        ["Security"] = ["", "Http"],
        ["Web"] = [],
        ["Hosting"] = ["", "Http", "OpenAI", "Ollama", "Anthropic", "Requests", "Security"],
    };

    /// <summary>The same for the evaluation package.</summary>
    private static readonly Dictionary<string, string[]> s_allowedInEvaluation = new()
    {
        ["Data"] = [],
        ["Tasks"] = ["", "Metrics"], // "": the task and its parts; Metrics: what a task may measure
        ["Metrics"] = ["", "Tasks"],
        ["Runs"] = ["", "Metrics", "Tasks"],
        ["Checks"] = [""],
    };

    /// <summary>The same for the cluster package.</summary>
    private static readonly Dictionary<string, string[]> s_allowedInCluster = new()
    {
        ["Wire"] = [],
        ["Routing"] = [""], // "": how long a summary counts
        ["Nodes"] = ["", "Routing", "Wire"],
        ["Clients"] = ["", "Nodes", "Routing", "Wire"],
    };

    private static readonly Dictionary<int, OpCode> s_codes = typeof(OpCodes).GetFields(BindingFlags.Public | BindingFlags.Static)
        .Select(field => (OpCode)field.GetValue(null)!).ToDictionary(code => (int)(ushort)code.Value);

    [Fact]
    public void RoomsUseOnlyTheRoomsBelowThem() => Check(typeof(GemmaModel).Assembly, Root, s_allowed, least: 50);

    [Fact]
    public void RoomsOfTheServerUseOnlyTheRoomsBelowThem() => Check(typeof(AspNetCore.GemmaServerOptions).Assembly, ServerRoot, s_allowedInServer, least: 20);

    [Fact]
    public void RoomsOfTheEvaluationUseOnlyTheRoomsBelowThem() => Check(typeof(AI.Evaluation.EvaluationTask).Assembly, EvaluationRoot, s_allowedInEvaluation, least: 15);

    [Fact]
    public void RoomsOfTheClusterUseOnlyTheRoomsBelowThem() => Check(typeof(AI.Orleans.GemmaNode).Assembly, ClusterRoot, s_allowedInCluster, least: 30);

    private static void Check(Assembly assembly, string root, Dictionary<string, string[]> rules, int least)
    {
        SortedSet<string> violations = [];
        int checkedTypes = 0;
        foreach (Type type in assembly.GetTypes())
        {
            if (Room(type, assembly, root) is not { } room || !rules.TryGetValue(room, out string[]? allowed))
            {
                continue;
            }

            checkedTypes++;
            foreach (Type used in UsedTypes(type))
            {
                string? other = Room(used, assembly, root);
                bool fine = other is null || other == room || allowed.Contains(other) || (other == "" && (used.IsEnum || typeof(Exception).IsAssignableFrom(used)));
                if (!fine)
                {
                    violations.Add($"{type.FullName} uses {used.FullName}");
                }
            }
        }

        Assert.True(checkedTypes > least, $"only {checkedTypes} types were checked");
        Assert.Empty(violations);
    }

    [Fact]
    public void EveryRoomHasItsRule()
    {
        Assert.Empty(Rooms(typeof(GemmaModel).Assembly, Root).Except(s_allowed.Keys));
        Assert.Empty(Rooms(typeof(AspNetCore.GemmaServerOptions).Assembly, ServerRoot).Except(s_allowedInServer.Keys));
        Assert.Empty(Rooms(typeof(AI.Evaluation.EvaluationTask).Assembly, EvaluationRoot).Except(s_allowedInEvaluation.Keys));
        Assert.Empty(Rooms(typeof(AI.Orleans.GemmaNode).Assembly, ClusterRoot).Except(s_allowedInCluster.Keys));

        static IEnumerable<string> Rooms(Assembly assembly, string root) => assembly.GetTypes().Select(type => Room(type, assembly, root)).OfType<string>().Where(room => room.Length > 0).Distinct();
    }

    /// <summary>The part of the namespace after the root; "" for the root itself, null for what is not ours.</summary>
    private static string? Room(Type type, Assembly assembly, string root)
    {
        Type outer = type;
        while (outer.DeclaringType is { } declaring)
        {
            outer = declaring;
        }

        return outer.Assembly != assembly ? null
            : outer.Namespace == root ? ""
            : outer.Namespace?.StartsWith(root + ".", StringComparison.Ordinal) == true ? outer.Namespace[(root.Length + 1)..]
            : null;
    }

    private static HashSet<Type> UsedTypes(Type type)
    {
        const BindingFlags All = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        HashSet<Type> used = [];
        Add(type.BaseType);
        Array.ForEach(type.GetInterfaces(), Add);
        Array.ForEach(type.GetFields(All), field => Add(field.FieldType));
        foreach (MethodBase method in type.GetMethods(All).Concat<MethodBase>(type.GetConstructors(All)))
        {
            Array.ForEach(method.GetParameters(), parameter => Add(parameter.ParameterType));
            Add((method as MethodInfo)?.ReturnType);
            AddBody(method);
        }

        return used;

        void Add(Type? other)
        {
            if (other is null || other.IsGenericParameter)
            {
                return;
            }

            if (other.HasElementType)
            {
                Add(other.GetElementType());
                return;
            }

            used.Add(other.IsGenericType ? other.GetGenericTypeDefinition() : other);
            Array.ForEach(other.GetGenericArguments(), Add);
        }

        void AddBody(MethodBase method)
        {
            if (method.GetMethodBody() is not { } body)
            {
                return;
            }

            foreach (LocalVariableInfo local in body.LocalVariables)
            {
                Add(local.LocalType);
            }

            foreach (MemberInfo member in Members(method, body.GetILAsByteArray()!))
            {
                Add(member as Type ?? member.DeclaringType);
            }
        }
    }

    /// <summary>The types and members that IL instructions name.</summary>
    internal static IEnumerable<MemberInfo> Members(MethodBase method, byte[] il)
    {
        Type[] typeArguments = method.DeclaringType!.GetGenericArguments();
        Type[] methodArguments = method.IsGenericMethod ? method.GetGenericArguments() : [];
        for (int at = 0; at < il.Length;)
        {
            OpCode code = il[at] == 0xFE ? s_codes[0xFE00 | il[at + 1]] : s_codes[il[at]];
            at += code.Size;
            switch (code.OperandType)
            {
                case OperandType.InlineMethod or OperandType.InlineField or OperandType.InlineType or OperandType.InlineTok:
                    yield return method.Module.ResolveMember(BitConverter.ToInt32(il, at), typeArguments, methodArguments)!;
                    at += 4;
                    break;
                case OperandType.InlineNone:
                    break;
                case OperandType.ShortInlineBrTarget or OperandType.ShortInlineI or OperandType.ShortInlineVar:
                    at += 1;
                    break;
                case OperandType.InlineVar:
                    at += 2;
                    break;
                case OperandType.InlineI8 or OperandType.InlineR:
                    at += 8;
                    break;
                case OperandType.InlineSwitch:
                    at += 4 + 4 * BitConverter.ToInt32(il, at);
                    break;
                default:
                    at += 4;
                    break;
            }
        }
    }
}
