using System.Reflection;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Xunit;

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
            .Where(type => type.Namespace?.StartsWith("Gemma.Extensions.AI.Backends.Cpu", StringComparison.Ordinal) == true && !type.IsInterface && type != typeof(PortableIsa))
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Static | BindingFlags.Instance | BindingFlags.DeclaredOnly))
            .Where(method => !method.IsAbstract && !method.IsSpecialName && !Throws(method) && (method.DeclaringType == typeof(VectorTile) || TakesVectors(method)))];
        Assert.True(kernels.Length > 100, $"only {kernels.Length} methods were found");
        Assert.Empty(kernels.Where(method => (method.MethodImplementationFlags & Either) == 0).Select(method => $"{method.DeclaringType!.Name}.{method.Name}"));
    }

    private static bool TakesVectors(MethodInfo method) => IsVector(method.ReturnType) || method.GetParameters().Any(parameter => IsVector(parameter.ParameterType));

    private static bool IsVector(Type type)
    {
        Type plain = type.IsByRef ? type.GetElementType()! : type;
        return plain.IsGenericType && plain.GetGenericTypeDefinition() is { } open && (open == typeof(Vector128<>) || open == typeof(Vector256<>) || open == typeof(Vector512<>));
    }

    /// <summary>An operation that the instruction set lacks: nothing but newobj and throw.</summary>
    private static bool Throws(MethodInfo method) => method.GetMethodBody()?.GetILAsByteArray() is [0x73, _, _, _, _, 0x7A];
}
