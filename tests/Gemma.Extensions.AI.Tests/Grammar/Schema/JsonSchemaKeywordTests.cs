using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Each keyword: instances that must be accepted, and instances that must not.</summary>
public sealed class JsonSchemaKeywordTests
{
    public static TheoryData<string, string, string[], string[]> Keywords => new()
    {
        { "true", "true", ["1", "null", "\"a\"", "[1,{\"a\":[]}]", "{\"a\":{\"b\":1e5}}", "-0.5", "\"\\u00e9\\n日\""], ["", "01", "{\"a\"}", "[1,]", "nul", "\"\\x\"", "1.", "{a:1}", "{\"a\":1,\"a\":2}", "\"\\ud83d\""] },
        { "type", """{"type":"string"}""", ["\"\"", "\"a\\\"b\"", "\"\\ud83d\\ude00\""], ["1", "null", "[]", "\"\n\""] },
        { "type list", """{"type":["integer","null"]}""", ["1", "-7", "null", "0"], ["1.5", "\"a\"", "true", "-"] },
        { "boolean", """{"type":"boolean"}""", ["true", "false"], ["null", "0"] },
        { "enum", """{"enum":["red","green",1,null,{"a":[1,2]}]}""", ["\"red\"", "1", "null", "{\"a\":[1,2]}"], ["\"re\"", "\"redd\"", "2", "{\"a\":[1]}", "{}", "true"] },
        { "enum numbers", """{"type":"integer","enum":[1,2.0,10]}""", ["1", "2", "10"], ["0", "3", "100", "11"] },
        { "const", """{"const":{"b":"x","a":1}}""", ["{\"b\":\"x\",\"a\":1}"], ["{\"b\":\"y\",\"a\":1}", "{\"b\":\"x\"}", "1"] },
        { "properties", """{"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}}}""", ["{}", "{\"a\":1}", "{\"b\":\"\"}", "{\"a\":1,\"b\":\"x\",\"c\":[]}", "{ \"a\" : 1 }"], ["{\"a\":\"1\"}", "{\"b\":1}", "{\"a\":1,\"a\":2}", "{\"c\":1,\"c\":2}"] },
        { "required", """{"type":"object","properties":{"a":{},"b":{}},"required":["b","z"]}""", ["{\"b\":1,\"z\":2}", "{\"a\":0,\"b\":1,\"z\":2}"], ["{}", "{\"b\":1}", "{\"z\":1}", "{\"a\":1}"] },
        { "additionalProperties", """{"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}}""", ["{\"x\":1}", "{\"a\":\"s\",\"x\":1}"], ["{\"x\":\"s\"}"] },
        { "closed", """{"type":"object","properties":{"a":{}},"additionalProperties":false}""", ["{}", "{\"a\":1}"], ["{\"b\":1}", "{\"a\":1,\"b\":1}"] },
        { "patternProperties", """{"type":"object","patternProperties":{"^n_":{"type":"integer"},"_s$":{"minimum":5}},"additionalProperties":{"type":"null"}}""", ["{\"n_a\":1}", "{\"x_s\":\"t\"}", "{\"n_s\":7}", "{\"q\":null}"], ["{\"n_a\":\"x\"}", "{\"n_s\":4}", "{\"q\":1}", "{\"n_s\":\"x\"}"] },
        { "patternProperties false", """{"type":"object","patternProperties":{"^a":false}}""", ["{\"b\":1}"], ["{\"a\":1}", "{\"ab\":1}"] },
        { "propertyNames", """{"type":"object","propertyNames":{"pattern":"^[a-c]+$","maxLength":2}}""", ["{\"ab\":1}", "{}"], ["{\"abc\":1}", "{\"x\":1}"] },
        { "propertyNames enum", """{"type":"object","propertyNames":{"enum":["x","y"]}}""", ["{\"x\":1,\"y\":2}"], ["{\"z\":1}", "{\"x\":1,\"x\":2}"] },
        { "minProperties", """{"type":"object","minProperties":2}""", ["{\"a\":1,\"b\":2}", "{\"a\":1,\"b\":2,\"c\":3}"], ["{}", "{\"a\":1}", "{\"a\":1,\"a\":1}"] },
        { "maxProperties", """{"type":"object","properties":{"a":{},"b":{}},"required":["b"],"maxProperties":1}""", ["{\"b\":1}"], ["{\"a\":1}", "{\"a\":1,\"b\":1}", "{\"b\":1,\"c\":1}"] },
        { "items", """{"type":"array","items":{"type":"integer"}}""", ["[]", "[1]", "[ 1 , 2 ]"], ["[\"a\"]", "[1,null]", "[,1]"] },
        { "prefixItems", """{"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false}""", ["[]", "[1]", "[1,\"a\"]"], ["[\"a\"]", "[1,\"a\",2]", "[1,2]"] },
        { "draft 7 tuple", """{"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"null"}}""", ["[1,null,null]", "[]"], ["[1,2]", "[null]"] },
        { "minItems maxItems", """{"type":"array","items":{"type":"integer"},"minItems":1,"maxItems":3}""", ["[1]", "[1,2,3]"], ["[]", "[1,2,3,4]"] },
        { "uniqueItems", """{"type":"array","items":{"enum":["a","b",1,12]},"uniqueItems":true,"minItems":2}""", ["[\"a\",1]", "[1,12,\"b\",\"a\"]", "[12,1]"], ["[\"a\",\"a\"]", "[1]", "[1,1]"] },
        { "uniqueItems integers", """{"type":"array","items":{"type":"integer","minimum":1,"maximum":3},"uniqueItems":true}""", ["[]", "[3,1,2]"], ["[1,1]", "[1,2,3,1]"] },
        { "contains", """{"type":"array","items":{"type":["integer","string"]},"contains":{"type":"string"}}""", ["[\"a\"]", "[1,\"a\",2]"], ["[]", "[1]"] },
        { "minContains maxContains", """{"type":"array","contains":{"type":"string"},"minContains":2,"maxContains":3}""", ["[\"a\",1,\"b\"]", "[\"a\",\"b\",\"c\",4]"], ["[\"a\"]", "[\"a\",\"b\",\"c\",\"d\"]"] },
        { "minLength maxLength", """{"type":"string","minLength":2,"maxLength":3}""", ["\"ab\"", "\"abc\"", "\"日本\"", "\"😀😀\"", "\"\\n\\n\"", "\"\\ud83d\\ude00a\""], ["\"a\"", "\"abcd\"", "\"😀\"", "\"\\ud83d\\ude00\""] },
        { "pattern", """{"type":"string","pattern":"^[a-z]+(-[0-9]{2})?$"}""", ["\"abc\"", "\"a-12\"", "\"\\u0061\""], ["\"\"", "\"a-1\"", "\"A\"", "\"a-123\""] },
        { "pattern search", """{"type":"string","pattern":"b\\d"}""", ["\"b1\"", "\"xxb2yy\""], ["\"b\"", "\"1b\""] },
        { "pattern anchors inside", """{"type":"string","pattern":"^a|b$"}""", ["\"ax\"", "\"xb\"", "\"a\""], ["\"xa\"", "\"bx\""] },
        { "pattern look-ahead", """{"type":"string","pattern":"^(?!foo)(?=.*1)[a-z1]+$"}""", ["\"bar1\"", "\"fo1\""], ["\"foo1\"", "\"bar\""] },
        { "pattern and length", """{"type":"string","pattern":"^(ab)+$","minLength":3,"maxLength":5}""", ["\"abab\""], ["\"ab\"", "\"ababab\""] },
        { "length counts characters", """{"type":"string","minLength":1,"maxLength":1}""", ["\"😀\"", "\"\\ud83d\\ude00\"", "\"\\uD83D\\uDE00\"", "\"\\u0000\"", "\"\\\\\"", "\"\\/\"", "\"\\\"\"", "\"\\t\"", "\"\u2028\"", "\"é\"", "\"\\u00e9\""], ["\"\"", "\"e\u0301\"", "\"😀😀\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\\ud83d\\ud83d\"", "\"\\ude00\\ud83d\"", "\"\\ud83dx\"", "\"\u0001\"", "\"\t\"", "\"\\u00\"", "\"\\q\""] },
        { "pattern beyond the basic plane", """{"type":"string","pattern":"^[😀-😂]\\u{1F600}?$"}""", ["\"😁\"", "\"\\ud83d\\ude01\"", "\"😂😀\""], ["\"😃\"", "\"x\"", "\"\\ud83d\\ude03\"", "\"😂😁\""] },
        { "pattern of escapes", """{"type":"string","pattern":"^[\\u0000-\\u001f\"\\\\]+$"}""", ["\"\\u0000\\u001F\"", "\"\\n\\r\\t\\b\\f\"", "\"\\\"\\\\\"", "\"\\u0022\\u005c\""], ["\"\"", "\"a\"", "\"\\u0020\"", "\"\\/\"", "\"\n\""] },
        { "dot and lines", """{"type":"string","pattern":"^a.c$"}""", ["\"abc\"", "\"a😀c\"", "\"a\\u0000c\""], ["\"a\\nc\"", "\"a\\u2028c\"", "\"ac\"", "\"abc\\n\""] },
        { "anchors", """{"type":"string","pattern":"^(a|^b)c$|^$"}""", ["\"ac\"", "\"bc\"", "\"\""], ["\"c\"", "\"abc\"", "\"ac\\n\"", "\"xac\""] },
        { "const of escapes", """{"const":"\u0000\ud83d\ude00\\/\"é"}""", ["\"\\u0000😀\\\\/\\\"é\"", "\"\\u0000\\uD83D\\uDE00\\\\\\/\\u0022\\u00e9\""], ["\"\\u0000😀\\\\/\\\"e\"", "\"\\u0000\""] },
        { "bounds as text, which .NET makes of [Range(typeof(decimal), …)]", """{"type":"number","minimum":"0.01","maximum":"99.99"}""", ["0.01", "1.5", "99.99"], ["0", "0.001", "100", "-1"] },
        { "date-time", """{"type":"string","format":"date-time"}""", ["\"2024-02-29T23:59:59Z\"", "\"2023-12-01T00:00:00.123+05:30\"", "\"0001-01-01T00:00:00Z\"", "\"2023-12-01T00:00:00+14:00\""], ["\"0000-01-01T00:00:00Z\"", "\"2023-12-01t00:00:00z\"", "\"2023-12-01T00:00:00+15:00\"", "\"2023-02-29T00:00:00Z\"", "\"2024-13-01T00:00:00Z\"", "\"2024-01-01\"", "\"2024-01-01T24:00:00Z\""] },
        { "date", """{"format":"date","type":"string"}""", ["\"2000-02-29\"", "\"1999-04-30\""], ["\"1900-02-29\"", "\"1999-04-31\"", "\"99-04-01\""] },
        { "time", """{"format":"time","type":"string"}""", ["\"12:00:00\"", "\"23:59:59.5\""], ["\"12:00\"", "\"25:00:00\"", "\"12:00:00Z\"", "\"23:59:59.5-01:00\"", "\"12:00:00.12345678\""] },
        { "date-time at the ends of the years", """{"type":"string","format":"date-time"}""", ["\"0001-01-01T00:00:00Z\"", "\"9999-12-31T23:59:59Z\"", "\"9998-12-31T23:59:59-14:00\"", "\"0002-01-01T00:00:00+14:00\""], ["\"0001-01-01T00:00:00+14:00\"", "\"9999-12-31T23:59:59-01:00\""] },
        { "TimeSpan of .NET", """{"$comment":"Represents a System.TimeSpan value.","type":"string","pattern":"^-?(\\d+\\.)?\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,7})?$"}""", ["\"1.02:03:04\"", "\"-00:00:00.5\"", "\"23:59:59\""], ["\"24:00:00\"", "\"00:60:00\"", "\"99999999999.00:00:00\""] },
        { "the same pattern of another", """{"type":"string","pattern":"^-?(\\d+\\.)?\\d{2}:\\d{2}:\\d{2}(\\.\\d{1,7})?$"}""", ["\"24:00:00\""], ["\"24\""] },
        { "Version of .NET", """{"$comment":"Represents a version string.","type":"string","pattern":"^\\d+(\\.\\d+){1,3}$"}""", ["\"1.2\"", "\"1.2.3.4\""], ["\"1\"", "\"99999999999.1\"", "\"1.2.3.4.5\""] },
        { "base64", """{"type":"string","contentEncoding":"base64"}""", ["\"\"", "\"AA==\"", "\"AAA=\"", "\"+/9a\""], ["\"A\"", "\"AB==\"", "\"AAB=\"", "\"AA\"", "\"A-_A\""] },
        { "bounds of texts, which .NET makes of [Range(typeof(DateTime), …)]", """{"type":["string","null"],"minimum":"2020-01-01","exclusiveMaximum":"2021-01-01"}""", ["\"x\"", "null"], ["1"] },
        { "integers of 64 bits", """{"type":"integer"}""", ["9223372036854775807", "-9223372036854775808", "0", "-1"], ["9223372036854775808", "-9223372036854775809", "99999999999999999999"] },
        { "integers beyond 64 bits, where the schema says so", """{"type":"integer","minimum":9223372036854775808}""", ["9223372036854775808", "99999999999999999999"], ["9223372036854775807"] },
        { "integers up to a bound beyond 64 bits", """{"type":"integer","maximum":18446744073709551615}""", ["18446744073709551615", "-9223372036854775808"], ["18446744073709551616", "-9223372036854775809"] },
        { "exponents below far bounds", """{"type":"number","minimum":-3.4e38,"maximum":3.4e38}""", ["1e30", "-2.5E+36", "9.9e37", "1e-9", "3.5"], ["4e38", "-4e38", "1e300"] },
        { "exponents beside one far bound", """{"type":"number","minimum":5,"maximum":3.4e38}""", ["5", "7.5"], ["1e0", "-1e30", "4.9"] },
        { "references in a schema put into another", """{"type":"object","properties":{"data":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","items":{"type":"object","properties":{"n":{"type":"array","items":{"$ref":"#/items"}}},"required":["n"]}}},"required":["data"]}""", ["{\"data\":[{\"n\":[{\"n\":[]}]}]}"], ["{\"data\":[{\"n\":[1]}]}", "{\"data\":[{\"n\":[{}]}]}"] },
        { "the root of a schema put into another", """{"type":"object","properties":{"data":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","items":{"$ref":"#"}}},"required":["data"]}""", ["{\"data\":[[],[[]]]}"], ["{\"data\":[{\"data\":[]}]}"] },
        { "references past a schema put into another", """{"$defs":{"s":{"type":"string"}},"type":"object","properties":{"data":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"array","items":{"$ref":"#/$defs/s"}}},"required":["data"]}""", ["{\"data\":[\"x\"]}"], ["{\"data\":[1]}"] },
        { "duration", """{"format":"duration","type":"string"}""", ["\"P1Y2M3DT4H5M6S\"", "\"PT5M\"", "\"P3W\""], ["\"P\"", "\"PT\"", "\"1D\""] },
        { "email", """{"format":"email","type":"string"}""", ["\"a.b@example.com\""], ["\"a@\"", "\"a\"", "\"@b.c\"", "\"a..b@c.d\""] },
        { "hostname", """{"format":"hostname","type":"string"}""", ["\"example.com\"", "\"a-b.c\""], ["\"-a.com\"", "\"a..b\"", "\"\""] },
        { "ipv4", """{"format":"ipv4","type":"string"}""", ["\"192.168.0.1\"", "\"255.255.255.255\""], ["\"256.1.1.1\"", "\"1.2.3\"", "\"01.2.3.4\""] },
        { "ipv6", """{"format":"ipv6","type":"string"}""", ["\"::1\"", "\"2001:db8::8a2e:370:7334\"", "\"::ffff:192.0.2.1\"", "\"1:2:3:4:5:6:7:8\"", "\"::\""], ["\"1:2:3\"", "\"1::2::3\"", "\":::\"", "\"12345::\""] },
        { "uuid", """{"format":"uuid","type":"string"}""", ["\"123e4567-e89b-12d3-a456-426614174000\""], ["\"123e4567e89b12d3a456426614174000\""] },
        { "uri", """{"format":"uri","type":"string"}""", ["\"https://example.com:8080/a?b=c#d\"", "\"urn:isbn:123\"", "\"mailto:a@b.c\"", "\"http://[::1]/\""], ["\"/relative\"", "\"http://a b\"", "\"://x\""] },
        { "unknown format", """{"format":"colour","type":"string"}""", ["\"anything\""], ["1"] },
        { "minimum maximum", """{"type":"number","minimum":-1.5,"maximum":10}""", ["-1.5", "-1", "0", "9.99", "10", "10.0", "0.001"], ["-1.51", "10.01", "11", "-2", "100"] },
        { "exclusive", """{"type":"integer","exclusiveMinimum":0,"exclusiveMaximum":100}""", ["1", "99", "10"], ["0", "100", "-1", "101"] },
        { "draft 4 exclusive", """{"type":"number","minimum":0,"exclusiveMinimum":true}""", ["0.1", "5"], ["0", "0.0", "-1"] },
        { "multipleOf", """{"type":"integer","multipleOf":7}""", ["0", "7", "-14", "700"], ["1", "71"] },
        { "multipleOf fraction", """{"type":"number","multipleOf":0.25}""", ["0.25", "1", "1.5", "2.750"], ["0.3", "1.125"] },
        { "multipleOf and range", """{"type":"integer","multipleOf":15,"minimum":20,"maximum":50}""", ["30", "45"], ["15", "60", "40"] },
        { "anyOf", """{"anyOf":[{"type":"string"},{"type":"integer","minimum":5}]}""", ["\"a\"", "7"], ["4", "null"] },
        { "anyOf objects", """{"anyOf":[{"type":"object","properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["k","x"]},{"type":"object","properties":{"k":{"const":"b"},"y":{"type":"string"}},"required":["k","y"]}]}""", ["{\"k\":\"a\",\"x\":1}", "{\"k\":\"b\",\"y\":\"s\"}"], ["{\"k\":\"a\",\"y\":\"s\"}", "{\"k\":\"c\"}"] },
        { "oneOf", """{"oneOf":[{"type":"integer","multipleOf":2},{"type":"integer","multipleOf":3}]}""", ["2", "3", "9", "4"], ["6", "1", "12", "0"] },
        { "oneOf objects", """{"type":"object","oneOf":[{"required":["a"]},{"required":["b"]}],"properties":{"a":{},"b":{}}}""", ["{\"a\":1}", "{\"b\":1}"], ["{}", "{\"a\":1,\"b\":1}"] },
        { "allOf", """{"allOf":[{"type":"object","properties":{"a":{"minimum":1}}},{"properties":{"a":{"type":"integer","maximum":3}},"required":["a"]}]}""", ["{\"a\":2}"], ["{}", "{\"a\":0}", "{\"a\":4}", "{\"a\":1.5}"] },
        { "siblings", """{"minLength":2,"allOf":[{"type":"string"}],"anyOf":[{"pattern":"^a"},{"maxLength":3}]}""", ["\"ab\"", "\"xyz\"", "\"abcdef\""], ["\"a\"", "\"wxyz\"", "5"] },
        { "not type", """{"not":{"type":["object","array","string"]}}""", ["1", "null"], ["{}", "[]", "\"a\""] },
        { "not enum", """{"type":"string","not":{"enum":["a","b"]}}""", ["\"c\"", "\"ab\"", "\"\""], ["\"a\"", "\"b\"", "\"\\u0061\""] },
        { "not number", """{"type":"integer","not":{"minimum":3,"maximum":5}}""", ["2", "6"], ["3", "5", "4"] },
        { "not required", """{"type":"object","not":{"required":["a","b"]}}""", ["{\"a\":1}", "{}", "{\"b\":1,\"c\":1}"], ["{\"a\":1,\"b\":1}"] },
        { "not properties", """{"type":"object","not":{"properties":{"a":{"type":"integer"}},"required":["a"]}}""", ["{}", "{\"a\":\"s\"}"], ["{\"a\":1}"] },
        { "if then else", """{"type":"object","properties":{"k":{"enum":["a","b"]},"v":{}},"required":["k","v"],"if":{"properties":{"k":{"const":"a"}}},"then":{"properties":{"v":{"type":"integer"}}},"else":{"properties":{"v":{"type":"string"}}}}""", ["{\"k\":\"a\",\"v\":1}", "{\"k\":\"b\",\"v\":\"s\"}"], ["{\"k\":\"a\",\"v\":\"s\"}", "{\"k\":\"b\",\"v\":1}"] },
        { "dependentRequired", """{"type":"object","properties":{"a":{},"b":{}},"dependentRequired":{"a":["b"]},"additionalProperties":false}""", ["{}", "{\"b\":1}", "{\"a\":1,\"b\":1}"], ["{\"a\":1}"] },
        { "dependencies schema", """{"type":"object","properties":{"a":{},"b":{}},"dependencies":{"a":{"properties":{"b":{"type":"null"}},"required":["b"]}}}""", ["{\"b\":1}", "{\"a\":1,\"b\":null}"], ["{\"a\":1}", "{\"a\":1,\"b\":1}"] },
        { "$ref", """{"$defs":{"n":{"type":"integer"}},"type":"array","items":{"$ref":"#/$defs/n"}}""", ["[1]"], ["[\"a\"]"] },
        { "$ref with siblings", """{"$defs":{"n":{"type":"integer"}},"$ref":"#/$defs/n","minimum":3}""", ["3"], ["2", "\"a\""] },
        { "$ref draft 7 stands alone", """{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"n":{"type":"integer"}},"properties":{"a":{"$ref":"#/definitions/n","minimum":3}}}""", ["{\"a\":2}"], ["{\"a\":\"x\"}"] },
        { "$anchor", """{"$defs":{"n":{"$anchor":"num","type":"integer"}},"$ref":"#num"}""", ["3"], ["\"a\""] },
        { "recursion", """{"$defs":{"t":{"type":"object","properties":{"v":{"type":"integer"},"kids":{"type":"array","items":{"$ref":"#/$defs/t"}}},"required":["v"],"additionalProperties":false}},"$ref":"#/$defs/t"}""", ["{\"v\":1}", "{\"v\":1,\"kids\":[{\"v\":2,\"kids\":[]},{\"v\":3}]}"], ["{\"v\":1,\"kids\":[{}]}", "{\"kids\":[]}"] },
        { "recursive root", """{"type":["array","null"],"items":{"$ref":"#"}}""", ["null", "[null,[[]]]"], ["[1]"] },
        { "false property", """{"type":"object","properties":{"a":false,"b":true}}""", ["{\"b\":1}", "{}"], ["{\"a\":1}"] },
        { "unevaluatedProperties", """{"type":"object","properties":{"a":{}},"unevaluatedProperties":false}""", ["{\"a\":1}"], ["{\"b\":1}"] },
        { "escaped names", """{"type":"object","properties":{"a\"b\\c\n":{"type":"integer"}},"required":["a\"b\\c\n"],"additionalProperties":false}""", ["{\"a\\\"b\\\\c\\n\":1}"], ["{\"ab\":1}"] },
        { "annotations", """{"title":"t","description":"d","default":1,"examples":[2],"$comment":"c","x-own":{"type":"nonsense"},"type":"integer"}""", ["5"], ["\"a\""] },
    };

    [Theory]
    [MemberData(nameof(Keywords))]
    public void AcceptsExactlyTheInstances(string keyword, string schema, string[] valid, string[] invalid)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(schema), anyOrder = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = true });
        foreach (string text in valid)
        {
            Assert.True(GrammarTestbed.Accepts(grammar, text), $"{keyword}: {text} is rejected.");
            Assert.True(GrammarTestbed.Accepts(anyOrder, text), $"{keyword}, any order: {text} is rejected.");
        }

        foreach (string text in invalid)
        {
            Assert.False(GrammarTestbed.Accepts(grammar, text), $"{keyword}: {text} is accepted.");
            Assert.False(GrammarTestbed.Accepts(anyOrder, text), $"{keyword}, any order: {text} is accepted.");
        }
    }

    [Fact]
    public void PropertiesComeInTheOrderOfTheSchemaUnlessAnyOrderIsAskedFor()
    {
        const string Schema = """{"type":"object","properties":{"a":{},"b":{},"c":{}},"required":["b"]}""";
        string[] ordered = ["""{"a":1,"b":2,"c":3}""", """{"b":1,"c":2,"x":3}"""], unordered = ["""{"b":1,"a":2}""", """{"x":1,"b":2}""", """{"c":1,"b":2}"""];
        CompiledGrammar strict = GrammarTestbed.Schema(Schema), loose = GrammarTestbed.Schema(Schema, new JsonSchemaOptions { AnyPropertyOrder = true });
        Assert.All(ordered, t => Assert.True(GrammarTestbed.Accepts(strict, t)));
        Assert.All(unordered, t => Assert.False(GrammarTestbed.Accepts(strict, t)));
        Assert.All(ordered.Concat(unordered), t => Assert.True(GrammarTestbed.Accepts(loose, t)));
    }

    [Fact]
    public void TimesHaveOffsetsWhereRfc3339IsAskedFor()
    {
        CompiledGrammar grammar = GrammarTestbed.Schema("""{"type":"string","format":"time"}""", new JsonSchemaOptions { Rfc3339Times = true });
        Assert.All(["\"12:00:00Z\"", "\"23:59:59.5-01:00\""], text => Assert.True(GrammarTestbed.Accepts(grammar, text)));
        Assert.All(["\"12:00:00\"", "\"25:00:00Z\""], text => Assert.False(GrammarTestbed.Accepts(grammar, text)));
    }

    [Fact]
    public void WhitespaceCanBeForbidden()
    {
        CompiledGrammar compact = GrammarTestbed.Schema("true", new JsonSchemaOptions { AllowWhitespace = false });
        Assert.True(GrammarTestbed.Accepts(compact, """{"a":[1,2]}"""));
        Assert.False(GrammarTestbed.Accepts(compact, """{"a": [1,2]}"""));
    }

    [Fact]
    public void WhitespaceIsThatOfIndentedTextsAndNoMore()
    {
        CompiledGrammar grammar = GrammarTestbed.Schema("true");
        JsonElement value = JsonElement.Parse("""{"a":[1,{"b":[],"c":{"d":[[null,2]]}}],"e":{}}""");
        foreach ((char character, int size, string newLine) in (IEnumerable<(char, int, string)>)[(' ', 1, "\n"), (' ', 2, "\n"), (' ', 4, "\n"), ('\t', 1, "\n"), (' ', 2, "\r\n")])
        {
            string text = JsonSerializer.Serialize(value, new JsonSerializerOptions { WriteIndented = true, IndentCharacter = character, IndentSize = size, NewLine = newLine });
            Assert.True(GrammarTestbed.Accepts(grammar, text), text);
        }

        Assert.True(GrammarTestbed.Accepts(grammar, """{"a": [1, {"b": [], "c": {}}], "e": {"x" : true }}"""));
        Assert.True(GrammarTestbed.Accepts(grammar, "[1, \n  2]"));
        Assert.All((string[])["[1,  2]", "[1,\t\t2]", "[1,\n\n2]", "[1,\n     2]", "[\n1\n ]  ", "{ \"a\":  1}", "[1,\r\r2]", "[ \n  ]\n", "\n[]"], t => Assert.False(GrammarTestbed.Accepts(grammar, t), t));
    }

    /// <summary>A model that likes white space best of all still comes to the end of what it was asked for.</summary>
    [Fact]
    public void WhitespaceCannotFillAnAnswer()
    {
        const string Schema = """{"type":"object","properties":{"a":{"type":"array","items":{"const":1},"minItems":3,"maxItems":3},"b":{"type":"object","properties":{"c":{"type":"null"}},"required":["c"],"additionalProperties":false}},"required":["a","b"],"additionalProperties":false}""";
        ITokenConstraint constraint = GrammarTestbed.Schema(Schema).CreateConstraint([GrammarTestbed.End]);
        ulong[] mask = new ulong[GrammarTestbed.Vocabulary.MaskWords];
        List<byte> text = [];
        for (int tokens = 0; tokens < 200; tokens++)
        {
            constraint.TryFillMask(mask);
            int[] allowed = [.. GrammarTestbed.TokensIn(mask)];
            int[] white = [.. allowed.Where(id => GrammarTestbed.Vocabulary.Bytes(id) is { Length: > 0 } bytes && bytes.All(b => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t'))];
            int token = white.Length > 0 ? white[0] : allowed[0];
            constraint.Accept(token);
            if (token == GrammarTestbed.End)
            {
                using JsonDocument document = JsonDocument.Parse(text.ToArray());
                Assert.True(SchemaOracle.IsValid(JsonElement.Parse(Schema), document.RootElement));
                Assert.InRange(text.Count, 60, 400);
                return;
            }

            text.AddRange(GrammarTestbed.Vocabulary.Bytes(token));
        }

        Assert.Fail($"No end after 200 tokens: {System.Text.Encoding.UTF8.GetString([.. text])}");
    }

    [Theory]
    [InlineData("""{"properties":{"x":{"not":{"items":{"enum":[1,2]},"uniqueItems":true}}}}""", "/properties/x/not")]
    [InlineData("""{"properties":{"a/b":{"uniqueItems":true,"contains":{"const":1}}}}""", "/properties/a~1b/uniqueItems")]
    [InlineData("""{"items":{"pattern":"(a)\\1"}}""", "/items/pattern")]
    [InlineData("""{"items":{"pattern":"(?<=a)b"}}""", "/items/pattern")]
    [InlineData("""{"anyOf":[{"$ref":"http://example.com/other.json"}]}""", "/anyOf/0/$ref")]
    [InlineData("""{"$dynamicRef":"other.json#x"}""", "/$dynamicRef")]
    [InlineData("""{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}""", "/unevaluatedProperties")]
    public void WhatCannotBeEnforcedIsRefusedWithItsPlaceOrIgnoredWhenLenient(string schema, string pointer)
    {
        NotSupportedException refused = Assert.Throws<NotSupportedException>(() => GrammarTestbed.Schema(schema));
        Assert.Contains($"'{pointer}'", refused.Message);
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema, new JsonSchemaOptions { Lenient = true }), "{\"zz\":[]}"));
    }

    [Theory]
    [InlineData("false")]
    [InlineData("""{"type":"integer","minimum":3,"exclusiveMaximum":4,"not":{"const":3}}""")]
    [InlineData("""{"type":"string","pattern":"^a","not":{"pattern":"a"}}""")]
    [InlineData("""{"type":"string","minLength":3,"maxLength":3,"pattern":"^(ab)*$"}""")]
    [InlineData("""{"type":"string","pattern":"^[\\ud800-\\udbff]x"}""")]
    [InlineData("""{"type":"object","required":["a"],"properties":{"a":false}}""")]
    [InlineData("""{"type":"object","required":["a"],"additionalProperties":false}""")]
    [InlineData("""{"$defs":{"n":{"type":"object","properties":{"n":{"$ref":"#/$defs/n"}},"required":["n"]}},"$ref":"#/$defs/n"}""")]
    [InlineData("""{"type":"array","minItems":2,"maxItems":1}""")]
    [InlineData("""{"type":"array","items":{"type":"integer"},"contains":{"type":"string"}}""")]
    [InlineData("""{"type":"array","items":{"enum":[1,2]},"uniqueItems":true,"minItems":3}""")]
    [InlineData("""{"allOf":[{"type":"string"},{"type":"integer"}]}""")]
    [InlineData("""{"type":"integer","multipleOf":10,"minimum":11,"maximum":19}""")]
    [InlineData("""{"type":"object","minProperties":3,"properties":{"a":{},"b":{}},"additionalProperties":false}""")]
    [InlineData("""{"type":"object","minProperties":2,"patternProperties":{"^a$":{}},"additionalProperties":false}""")]
    [InlineData("""{"enum":[]}""")]
    public void UnsatisfiableSchemasAreRefused(string schema) => Assert.Contains("Nothing satisfies", Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema(schema)).Message);

    [Theory]
    [InlineData("""{"type":"strin"}""", "/type")]
    [InlineData("""{"properties":{"a":5}}""", "/properties/a")]
    [InlineData("""{"minLength":-1}""", "/minLength")]
    [InlineData("""{"pattern":"[a"}""", "/pattern")]
    [InlineData("""{"multipleOf":0}""", "/multipleOf")]
    [InlineData("""{"anyOf":{}}""", "/anyOf")]
    public void MalformedSchemasAreNamed(string schema, string pointer) => Assert.Contains($"'{pointer}'", Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema(schema)).Message);
}
