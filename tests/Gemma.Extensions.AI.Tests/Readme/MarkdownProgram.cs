using System.Reflection;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Emit;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Readme;

/// <summary>C# of a Markdown page, compiled and run.</summary>
internal static class MarkdownProgram
{
    /// <summary>Compiles top-level statements against what the tests reference, as a project with implicit usings would, and runs them.</summary>
    public static string Run(string code)
    {
        const string ImplicitUsings = """
            global using System; global using System.Collections.Generic; global using System.IO; global using System.Linq; global using System.Net.Http;
            global using System.Threading; global using System.Threading.Tasks;
            """;
        IEnumerable<MetadataReference> references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator).Select(path => MetadataReference.CreateFromFile(path));
        CSharpParseOptions parse = new(LanguageVersion.Latest);
        Compilation compilation = CSharpCompilation.Create(
            "page", [CSharpSyntaxTree.ParseText(ImplicitUsings, parse), CSharpSyntaxTree.ParseText(code, parse)], references,
            new CSharpCompilationOptions(OutputKind.ConsoleApplication, nullableContextOptions: NullableContextOptions.Enable));
        if (code.Contains("JsonSerializerContext", StringComparison.Ordinal))
        {
            ISourceGenerator[] generators = [.. new AnalyzerFileReference(JsonGenerator(), new GeneratorLoader()).GetGenerators(LanguageNames.CSharp)];
            CSharpGeneratorDriver.Create(generators, parseOptions: parse).RunGeneratorsAndUpdateCompilation(compilation, out compilation, out _);
        }

        using MemoryStream assembly = new();
        EmitResult result = compilation.Emit(assembly);
        Assert.True(result.Success, string.Join('\n', result.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error)));

        MethodInfo main = Assembly.Load(assembly.ToArray()).EntryPoint!;
        return ConsoleOfCaller.Capture(() => main.Invoke(null, [Array.Empty<string>()]));
    }

    /// <summary>Where the SDK keeps the source generator of System.Text.Json.</summary>
    private static string JsonGenerator()
    {
        string dotnet = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(typeof(object).Assembly.Location)!, "..", "..", ".."));
        string packs = Path.Combine(dotnet, "packs", "Microsoft.NETCore.App.Ref");
        string? found = Directory.Exists(packs) ? Directory.EnumerateFiles(packs, "System.Text.Json.SourceGeneration.dll", SearchOption.AllDirectories).Order().LastOrDefault() : null;
        Assert.SkipWhen(found is null, $"There is no source generator of System.Text.Json under '{packs}'.");
        return found!;
    }

    private sealed class GeneratorLoader : IAnalyzerAssemblyLoader
    {
        public void AddDependencyLocation(string fullPath)
        {
        }

        public Assembly LoadFromPath(string fullPath) => Assembly.LoadFrom(fullPath);
    }
}
