using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>References, identifiers and anchors, as JSON Schema 2020-12 (8.2) and the drafts before it have them.</summary>
public sealed class SchemaReferenceTests
{
    public static TheoryData<string, string, string[], string[]> References => new()
    {
        { "a fragment is relative to the nearest $id", """{"$id":"https://e.x/root","$defs":{"T":{"type":"integer"},"B":{"$id":"part","$defs":{"T":{"type":"string"}},"properties":{"v":{"$ref":"#/$defs/T"}},"required":["v"]}},"type":"object","properties":{"b":{"$ref":"part"}},"required":["b"]}""", ["{\"b\":{\"v\":\"\"}}"], ["{\"b\":{\"v\":1}}"] },
        { "an address is resolved, not found by its end", """{"$id":"https://e.x/root","$defs":{"B":{"$id":"https://other/z/item","type":"integer"},"C":{"$id":"https://e.x/item","type":"string"}},"$ref":"item"}""", ["\"\""], ["6"] },
        { "an anchor belongs to its resource", """{"$defs":{"A":{"$id":"http://a/a","$anchor":"foo","type":"integer"},"B":{"$id":"http://a/b","$defs":{"X":{"$anchor":"foo","type":"string"}},"type":"array","items":{"$ref":"#foo"}}},"$ref":"http://a/b"}""", ["[\"\"]"], ["[1]"] },
        { "what only the nearer resource has is found", """{"$id":"https://e.x/root","$defs":{"B":{"$id":"b","$defs":{"T":{"type":"string"}},"type":"array","items":{"$ref":"#/$defs/T"}}},"$ref":"b"}""", ["[\"\"]"], ["[1]"] },
        { "the anchor of another resource", """{"$id":"http://a/root","$defs":{"A":{"$id":"x/y","$defs":{"T":{"$anchor":"foo","type":"null"}}},"T":{"$anchor":"foo","type":"integer"}},"$ref":"x/y#foo"}""", ["null"], ["1"] },
        { "$id relative to $id relative to $id", """{"$id":"http://a/b/c","$defs":{"A":{"$id":"d/e","$defs":{"B":{"$id":"../f","type":"null"}}},"C":{"$id":"http://a/f","type":"integer"}},"$ref":"http://a/b/f"}""", ["null"], ["1"] },
        { "an absolute path", """{"$id":"http://a/b/c","$defs":{"A":{"$id":"/d","type":"null"},"B":{"$id":"d","type":"integer"}},"$ref":"/d"}""", ["null"], ["1"] },
        { "a query", """{"$id":"http://a/b","$defs":{"A":{"$id":"?x","type":"null"},"B":{"$id":"x","type":"integer"}},"$ref":"?x"}""", ["null"], ["1"] },
        { "an authority", """{"$id":"http://a/b","$defs":{"A":{"$id":"//h/b","type":"null"}},"$ref":"HTTP://H/b"}""", ["null"], ["1"] },
        { "a URN", """{"$id":"urn:example:root","$defs":{"A":{"$id":"urn:uuid:123e4567-e89b-12d3-a456-426614174000","$defs":{"T":{"type":"null"}},"$ref":"#/$defs/T"},"T":{"type":"integer"}},"$ref":"urn:uuid:123e4567-e89b-12d3-a456-426614174000"}""", ["null"], ["1"] },
        { "a document without $id", """{"$defs":{"A":{"$id":"item","type":"null"}},"$ref":"item#"}""", ["null"], ["1"] },
        { "the $id of the schema itself", """{"$id":"http://a/root","type":["array","null"],"items":{"$id":"http://b/q","anyOf":[{"$ref":"http://a/root"},{"$ref":"#/$defs/T"}],"$defs":{"T":{"const":1}}}}""", ["[1,null,[[]]]"], ["[2]"] },
        { "a pointer into another resource", """{"$defs":{"A":{"$id":"a","properties":{"p":{"$ref":"#/$defs/T"}},"$defs":{"T":{"type":"null"}}},"T":{"type":"integer"}},"$ref":"#/$defs/A/properties/p"}""", ["null"], ["1"] },
        { "a pointer with escapes", """{"$defs":{"a/b%~":{"type":"null"}},"$ref":"#/$defs/a~1b%25~0"}""", ["null"], ["1"] },
        { "a pointer into an array", """{"anyOf":[{"$ref":"#/anyOf/1"},{"type":"null"}]}""", ["null"], ["1"] },
        { "escapes in addresses", """{"$id":"http://a/%7euser/x","$defs":{"A":{"$id":"y%2fz","type":"null"}},"$ref":"http://a/~user/y%2Fz"}""", ["null"], ["1"] },
        { "an $id in a value is none", """{"$id":"http://a/r","enum":[{"$id":"x"},1],"$defs":{"B":{"const":{"$id":"x"}},"A":{"$id":"x","type":"integer"}},"$ref":"x"}""", ["1"], ["{\"$id\":\"x\"}"] },
        { "a property called $id is none", """{"$id":"http://a/r","properties":{"$id":{"type":"string"},"$anchor":{"const":"k"},"v":{"$ref":"#/$defs/T"}},"$defs":{"T":{"type":"null"}},"type":"object"}""", ["{\"$id\":\"x\",\"v\":null}"], ["{\"v\":1}"] },
        { "an $id where no schema stands comes last", """{"$id":"http://a/r","x-note":{"inner":{"$id":"t","type":"integer"}},"$defs":{"A":{"$id":"t","type":"null"}},"$ref":"t"}""", ["null"], ["1"] },
        { "schemas in an unknown keyword", """{"components":{"schemas":{"N":{"type":"null"},"A":{"type":"array","items":{"$ref":"#/components/schemas/N"}}}},"$ref":"#/components/schemas/A"}""", ["[null]"], ["[1]"] },
        { "draft 7: $id is no base beside $ref", """{"$schema":"http://json-schema.org/draft-07/schema#","$id":"http://a/r","definitions":{"A":{"$id":"http://b/x/","type":"null"},"item":{"$id":"item","type":"null"},"B":{"$id":"http://b/item","type":"integer"}},"allOf":[{"$id":"http://b/","$ref":"item"}]}""", ["null"], ["1"] },
        { "a definition that says its draft is a part of the document", """{"$schema":"http://json-schema.org/draft-04/schema","anyOf":[{"$ref":"#/definitions/l"},{"type":"integer"}],"definitions":{"l":{"$schema":"http://json-schema.org/draft-04/schema#","type":"array","items":{"$ref":"#"},"maxItems":1}}}""", ["1", "[1]", "[[1]]", "[[]]"], ["\"a\"", "[null]"] },
        { "a document in a property is one of its own", """{"type":"object","properties":{"data":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":["array","null"],"items":{"$ref":"#"}}},"required":["data"]}""", ["{\"data\":[null,[]]}"], ["{\"data\":[{\"data\":null}]}"] },
        { "draft 7: $id as an anchor", """{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"A":{"$id":"#foo","type":"null"}},"$ref":"#foo"}""", ["null"], ["1"] },
        { "draft 4: id", """{"$schema":"http://json-schema.org/draft-04/schema#","id":"http://a/r","definitions":{"A":{"id":"x","definitions":{"T":{"type":"null"}},"properties":{"v":{"$ref":"#/definitions/T"}}}},"type":"object","properties":{"p":{"$ref":"x"}}}""", ["{\"p\":{\"v\":null}}"], ["{\"p\":{\"v\":1}}"] },
        { "a part of another draft", """{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{"A":{"$id":"http://a/old","$schema":"http://json-schema.org/draft-07/schema#","definitions":{"N":{"type":"integer"}},"allOf":[{"$ref":"#/definitions/N","minimum":5}]},"B":{"$ref":"#/$defs/N","minimum":5},"N":{"type":"integer"}},"anyOf":[{"type":"array","items":{"$ref":"http://a/old"}},{"$ref":"#/$defs/B"}]}""", ["[1]", "5"], ["1", "[\"a\"]"] },
        { "$dynamicRef without a dynamic anchor is a $ref", """{"$defs":{"A":{"$id":"a","$dynamicRef":"#t","$defs":{"T":{"$anchor":"t","type":"null"}}}},"$dynamicAnchor":"t","$ref":"a"}""", ["null"], ["1"] },
        { "$dynamicRef goes to the outermost", """{"$id":"http://a/strings","$ref":"list","$defs":{"own":{"$dynamicAnchor":"items","type":"string"},"list":{"$id":"list","type":"array","items":{"$dynamicRef":"#items"},"$defs":{"any":{"$dynamicAnchor":"items"}}}}}""", ["[\"a\"]"], ["[1]"] },
        { "$dynamicRef by itself", """{"$id":"http://a/list","type":"array","items":{"$dynamicRef":"#items"},"$defs":{"any":{"$dynamicAnchor":"items","type":"null"}}}""", ["[null]"], ["[1]"] },
        { "two ways to one dynamic reference", """{"$id":"http://a/main","type":"object","properties":{"s":{"$ref":"strings"},"n":{"$ref":"numbers"}},"$defs":{"S":{"$id":"strings","$ref":"list","$defs":{"o":{"$dynamicAnchor":"items","type":"string"}}},"N":{"$id":"numbers","$ref":"list","$defs":{"o":{"$dynamicAnchor":"items","type":"integer"}}},"L":{"$id":"list","type":"array","items":{"$dynamicRef":"#items"},"$defs":{"any":{"$dynamicAnchor":"items"}}}}}""", ["{\"s\":[\"a\"],\"n\":[1]}"], ["{\"s\":[1]}", "{\"n\":[\"a\"]}"] },
        { "a tree that is extended", """{"$id":"http://a/strict","$dynamicAnchor":"node","$ref":"tree","properties":{"data":true,"kids":true},"additionalProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node","type":"object","properties":{"data":true,"kids":{"type":"array","items":{"$dynamicRef":"#node"}}}}}}""", ["{\"kids\":[{\"data\":1}]}"], ["{\"kids\":[{\"daat\":1}]}", "{\"x\":1}"] },
        { "$recursiveRef goes to the outermost", """{"$schema":"https://json-schema.org/draft/2019-09/schema","$id":"http://a/strict","$recursiveAnchor":true,"$ref":"tree","properties":{"data":true,"kids":true},"additionalProperties":false,"$defs":{"tree":{"$id":"tree","$recursiveAnchor":true,"type":"object","properties":{"data":true,"kids":{"type":"array","items":{"$recursiveRef":"#"}}}}}}""", ["{\"kids\":[{\"data\":1}]}"], ["{\"kids\":[{\"daat\":1}]}"] },
        { "$recursiveRef without an anchor", """{"$schema":"https://json-schema.org/draft/2019-09/schema","$id":"http://a/r","type":"object","properties":{"t":{"$ref":"tree"}},"$defs":{"tree":{"$id":"tree","type":["array","null"],"items":{"$recursiveRef":"#"}}}}""", ["{\"t\":[null,[]]}"], ["{\"t\":[{}]}"] },
    };

    [Theory]
    [MemberData(nameof(References))]
    public void ReferencesNameWhatTheStandardSays(string what, string schema, string[] valid, string[] invalid)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(schema);
        Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is valid."));
        Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is not valid."));
    }

    [Theory]
    [InlineData("""{"$id":"http://a/b","$ref":"other"}""", "'http://a/other'")]
    [InlineData("""{"$defs":{"A":{"$id":"http://x/a"}},"$ref":"a"}""", "another document")]
    [InlineData("""{"$defs":{"A":{"$id":"http://x/dir/a"}},"$ref":"http://x/a"}""", "another document")]
    public void OtherDocumentsAreRefused(string schema, string says)
    {
        string message = Assert.Throws<NotSupportedException>(() => GrammarTestbed.Schema(schema)).Message;
        Assert.Contains("'/$ref'", message);
        Assert.Contains(says, message);
    }

    [Theory]
    [InlineData("""{"$ref":"#foo"}""", "no anchor 'foo'")]
    [InlineData("""{"$defs":{"A":{"$id":"http://a/a","$anchor":"foo"}},"$ref":"#foo"}""", "no anchor 'foo'")]
    [InlineData("""{"$ref":"#/$defs/T"}""", "no '$defs'")]
    [InlineData("""{"anyOf":[{}],"$ref":"#/anyOf/00"}""", "no '00'")]
    [InlineData("""{"$defs":{"A":{"$id":"x","type":"null"},"B":{"$id":"x","type":"string"}},"$ref":"x"}""", "both at '/$defs/A' and at '/$defs/B'")]
    [InlineData("""{"$defs":{"A":{"$anchor":"x","type":"null"},"B":{"$anchor":"x","type":"string"}},"$ref":"#x"}""", "both at")]
    [InlineData("""{"$ref":5}""", "must be a text")]
    [InlineData("""{"$recursiveRef":"#/x"}""", "must be \"#\"")]
    public void NamesOfNothingAndOfTwoAreErrors(string schema, string says) => Assert.Contains(says, Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema(schema)).Message);

    /// <summary>The examples of RFC 3986, 5.4.</summary>
    [Theory]
    [InlineData("g", "http://a/b/c/g")]
    [InlineData("./g", "http://a/b/c/g")]
    [InlineData("g/", "http://a/b/c/g/")]
    [InlineData("/g", "http://a/g")]
    [InlineData("?y", "http://a/b/c/d;p?y")]
    [InlineData("g?y", "http://a/b/c/g?y")]
    [InlineData(";x", "http://a/b/c/;x")]
    [InlineData("", "http://a/b/c/d;p?q")]
    [InlineData(".", "http://a/b/c/")]
    [InlineData("./", "http://a/b/c/")]
    [InlineData("..", "http://a/b/")]
    [InlineData("../", "http://a/b/")]
    [InlineData("../g", "http://a/b/g")]
    [InlineData("../..", "http://a/")]
    [InlineData("../../g", "http://a/g")]
    [InlineData("../../../g", "http://a/g")]
    [InlineData("/./g", "http://a/g")]
    [InlineData("/../g", "http://a/g")]
    [InlineData("g.", "http://a/b/c/g.")]
    [InlineData(".g", "http://a/b/c/.g")]
    [InlineData("g..", "http://a/b/c/g..")]
    [InlineData("./../g", "http://a/b/g")]
    [InlineData("./g/.", "http://a/b/c/g/")]
    [InlineData("g/./h", "http://a/b/c/g/h")]
    [InlineData("g/../h", "http://a/b/c/h")]
    [InlineData("g;x=1/../y", "http://a/b/c/y")]
    [InlineData("g?y/../x", "http://a/b/c/g?y/../x")]
    [InlineData("//g", "http://g/")]
    [InlineData("g:h", "g:h")]
    public void AddressesAreResolvedAsTheExamplesOfTheStandard(string reference, string expected) => Assert.Equal(expected, UriReference.Resolve("http://a/b/c/d;p?q", reference));
}
