using System.Text.Json;
using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>The subset of Jinja that chat templates use, against what Jinja 3.1 gives with the settings of transformers (Data/chat/jinja.json).</summary>
public sealed class JinjaTemplateTests
{
    private const long Budget = 1 << 20;

    private static readonly JsonElement s_data = JsonDocument.Parse(File.ReadAllBytes(TestData.Local("chat/jinja.json"))).RootElement;

    public static TheoryData<int> Cases => [.. Enumerable.Range(0, s_data.GetProperty("cases").GetArrayLength())];

    [Theory]
    [MemberData(nameof(Cases))]
    public void TemplatesGiveWhatJinjaGives(int index)
    {
        JsonElement pair = s_data.GetProperty("cases")[index];
        string template = pair[0].GetString()!;
        TemplateText text = Render(template);
        Assert.Equal(pair[1].GetString(), text.Value);
        Assert.Equal(text.Length, text.Marks!.Length);
    }

    [Fact]
    public void WhatJinjaRefusesToEvaluateFailsWithItsPlace()
    {
        foreach (JsonElement template in s_data.GetProperty("fails").EnumerateArray())
        {
            TemplateException failed = Assert.Throws<TemplateException>(() => Render(template.GetString()!));
            Assert.Contains(failed.Fault, new[] { TemplateFault.Failed, TemplateFault.Raised });
            Assert.StartsWith("line 1, column ", failed.Message, StringComparison.Ordinal);
        }

        Assert.Equal("No way", Assert.Throws<TemplateException>(() => Render("{{ raise_exception('No ' ~ 'way') }}")).Reason);
    }

    [Fact]
    public void WhatIsNoJinjaOrOutsideOfTheSubsetIsRefusedWithItsPlace()
    {
        string[] outside =
        [
            "{% include 'x' %}", "{% block x %}{% endblock %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{% call f() %}{% endcall %}", "{% filter upper %}{% endfilter %}", "{% do x %}",
            "{% for x in y recursive %}{% endfor %}", "{{ f(*x) }}", "{{ x | pprint }}", "{{ x is filter }}",
        ];
        foreach (string template in s_data.GetProperty("invalid").EnumerateArray().Select(static item => item.GetString()!).Concat(outside))
        {
            Assert.Equal(TemplateFault.Unsupported, Assert.Throws<TemplateException>(() => JinjaTemplate.Parse("\n" + template)).Fault);
        }

        Assert.Equal("line 3, column 7: the filter 'nofilter' is not supported", Assert.Throws<TemplateException>(() => JinjaTemplate.Parse("a\nb\n{{ x |nofilter }}")).Message);
        Assert.Equal(TemplateFault.Unsupported, Assert.Throws<TemplateException>(() => Render("{{ lipsum() }}")).Fault);
    }

    /// <summary>Whatever a template does with content, what came from it stays marked, and what did not is not.</summary>
    [Theory]
    [InlineData("<{{ c }}>", "<cc>", "0110")]
    [InlineData("{{ '<' + c | trim + '>' }}", "<cc>", "0110")]
    [InlineData("{{ c.split('c')[1] ~ c[0] ~ c[1:] ~ c[::-1] }}", "cccc", "1111")]
    [InlineData("{{ c | replace('c', 'x<') }}", "x<x<", "0000")]
    [InlineData("{{ 'a-b' | replace('-', c) }}", "accb", "0110")]
    [InlineData("{{ [c, 'x'] | join('-') }}", "cc-x", "1100")]
    [InlineData("{{ c | upper }}{{ c.title() }}", "CCCc", "1111")]
    [InlineData("{{ c | tojson }}", "\"cc\"", "1111")]
    [InlineData("{{ [c] }}", "['cc']", "01111110", true)]
    [InlineData("{% set x %}[{{ c }}]{% endset %}{{ x }}", "[cc]", "0110")]
    [InlineData("{% macro m(v) %}({{ v }}){% endmacro %}{{ m(c) }}", "(cc)", "0110")]
    [InlineData("{{ 'a\\n' ~ c | indent(1, true) }}", "a\n cc", "00011")]
    [InlineData("{{ c * 2 }}{% for x in c %}{{ x }}{% endfor %}", "cccccc", "111111")]
    [InlineData("{{ c | e }}{{ c | string }}{{ c | default('x') }}", "cccccc", "111111")]
    [InlineData("{% for k in d %}{{ k }}{% endfor %}{{ d }}", "k{'k': 'cc'}", "1", true)]
    public void ContentStaysMarked(string template, string expected, string marks, bool prefixOnly = false)
    {
        TemplateMapping mapping = new() { ["k"] = TemplateText.Content("cc", '1') };
        TemplateText text = JinjaTemplate.Parse(template).Render([new("c", TemplateText.Content("cc", '1')), new("d", mapping)], Budget, () => default);
        Assert.Equal(expected, text.Value);
        string actual = new([.. text.Marks!.Select(static mark => mark == '\0' ? '0' : '1')]);
        if (prefixOnly)
        {
            // Printed lists carry quotes of their own; the content in them is marked with these.
            Assert.All(Enumerable.Range(0, expected.Length).Where(at => expected[at] == 'c' || expected[at] == 'k'), at => Assert.Equal('1', actual[at]));
        }
        else
        {
            Assert.Equal(marks, actual);
        }
    }

    [Theory]
    [InlineData("{% for a in range(1000000000) %}{% endfor %}")]
    [InlineData("{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}")]
    [InlineData("{{ 'abcdefgh' * 1000000000 }}")]
    [InlineData("{{ ['a'] * 9223372036854775807 }}")]
    [InlineData("{% set ns = namespace(s='abcdefgh') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s='abcdefgh') %}{% for i in range(64) %}{% set ns.s = ns.s | replace('a', ns.s) %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=['a']) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% endfor %}")]
    [InlineData("{% set ns = namespace(s=[1]) %}{% for i in range(64) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}")]
    [InlineData("{% set ns = namespace(s=[1]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s | tojson }}")]
    [InlineData("{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(100000) %}{% set ns.s = [ns.s] %}{% set ns.t = [ns.t] %}{% endfor %}{{ ns.s == ns.t }}")]
    [InlineData("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}")]
    [InlineData("{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(0) }}")]
    [InlineData("{{ 2 ** 63 }}")]
    [InlineData("{{ 9223372036854775807 + 1 }}")]
    [InlineData("{{ 'x' | indent(1000000000000) }}{{ 'x' * 1048577 }}")]
    public void WorkAndDepthAreBounded(string template) =>
        Assert.Contains(Assert.Throws<TemplateException>(() => Render(template)).Fault, new[] { TemplateFault.TooMuch, TemplateFault.Failed });

    [Theory]
    [InlineData("(", ")")]
    [InlineData("[", "]")]
    [InlineData("not ", "")]
    [InlineData("-", "")]
    [InlineData("f(", ")")]
    [InlineData("1 if ", " else 2")]
    [InlineData("1 ** ", "")]
    public void NestingIsBounded(string open, string close)
    {
        foreach (int depth in new[] { 1000, 30_000 })
        {
            string template = "{{ " + string.Concat(Enumerable.Repeat(open, depth)) + "1" + string.Concat(Enumerable.Repeat(close, depth)) + " }}";
            Assert.Equal(TemplateFault.Unsupported, Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(template)).Fault);
        }
    }

    /// <summary>Long chains nest the tree to the left: evaluated as deep as the stack allows, refused beyond.</summary>
    [Theory]
    [InlineData("1", " + 1")]
    [InlineData("'a'", " ~ 'a'")]
    [InlineData("x", ".y")]
    [InlineData("x", "['y']")]
    [InlineData("'a'", " | trim")]
    [InlineData("true", " and true")]
    [InlineData("1", " is defined")]
    public void LongChainsDoNotOverflow(string first, string next)
    {
        string template = "{{ " + first + string.Concat(Enumerable.Repeat(next, 30_000)) + " }}";
        try
        {
            Render(template);
        }
        catch (TemplateException)
        {
            // Refused is fine; the process going down is not.
        }
    }

    [Fact]
    public void BlocksThatNestAreBounded()
    {
        string template = string.Concat(Enumerable.Repeat("{% if true %}", 20_000)) + string.Concat(Enumerable.Repeat("{% endif %}", 20_000));
        Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(template[..JinjaTemplate.MaxLength]));
        Assert.Contains("at most", Assert.Throws<TemplateException>(() => JinjaTemplate.Parse(template)).Message);
    }

    /// <summary>Templates come with checkpoints of strangers: damaged ones are refused, never worse.</summary>
    [Fact]
    public void DamagedTemplatesAreRefusedOrEvaluated()
    {
        Random random = new(20261129);
        string[] seeds = [.. s_data.GetProperty("cases").EnumerateArray().Select(static pair => pair[0].GetString()!)];
        string[] crumbs = ["{{", "}}", "{%", "%}", "{#", "#}", "-", "|", "(", ")", "[", "]", "'", "\"", "\\", " if ", " else ", " for ", " in ", "endfor", ".", ",", ":", "=", "*", "\n", "\uD83D", "9999999999999999999", "loop", "messages"];
        int evaluated = 0;
        for (int i = 0; i < 20_000; i++)
        {
            string text = seeds[random.Next(seeds.Length)];
            for (int edits = random.Next(1, 4); edits > 0; edits--)
            {
                int at = random.Next(text.Length + 1);
                int end = Math.Min(text.Length, at + random.Next(4));
                text = text[..at] + (random.Next(3) == 0 ? "" : random.Next(4) == 0 ? seeds[random.Next(seeds.Length)] : crumbs[random.Next(crumbs.Length)]) + text[end..];
            }

            try
            {
                Render(text, 20_000);
                evaluated++;
            }
            catch (TemplateException)
            {
            }
        }

        Assert.InRange(evaluated, 1000, 19_000);
    }

    private static TemplateText Render(string template, long budget = Budget) =>
        JinjaTemplate.Parse(template).Render(
            s_data.GetProperty("variables").EnumerateObject().Select(static property => KeyValuePair.Create(property.Name, Value(property.Value))), budget, () => new DateTime(2024, 7, 5, 9, 3, 7, DateTimeKind.Local));

    private static object? Value(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.String:
                return new TemplateText(element.GetString()!);
            case JsonValueKind.Number:
                return element.GetRawText().Contains('.') ? (object)element.GetDouble() : element.GetInt64();
            case JsonValueKind.Array:
                return element.EnumerateArray().Select(Value).ToList();
            case JsonValueKind.Object:
                TemplateMapping mapping = new();
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    mapping[property.Name] = Value(property.Value);
                }

                return mapping;
            default:
                return element.ValueKind == JsonValueKind.Null ? null : element.GetBoolean();
        }
    }
}
