using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;
using Xunit.v3;

namespace Gemma.Extensions.AI.Tests.Architecture;

/// <summary>The rules of style that src/README.md states, for every file of the repository. Exceptions are named here, with their reasons.</summary>
public partial class StyleTests
{
    private const int MaxLines = 450, MaxMethodLines = 60;

    private static readonly Dictionary<string, string> s_longMethods = new(StringComparer.Ordinal)
    {
        ["Gemm.Tile512"] = "the 24 sums of the register block stay in registers only within one method",
        ["VectorTile.BytesTwo"] = "the sums of the register block stay in registers only within one method",
    };

    private static readonly Dictionary<string, string> s_straightWrites = new(StringComparer.Ordinal)
    {
        ["HubDownloader.cs"] = "the version of an unfinished download, beside it",
        ["ImatrixCommand.cs"] = "an empty file, to see whether the folder can be written to",
        ["NanoModel.cs"] = "a temporary name, which is then moved",
    };

    private static readonly Lazy<(string Path, SyntaxNode Root)[]> s_files = new(() =>
    [
        .. new[] { "src", "tests", "samples" }.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(TestData.Repository, folder), "*.cs", SearchOption.AllDirectories))
            .Select(path => Path.GetRelativePath(TestData.Repository, path)).Where(path => !path.Split(Path.DirectorySeparatorChar).Any(part => part is "bin" or "obj" or "node_modules"))
            .Select(path => (path, CSharpSyntaxTree.ParseText(File.ReadAllText(Path.Combine(TestData.Repository, path)), CSharpParseOptions.Default.WithLanguageVersion(LanguageVersion.Preview)).GetRoot())),
    ]);

    [Fact]
    public void FilesAreFound() => Assert.True(s_files.Value.Length > 700, $"only {s_files.Value.Length} files were found");

    [Fact]
    public void FilesOfTheLibraryAreShort() => Assert.Empty(s_files.Value.Where(file => file.Path.StartsWith("src", StringComparison.Ordinal))
        .Select(file => (file.Path, Lines: file.Root.GetText().Lines.Count - 1)).Where(file => file.Lines > MaxLines).Select(file => $"{file.Path}: {file.Lines} lines, at most {MaxLines}"));

    [Fact]
    public void MethodsOfTheLibraryAreShort()
    {
        (string Name, int Lines)[] found = [.. s_files.Value.Where(file => file.Path.StartsWith("src", StringComparison.Ordinal))
            .SelectMany(file => file.Root.DescendantNodes().OfType<BaseMethodDeclarationSyntax>()).Select(method => (Name(method), Lines(method))).Where(method => method.Item2 > MaxMethodLines)];
        Assert.Empty(found.Where(method => !s_longMethods.ContainsKey(method.Name)).Select(method => $"{method.Name}: {method.Lines} lines, at most {MaxMethodLines}"));
        Assert.Empty(s_longMethods.Keys.Except(found.Select(method => method.Name)).Select(name => $"{name} is short: it needs no exception"));

        static int Lines(SyntaxNode method)
        {
            FileLinePositionSpan span = method.GetLocation().GetLineSpan();
            return span.EndLinePosition.Line - span.StartLinePosition.Line + 1;
        }

        static string Name(BaseMethodDeclarationSyntax method)
        {
            string type = method.FirstAncestorOrSelf<TypeDeclarationSyntax>()!.Identifier.Text;
            return $"{type}.{(method is MethodDeclarationSyntax named ? named.Identifier.Text : type)}";
        }
    }

    [Fact]
    public void SummariesAreNounPhrasesOrSentences() => Assert.Empty(s_files.Value.Where(file => file.Path.StartsWith("src", StringComparison.Ordinal))
        .SelectMany(file => IndirectQuestion().Matches(file.Root.ToFullString()).Select(match => $"{file.Path}: {match.Value}")));

    /// <summary>Under its name a file is always whole: the packages and the tool write by <c>WholeFile</c> and <c>FileSet</c>.</summary>
    [Fact]
    public void FilesAreNotWrittenStraightUnderTheirNames() => Assert.Empty(s_files.Value
        .Where(file => file.Path.StartsWith("src", StringComparison.Ordinal) && !file.Path.Contains("Nano.Recipe", StringComparison.Ordinal) && !s_straightWrites.ContainsKey(Path.GetFileName(file.Path)))
        .SelectMany(file => file.Root.DescendantNodes().OfType<MemberAccessExpressionSyntax>()
            .Where(access => access.Expression.ToString() is "File" or "System.IO.File" && StraightWrite().IsMatch(access.Name.Identifier.Text)).Select(access => $"{file.Path}:{Line(access)}: {access}")));

    [Fact]
    public void TestsAreNamedInPascalCase() => Assert.Empty(typeof(StyleTests).Assembly.GetTypes()
        .SelectMany(type => type.GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly))
        .Where(method => method.GetCustomAttributes().Any(attribute => attribute is IFactAttribute) && (method.Name.Contains('_') || !char.IsAsciiLetterUpper(method.Name[0])))
        .Select(method => $"{method.DeclaringType!.Name}.{method.Name}"));

    [Fact]
    public void TypesOfVariablesAreWritten() => Assert.Empty(s_files.Value.SelectMany(file => file.Root.DescendantNodes().OfType<TypeSyntax>()
        .Where(type => type.IsVar && type.Parent is VariableDeclarationSyntax or ForEachStatementSyntax or DeclarationExpressionSyntax && !IsAnonymous(type))
        .Select(type => $"{file.Path}:{Line(type)}: var")));

    [Fact]
    public void MembersAreInOrder() => Assert.Empty(s_files.Value.SelectMany(file => file.Root.DescendantNodes().OfType<TypeDeclarationSyntax>()
        .SelectMany(type => type.Members.Zip(type.Members.Skip(1)).Where(pair => Rank(pair.First) > Rank(pair.Second))
            .Select(pair => $"{file.Path}:{Line(pair.Second)}: fields, constructors, properties, methods, nested types"))));

    [GeneratedRegex("^(?:WriteAll.*|Create|CreateText|OpenWrite)$")]
    private static partial Regex StraightWrite();

    [GeneratedRegex(@"<summary>\s*(?:///\s*)?(?:What|Whether|How)\b.*")]
    private static partial Regex IndirectQuestion();

    /// <summary>A variable whose type has no name.</summary>
    private static bool IsAnonymous(TypeSyntax type) => type.Parent is VariableDeclarationSyntax { Variables: [{ Initializer.Value: { } value }] }
        && value.DescendantNodesAndSelf().OfType<AnonymousObjectCreationExpressionSyntax>().Any();

    private static int Line(SyntaxNode node) => node.GetLocation().GetLineSpan().StartLinePosition.Line + 1;

    private static int Rank(MemberDeclarationSyntax member) => member switch
    {
        FieldDeclarationSyntax or EventFieldDeclarationSyntax => 0,
        ConstructorDeclarationSyntax or DestructorDeclarationSyntax => 1,
        PropertyDeclarationSyntax or IndexerDeclarationSyntax or EventDeclarationSyntax => 2,
        MethodDeclarationSyntax or OperatorDeclarationSyntax or ConversionOperatorDeclarationSyntax => 3,
        _ => 4,
    };
}
