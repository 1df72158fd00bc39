using System.Collections.Concurrent;
using System.Diagnostics.Tracing;
using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Xunit;
using InHalves = Gemma.Extensions.AI.Backends.Cpu.InHalves;

namespace Gemma.Extensions.AI.Tests.Architecture;

/// <summary>
/// A call within a kernel's loop saves all vector registers on the stack. One helper that was left to the compiler's judgement cost prompts of tier avx2 an eighth of their speed, so
/// helpers of kernels say that they are inlined; entry points say that they are optimised at once.
/// </summary>
public class InliningTests
{
    private const MethodImplAttributes Either = MethodImplAttributes.AggressiveInlining | MethodImplAttributes.AggressiveOptimization;

    [Fact]
    public void HelpersOfKernelsAreInlined()
    {
        MethodInfo[] kernels = [.. typeof(VectorTile).Assembly.GetTypes()
            .Where(type => type.Namespace?.StartsWith("Gemma.Extensions.AI.Backends.Cpu", StringComparison.Ordinal) == true && !type.IsInterface && type.Name != nameof(PortableIsa))
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            .Where(method => !method.IsAbstract && !method.IsSpecialName && !Throws(method) && (method.DeclaringType!.Name == nameof(VectorTile) || TakesVectors(method)))];
        Assert.True(kernels.Length > 100, $"only {kernels.Length} methods were found");
        Assert.Empty(kernels.Where(method => (method.MethodImplementationFlags & Either) == 0).Select(method => $"{method.DeclaringType!.Name}.{method.Name}"));
    }

    /// <summary>
    /// The compiler has the last word: attributes do not help in a method that has too many variables. Kernels in halves are those of every processor without AVX-512; while they were made of .NET's own halves, what was not
    /// inlined made generation five times slower. They are compiled here for an instruction set of the test's own, so that no other test has compiled them before.
    /// </summary>
    [Fact]
    public void KernelsInHalvesCallNothing()
    {
        Assert.SkipUnless(Avx2.IsSupported, "no AVX2");
        using InliningListener listener = new();
        int kernels = 0;
        foreach (Type type in typeof(VectorTile).Assembly.GetTypes().Where(type => type.Namespace == typeof(InHalves.VectorTile).Namespace && !type.IsInterface))
        {
            foreach (MethodInfo method in type.GetMethods(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly))
            {
                Type[] parameters = [.. type.GetGenericArguments(), .. method.GetGenericArguments()];
                if ((method.MethodImplementationFlags & MethodImplAttributes.AggressiveOptimization) != 0 && parameters.Any(parameter => parameter.Name == "TIsa"))
                {
                    foreach (RuntimeTypeHandle[] arguments in Arguments(parameters))
                    {
                        RuntimeHelpers.PrepareMethod(method.MethodHandle, arguments);
                        kernels++;
                    }
                }
            }
        }

        Assert.True(kernels > 40 && SpinWait.SpinUntil(() => listener.Inlined > 1000, TimeSpan.FromSeconds(30)), $"{kernels} kernels, {listener.Inlined} methods inlined: the compiler did not say");
        Assert.Empty(listener.Failures);
    }

    /// <summary>Every choice of arguments for the parameters of a kernel; for its instruction set the test's own.</summary>
    private static List<RuntimeTypeHandle[]> Arguments(Type[] parameters)
    {
        List<RuntimeTypeHandle[]> lists = [[]];
        foreach (Type parameter in parameters)
        {
            Type contract = parameter.GetGenericParameterConstraints().Single(type => type.IsInterface);
            RuntimeTypeHandle[] choices = parameter.Name == "TIsa" ? [typeof(OwnIsa).TypeHandle]
                : [.. typeof(VectorTile).Assembly.GetTypes().Where(type => type.IsValueType && contract.IsAssignableFrom(type) && type != typeof(DotSum) && type != typeof(WideDotSum)).Select(type => type.TypeHandle)];
            lists = [.. lists.SelectMany(list => choices.Select(choice => (RuntimeTypeHandle[])[.. list, choice]))];
        }

        return lists;
    }

    private static bool TakesVectors(MethodInfo method) => IsVector(method.ReturnType) || method.GetParameters().Any(parameter => IsVector(parameter.ParameterType));

    private static bool IsVector(Type type)
    {
        Type plain = type.IsByRef ? type.GetElementType()! : type;
        return plain.IsGenericType && plain.GetGenericTypeDefinition() is { } open && (open == typeof(Vector128<>) || open == typeof(Vector256<>) || open == typeof(Vector512<>) || open == typeof(Halves<>) || open == typeof(Quarters<>));
    }

    /// <summary>An operation that the instruction set lacks: nothing but newobj and throw.</summary>
    private static bool Throws(MethodInfo method) => method.GetMethodBody()?.GetILAsByteArray() is [0x73, _, _, _, _, 0x7A];

    /// <summary>Hears what the compiler says of calls in kernels in halves.</summary>
    private sealed class InliningListener : EventListener
    {
        private static readonly string[] s_reasons = ["too many locals", "unprofitable inline", "inline exceeds budget"];

        private int _inlined;

        public ConcurrentBag<string> Failures { get; } = [];

        public int Inlined => _inlined;

        protected override void OnEventSourceCreated(EventSource eventSource)
        {
            if (eventSource.Name == "Microsoft-Windows-DotNETRuntime")
            {
                EnableEvents(eventSource, EventLevel.Verbose, (EventKeywords)0x1000); // JIT tracing
            }
        }

        protected override void OnEventWritten(EventWrittenEventArgs eventData)
        {
            if (Text("MethodBeingCompiledNamespace")?.StartsWith("Gemma.Extensions.AI.Backends.Cpu.InHalves", StringComparison.Ordinal) != true)
            {
                return;
            }

            if (eventData.EventName!.StartsWith("MethodJitInliningSucceeded", StringComparison.Ordinal))
            {
                Interlocked.Increment(ref _inlined);
            }
            else if (Text("FailReason") is { } reason && s_reasons.Contains(reason))
            {
                Failures.Add($"{Text("MethodBeingCompiledNamespace")}.{Text("MethodBeingCompiledName")} calls {Text("InlineeNamespace")}.{Text("InlineeName")}: {reason}");
            }

            string? Text(string name) => eventData.PayloadNames?.IndexOf(name) is >= 0 and int index ? eventData.Payload![index] as string : null;
        }
    }

    /// <summary>AVX2 under a name of its own.</summary>
    private readonly unsafe struct OwnIsa : InHalves.IVectorIsa
    {
        public static bool HasDot => false;

        public static int ByteRows => 1;

        public static Halves<int> Dot(Halves<int> sum, Halves<byte> weights, Halves<sbyte> activations) => throw new NotSupportedException();

        public static Halves<int> WideDot(Halves<int> sum, Halves<byte> weights, Halves<sbyte> activations) => throw new NotSupportedException();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Halves<short> PairProducts(Halves<byte> weights, Halves<sbyte> activations) => InHalves.Avx2Isa.PairProducts(weights, activations);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Halves<int> PairSums(Halves<short> values) => InHalves.Avx2Isa.PairSums(values);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static void Transpose(byte* rows, long stride, out Halves<uint> d0, out Halves<uint> d1, out Halves<uint> d2, out Halves<uint> d3) =>
            InHalves.Avx2Isa.Transpose(rows, stride, out d0, out d1, out d2, out d3);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Halves<uint> Lookup(Vector128<byte> table, Halves<uint> indices) => InHalves.Avx2Isa.Lookup(table, indices);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static Halves<uint> Gather(uint* table, Halves<uint> indices) => InHalves.Avx2Isa.Gather(table, indices);
    }
}
