using System.Reflection;
using System.Runtime.CompilerServices;
using Xunit;
using Xunit.v3;

namespace Gemma.Extensions.AI.Tests.Architecture;

/// <summary>A green run means something only if the tests that matter ran. Skipping is for what a machine lacks.</summary>
public class SkipTests
{
    private static readonly MethodInfo[] s_tests =
    [
        .. typeof(SkipTests).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
            .Where(method => method.GetCustomAttributes().Any(attribute => attribute is IFactAttribute)),
    ];

    [Fact]
    public void NoTestIsSwitchedOff()
    {
        Assert.True(s_tests.Length > 150, $"only {s_tests.Length} test methods were found");
        Assert.Empty(s_tests.Where(method => method.GetCustomAttributes().OfType<IFactAttribute>().Any(fact => fact.Skip is not null)).Select(method => method.Name));
    }

    [Fact]
    public void MostTestsHaveNoWayToSkip()
    {
        string[] maySkip = [.. s_tests.Where(MaySkip).Select(method => $"{method.DeclaringType!.Name}.{method.Name}")];
        Assert.True(maySkip.Length * 4 < s_tests.Length, $"{maySkip.Length} of {s_tests.Length} tests may skip: {string.Join(", ", maySkip)}");
    }

    [Fact]
    public void TheGoldensAreInTheRepository()
    {
        foreach (string golden in (string[])["tiny/expected.safetensors", "tiny/greedy.json", "tiny/nll.json", "tiny/tokenizer-cases.json", "gguf/tiny-Q8_0.expected.safetensors", "gguf/tiny-Q4_K_M.expected.safetensors"])
        {
            Assert.True(new FileInfo(TestData.Local(golden)).Length > 1000, golden);
        }
    }

    private static bool MaySkip(MethodInfo test)
    {
        MethodBase body = test.GetCustomAttribute<AsyncStateMachineAttribute>() is { } machine
            ? machine.StateMachineType.GetMethod("MoveNext", BindingFlags.NonPublic | BindingFlags.Instance)!
            : test;
        return NamespaceTests.Members(body, body.GetMethodBody()!.GetILAsByteArray()!).OfType<MethodBase>().Any(called =>
            (called.DeclaringType == typeof(Assert) && called.Name.StartsWith("Skip", StringComparison.Ordinal))
            || (called.DeclaringType == typeof(TestData) && called.Name == nameof(TestData.Shared)));
    }
}
