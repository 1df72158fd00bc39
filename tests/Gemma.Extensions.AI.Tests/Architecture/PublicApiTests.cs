using System.Reflection;
using System.Text;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Architecture;

/// <summary>The public surface is a promise: it is kept in a file, and changes to it are reviewed there.</summary>
public class PublicApiTests
{
    private static readonly Assembly[] s_assemblies = [typeof(GemmaModel).Assembly, typeof(Gemma.Extensions.AI.Training.GemmaTrainer).Assembly, typeof(Gemma.Extensions.AI.AspNetCore.GemmaServerOptions).Assembly, typeof(Gemma.Extensions.AI.Evaluation.EvaluationTask).Assembly, typeof(Gemma.Extensions.AI.Aspire.GemmaAspireSettings).Assembly, typeof(Gemma.Extensions.AI.Orleans.GemmaNode).Assembly];

    private const string UpdateVariable = "GEMMA_UPDATE_PUBLIC_API";

    [Fact]
    public void ThePublicSurfaceIsTheApprovedOne()
    {
        string file = Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.Tests", "Architecture", "PublicApi.txt");
        string actual = string.Concat(s_assemblies.Select(Describe));
        if (Environment.GetEnvironmentVariable(UpdateVariable) == "1")
        {
            File.WriteAllText(file, actual);
        }

        string approved = File.ReadAllText(file).ReplaceLineEndings("\n");
        string[] added = [.. actual.Split('\n').Except(approved.Split('\n'))];
        string[] removed = [.. approved.Split('\n').Except(actual.Split('\n'))];
        Assert.True(approved == actual,
            $"The public surface changed. If that is meant, run the tests once with {UpdateVariable}=1 and review the change of PublicApi.txt.\nAdded:\n{string.Join('\n', added)}\nRemoved:\n{string.Join('\n', removed)}");
    }

    [Fact]
    public void EverythingPublicIsDocumented()
    {
        string[] undocumented = [.. s_assemblies.SelectMany(Undocumented)];
        Assert.Empty(undocumented);
    }

    private static IEnumerable<string> Undocumented(Assembly assembly)
    {
        string xml = File.ReadAllText(Path.ChangeExtension(assembly.Location, ".xml"));
        return assembly.GetExportedTypes().Where(type => !xml.Contains($"\"T:{type.FullName!.Replace('+', '.')}\"", StringComparison.Ordinal)).Select(type => type.FullName!);
    }

    private static string Describe(Assembly assembly)
    {
        StringBuilder text = new();
        foreach (Type type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            text.Append(Kind(type)).Append(' ').Append(type.FullName);
            string bases = string.Join(", ", new[] { type.BaseType }.OfType<Type>().Where(b => b != typeof(object) && b != typeof(ValueType) && b != typeof(Enum)).Select(Name));
            text.Append(bases.Length > 0 ? $" : {bases}\n" : "\n");
            const BindingFlags Declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
            foreach (string member in type.GetMembers(Declared).Select(member => Describe(type, member)).OfType<string>().Order(StringComparer.Ordinal))
            {
                text.Append("  ").Append(member).Append('\n');
            }
        }

        return text.ToString();
    }

    private static string Kind(Type type) =>
        type.IsEnum ? "enum" : type.IsInterface ? "interface" : type.IsValueType ? "struct"
            : type is { IsAbstract: true, IsSealed: true } ? "static class" : type.IsAbstract ? "abstract class" : type.IsSealed ? "sealed class" : "class";

    private static string? Describe(Type type, MemberInfo member) => member switch
    {
        _ when member.Name.Contains('<', StringComparison.Ordinal) => null,
        FieldInfo { IsSpecialName: false } field when Visible(field.Attributes) => type.IsEnum ? $"{field.Name} = {Convert.ToInt64(field.GetRawConstantValue())}" : $"{Static(field.IsStatic)}{Name(field.FieldType)} {field.Name}",
        ConstructorInfo constructor when Visible(constructor) => $"new({Parameters(constructor)})",
        PropertyInfo property when property.GetAccessors(nonPublic: true).Any(Visible) =>
            $"{Static(property.GetAccessors(nonPublic: true)[0].IsStatic)}{Name(property.PropertyType)} {property.Name} {{{(property.GetMethod is { } get && Visible(get) ? " get;" : "")}{(property.SetMethod is { } set && Visible(set) ? " set;" : "")} }}",
        MethodInfo { IsSpecialName: false } method when Visible(method) => $"{Static(method.IsStatic)}{Name(method.ReturnType)} {method.Name}{(method.IsGenericMethod ? $"<{string.Join(", ", method.GetGenericArguments().Select(Name))}>" : "")}({Parameters(method)})",
        _ => null,
    };

    private static bool Visible(MethodBase method) => method.IsPublic || method.IsFamily || method.IsFamilyOrAssembly;

    private static bool Visible(FieldAttributes attributes) => (attributes & FieldAttributes.FieldAccessMask) is FieldAttributes.Public or FieldAttributes.Family or FieldAttributes.FamORAssem;

    private static string Static(bool isStatic) => isStatic ? "static " : "";

    private static string Parameters(MethodBase method) =>
        string.Join(", ", method.GetParameters().Select(parameter => $"{Name(parameter.ParameterType)} {parameter.Name}{(parameter.HasDefaultValue ? $" = {parameter.DefaultValue ?? "null"}" : "")}"));

    private static string Name(Type type) =>
        type.IsByRef ? "ref " + Name(type.GetElementType()!)
        : type.IsArray ? Name(type.GetElementType()!) + "[]"
        : Nullable.GetUnderlyingType(type) is { } underlying ? Name(underlying) + "?"
        : type.IsGenericType ? $"{type.Name.Split('`')[0]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>"
        : type.Name;
}
