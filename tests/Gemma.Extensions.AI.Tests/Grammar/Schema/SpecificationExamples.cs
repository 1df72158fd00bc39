namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// Schemas for the sections of JSON Schema 2020-12 (Core and Validation) that say what an instance must be, each with instances judged by the section's words: those of
/// lines with + are valid, those with - are not, separated by bars.
/// </summary>
internal static class SpecificationExamples
{
    private const string Text =
        """"
        # Core 4.3.2 boolean schemas
        {"properties":{"a":true,"b":false}}
        + {} | {"a":1} | {"a":null,"c":[]} | 7
        - {"b":1} | {"a":1,"b":null}

        # Core 4.3.2 the empty schema
        {}
        + null | 0 | "x" | [1,{}] | {"a":[]}

        # Core 6.4 expressions are not anchored, and know Unicode
        {"type":"string","pattern":"\\p{Lu}[^ ]"}
        + "Éa" | "xxAB" | "aA😀"
        - "éa" | "A" | "A "

        # Core 7.6.1 keywords of one type say nothing of other types
        {"minimum":3,"minLength":3,"minItems":3,"minProperties":3}
        + 3 | "abc" | [1,2,3] | {"a":1,"b":2,"c":3} | true | null
        - 2 | "ab" | [1,2] | {"a":1,"b":2}

        # Core 8.1.1 $schema
        {"$schema":"https://json-schema.org/draft/2020-12/schema","prefixItems":[{"type":"integer"}]}
        + [1] | [1,"a"] | [] | {}
        - ["a"] | [null,1]

        # Core 8.2.1 $id is the base of references beneath it
        {"$id":"https://example.com/one/root","$defs":{"q":{"$id":"/two/q","$defs":{"r":{"$id":"r","type":"integer"}},"items":{"$ref":"r"}},"r":{"$id":"r","type":"string"}},"properties":{"a":{"$ref":"/two/q"},"b":{"$ref":"r"}}}
        + {"a":[1,2],"b":"x"} | {"a":[]} | {"b":""}
        - {"a":["x"]} | {"b":1} | {"a":[1],"b":2}

        # Core 8.2.1 a pointer does not leave the resource in which it stands
        {"$defs":{"t":{"type":"string"},"b":{"$id":"https://example.com/b","$defs":{"t":{"type":"boolean"}},"items":{"$ref":"#/$defs/t"}}},"properties":{"l":{"$ref":"https://example.com/b"},"s":{"$ref":"#/$defs/t"}}}
        + {"l":[true,false],"s":"x"}
        - {"l":["x"]} | {"s":true}

        # Core 8.2.2 $anchor
        {"$defs":{"x":{"$anchor":"whole","type":"integer"}},"items":{"$ref":"#whole"}}
        + [1,2] | [] | "x"
        - [1.5] | ["whole"]

        # Core 8.2.2 an anchor belongs to its resource
        {"$id":"https://example.com/r","$defs":{"a":{"$anchor":"n","type":"null"},"b":{"$id":"b","$defs":{"a":{"$anchor":"n","type":"array"}},"items":{"$ref":"#n"}}},"properties":{"x":{"$ref":"#n"},"y":{"$ref":"b"},"z":{"$ref":"b#n"}}}
        + {"x":null,"y":[[]],"z":[]}
        - {"x":[]} | {"y":[null]} | {"z":null}

        # Core 8.2.3.1 $ref stands beside other keywords
        {"$defs":{"n":{"type":"number"}},"$ref":"#/$defs/n","maximum":5}
        + 5 | -1.5
        - 6 | "x"

        # Core 8.2.3.1 $ref to itself
        {"type":"object","properties":{"next":{"$ref":"#"}},"additionalProperties":false}
        + {} | {"next":{}} | {"next":{"next":{}}}
        - {"next":1} | {"next":{"other":{}}} | []

        # Core 8.2.3.1 a pointer in a fragment is escaped
        {"$defs":{"a/b":{"type":"null"},"c~d":{"type":"boolean"},"e%f":{"type":"string"},"g h":{"type":"array"}},"prefixItems":[{"$ref":"#/$defs/a~1b"},{"$ref":"#/$defs/c~0d"},{"$ref":"#/$defs/e%25f"},{"$ref":"#/$defs/g%20h"}]}
        + [null,true,"x",[]] | [null]
        - [1] | [null,null] | [null,true,1] | [null,true,"x",{}]

        # Core 8.2.3.2 $dynamicRef goes to the outermost $dynamicAnchor
        {"$id":"https://example.com/strict","$dynamicAnchor":"node","$ref":"tree","unevaluatedProperties":false,"$defs":{"tree":{"$id":"tree","$dynamicAnchor":"node","type":"object","properties":{"data":true,"children":{"type":"array","items":{"$dynamicRef":"#node"}}}}}}
        + {"data":1} | {"children":[{"data":2}]} | {"children":[{"children":[{}]}]}
        - {"daat":1} | {"children":[{"daat":2}]} | {"children":[1]}

        # Core 8.2.3.2 $dynamicRef without an outer anchor is $ref
        {"$id":"https://example.com/list","items":{"$dynamicRef":"#item"},"$defs":{"i":{"$dynamicAnchor":"item","type":"integer"}}}
        + [1,2] | []
        - ["a"] | [1,null]

        # Core 8.2.4 $defs says nothing of the instance
        {"$defs":{"never":false},"type":"integer"}
        + 1
        - "never"

        # Core 8.3 $comment
        {"$comment":"{\"type\":\"string\"}","type":"integer"}
        + 1
        - "a"

        # Core 10.2.1.1 allOf
        {"allOf":[{"required":["a"]},{"required":["b"]},{"maxProperties":2}]}
        + {"a":1,"b":2} | 1
        - {"a":1} | {"b":1} | {"a":1,"b":2,"c":3}

        # Core 10.2.1.2 anyOf
        {"anyOf":[{"type":"string","maxLength":1},{"type":"integer","minimum":10},{"type":"string","minLength":3}]}
        + "a" | "abc" | 10 | ""
        - "ab" | 9 | null

        # Core 10.2.1.3 oneOf
        {"type":"integer","oneOf":[{"multipleOf":2},{"multipleOf":3}]}
        + 2 | 3 | 4 | -9
        - 0 | 6 | 5 | 12

        # Core 10.2.1.3 oneOf of objects
        {"type":"object","oneOf":[{"required":["a"]},{"required":["b"]}]}
        + {"a":1} | {"b":1,"c":2}
        - {} | {"a":1,"b":2} | {"c":1}

        # Core 10.2.1.4 not
        {"not":{"type":["string","array"]}}
        + 1 | null | {}
        - "a" | []

        # Core 10.2.1.4 not of an object
        {"type":"object","not":{"properties":{"a":{"type":"integer"}},"required":["a"]}}
        + {} | {"a":"x"} | {"b":1}
        - {"a":1} | {"b":1,"a":2}

        # Core 10.2.2.1 if, then, else
        {"type":"object","properties":{"kind":{"enum":["a","b"]},"n":{"type":"integer"}},"required":["kind"],"if":{"properties":{"kind":{"const":"a"}}},"then":{"required":["n"]},"else":{"maxProperties":1}}
        + {"kind":"a","n":1} | {"kind":"b"} | {"kind":"a","n":2,"x":3}
        - {"kind":"a"} | {"kind":"b","n":1} | {"n":1}

        # Core 10.2.2.1 if alone says nothing
        {"if":{"type":"string"}}
        + 1 | "a" | null

        # Core 10.2.2.2 then without if is ignored
        {"then":{"type":"string"},"else":{"type":"string"}}
        + 1 | "a"

        # Core 10.2.2.3 else
        {"if":{"type":"integer"},"else":{"type":"string"}}
        + 1 | "a"
        - null | 1.5 | []

        # Core 10.2.2.4 dependentSchemas
        {"type":"object","dependentSchemas":{"card":{"required":["address"],"properties":{"address":{"type":"string"}}}}}
        + {} | {"card":1,"address":"x"} | {"address":1}
        - {"card":1} | {"card":1,"address":1}

        # Core 10.3.1.1 prefixItems
        {"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}]}
        + [] | [1] | [1,"a"] | [1,"a",null]
        - ["a"] | [1,2] | {}

        # Core 10.3.1.2 items after prefixItems
        {"type":"array","prefixItems":[{"type":"integer"}],"items":{"type":"boolean"}}
        + [] | [1] | [1,true,false]
        - [true] | [1,1] | [1,true,"a"]

        # Core 10.3.1.2 items for all
        {"items":{"type":"integer"}}
        + [] | [1,2,3] | "x"
        - [1,"a"] | [null]

        # Core 10.3.1.3 contains
        {"type":"array","contains":{"type":"integer"}}
        + [1] | ["a",1] | [1,1]
        - [] | ["a"] | [1.5]

        # Core 10.3.2.1 properties
        {"type":"object","properties":{"a":{"type":"integer"},"":{"type":"null"}}}
        + {} | {"a":1} | {"":null} | {"b":"a"}
        - {"a":"x"} | {"":1}

        # Core 10.3.2.2 patternProperties: all that match count
        {"type":"object","patternProperties":{"^a":{"type":"integer"},"b$":{"maximum":5}}}
        + {"a":9} | {"ab":5} | {"b":"x"} | {"c":[]}
        - {"a":"x"} | {"ab":6} | {"xb":7}

        # Core 10.3.2.3 additionalProperties
        {"type":"object","properties":{"a":true},"patternProperties":{"^x":{"type":"integer"}},"additionalProperties":{"type":"string"}}
        + {"a":[],"x1":1,"b":"s"} | {}
        - {"b":1} | {"x1":"s"}

        # Core 10.3.2.3 additionalProperties sees its own neighbours alone
        {"type":"object","allOf":[{"properties":{"a":{"type":"integer"}}}],"properties":{"b":true},"additionalProperties":false}
        + {} | {"b":1}
        - {"a":1} | {"a":1,"b":2}

        # Core 10.3.2.4 propertyNames
        {"type":"object","propertyNames":{"maxLength":2,"pattern":"^[a-c]*$"}}
        + {} | {"a":1,"bc":2} | {"":0}
        - {"abc":1} | {"d":1}

        # Core 11.2 unevaluatedItems
        {"type":"array","prefixItems":[{"type":"string"}],"unevaluatedItems":{"type":"integer"}}
        + [] | ["a"] | ["a",1,2]
        - [1] | ["a","b"]

        # Core 11.2 unevaluatedItems beside an applicator
        {"type":"array","allOf":[{"prefixItems":[{"type":"string"},{"type":"string"}]}],"unevaluatedItems":false}
        + [] | ["a"] | ["a","b"]
        - ["a","b",1] | [1]

        # Core 11.3 unevaluatedProperties
        {"type":"object","properties":{"a":{"type":"string"}},"unevaluatedProperties":{"type":"integer"}}
        + {} | {"a":"x","b":1}
        - {"b":"x"} | {"a":1}

        # Core 11.3 unevaluatedProperties sees through applicators
        {"type":"object","anyOf":[{"properties":{"a":{"type":"string"}},"required":["a"]},{"properties":{"b":{"type":"integer"}},"required":["b"]}],"unevaluatedProperties":false}
        + {"a":"x"} | {"b":1} | {"a":"x","b":1}
        - {"a":"x","c":1} | {"a":"x","b":"y"} | {}

        # Validation 6.1.1 type: an integer is any number without a fraction
        {"type":"integer"}
        + 0 | -7 | 100
        - 1.5 | "1" | null | true

        # Validation 6.1.1 several types
        {"type":["null","boolean","array"]}
        + null | true | false | []
        - 0 | "" | {}

        # Validation 6.1.2 enum of any type
        {"enum":["a",1,null,{"x":[1]},[true]]}
        + "a" | 1 | null | {"x":[1]} | [true]
        - "b" | 2 | {"x":[1,1]} | {} | [false] | true

        # Validation 6.1.3 const: objects have no order, numbers are values
        {"const":{"a":1,"b":[1.0]}}
        + {"a":1,"b":[1]} | {"b":[1],"a":1}
        - {"a":1} | {"a":1,"b":[1],"c":0} | {"a":1,"b":[2]} | {"a":true,"b":[1]}

        # Validation 6.2.1 multipleOf
        {"type":"number","multipleOf":0.5}
        + 0 | 1.5 | -2 | 100.5
        - 0.25 | 1.1 | "1"

        # Validation 6.2.2 to 6.2.5 bounds
        {"type":"number","minimum":-1.5,"maximum":3}
        + -1.5 | 3 | 0 | 2.999
        - -1.6 | 3.1 | -2

        # Validation 6.2.3, 6.2.5 exclusive bounds
        {"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}
        + 0.5 | 0.001 | 0.999
        - 0 | 1 | 1.001 | -0.5

        # Validation 6.3.1, 6.3.2 lengths in characters
        {"type":"string","minLength":2,"maxLength":3}
        + "ab" | "abc" | "日本語" | "é1"
        - "" | "a" | "abcd" | "日"

        # Validation 6.3.1 a character beyond the basic plane is one
        {"type":"string","maxLength":1}
        + "😀" | "a" | ""
        - "😀a" | "ab"

        # Validation 6.3.3 pattern
        {"type":"string","pattern":"^[a-z]+-\\d{2}$"}
        + "a-12" | "abc-00"
        - "a-1" | "A-12" | "a-123" | "-12"

        # Validation 6.3.3 pattern is found anywhere
        {"type":"string","pattern":"es"}
        + "expression" | "es"
        - "e s" | ""

        # Validation 6.4.1, 6.4.2 maxItems, minItems
        {"type":"array","minItems":1,"maxItems":2}
        + [1] | [1,2]
        - [] | [1,2,3]

        # Validation 6.4.3 uniqueItems
        {"type":"array","items":{"enum":[1,2,"1","a",null]},"uniqueItems":true}
        + [] | [1,2] | [1,"1",null] | ["a",1]
        - [1,1] | ["1",2,"1"] | [null,null]

        # Validation 6.4.3 uniqueItems of structures
        {"type":"array","items":{"enum":[1,[1],{"a":1}]},"uniqueItems":true}
        + [] | [1,[1]] | [{"a":1},[1]]
        - [1,1] | [[1],[1]] | [{"a":1},[1],{"a":1}]

        # Validation 6.4.4, 6.4.5 maxContains, minContains
        {"type":"array","contains":{"const":1},"minContains":2,"maxContains":3}
        + [1,1] | [1,2,1] | [1,1,1,0]
        - [1] | [] | [1,1,1,1]

        # Validation 6.4.5 minContains 0 needs none
        {"type":"array","contains":{"const":1},"minContains":0,"maxContains":1}
        + [] | [1] | [2,2]
        - [1,1]

        # Validation 6.4.4 maxContains without contains is ignored
        {"type":"array","maxContains":1,"minContains":5}
        + [] | [1,1]

        # Validation 6.5.1, 6.5.2 maxProperties, minProperties
        {"type":"object","minProperties":1,"maxProperties":2}
        + {"a":1} | {"a":1,"b":2}
        - {} | {"a":1,"b":2,"c":3}

        # Validation 6.5.3 required
        {"type":"object","required":["a","b"]}
        + {"a":1,"b":null} | {"b":0,"a":0,"c":0}
        - {"a":1} | {"b":1} | {}

        # Validation 6.5.4 dependentRequired
        {"type":"object","dependentRequired":{"a":["b","c"],"c":["d"]}}
        + {} | {"b":1} | {"a":1,"b":1,"c":1,"d":1} | {"c":1,"d":1}
        - {"a":1} | {"a":1,"b":1,"c":1} | {"c":1}

        # Validation 7.3.1 dates and times
        {"type":"object","properties":{"d":{"format":"date"},"t":{"format":"time"},"dt":{"format":"date-time"},"p":{"format":"duration"}}}
        + {"d":"2024-02-29"} | {"t":"12:30:00Z"} | {"dt":"2024-02-29T23:59:59.25+01:00"} | {"p":"P1DT2H"} | {"d":1}
        - {"d":"2023-02-29"} | {"t":"25:00:00Z"} | {"dt":"2024-02-29"} | {"p":"1D"}

        # Validation 7.3.2, 7.3.3 addresses and hosts
        {"type":"object","properties":{"e":{"format":"email"},"h":{"format":"hostname"}}}
        + {"e":"joe.bloggs@example.com"} | {"h":"www.example.com"} | {"e":null}
        - {"e":"2962"} | {"e":"a@b@c.de"} | {"h":"-a.com"} | {"h":"a_b"}

        # Validation 7.3.4 addresses of the internet protocol
        {"type":"object","properties":{"v4":{"format":"ipv4"},"v6":{"format":"ipv6"}}}
        + {"v4":"192.168.0.1"} | {"v6":"::1"} | {"v6":"2001:db8::ffff:1.2.3.4"}
        - {"v4":"256.0.0.1"} | {"v4":"1.2.3"} | {"v6":"12345::"} | {"v6":"1::2::3"}

        # Validation 7.3.5 resource identifiers
        {"type":"object","properties":{"u":{"format":"uri"},"r":{"format":"uri-reference"},"id":{"format":"uuid"}}}
        + {"u":"https://example.com/a?b=c#d"} | {"r":"../a"} | {"id":"2eb8aa08-aa98-11ea-b4aa-73b441d16380"}
        - {"u":"//example.com"} | {"u":"/a"} | {"r":"\\\\a"} | {"id":"2eb8aa08aa9811eab4aa73b441d16380"}

        # Validation 7.3.6 to 7.3.8 templates, pointers, expressions
        {"type":"object","properties":{"t":{"format":"uri-template"},"p":{"format":"json-pointer"},"q":{"format":"relative-json-pointer"},"x":{"format":"regex"}}}
        + {"t":"/a/{b}"} | {"p":"/a~1b/0"} | {"p":""} | {"q":"1/a"} | {"q":"0#"} | {"x":"^a+$"}
        - {"t":"/a/{b"} | {"p":"a"} | {"p":"/~2"} | {"q":"/a"} | {"x":"(a"}

        # Validation 8 and 9 annotations say nothing of the instance
        {"type":"integer","title":"t","description":"d","default":"x","examples":["y"],"deprecated":true,"readOnly":true,"contentMediaType":"image/png"}
        + 1 | -5
        - "x" | "y"
        """";

    public static IReadOnlyList<(string Section, string Schema, string[] Valid, string[] Invalid)> All { get; } = [.. Read()];

    private static IEnumerable<(string, string, string[], string[])> Read()
    {
        foreach (string block in Text.ReplaceLineEndings("\n").Split("\n\n"))
        {
            string[] lines = block.Trim().Split('\n');
            yield return (lines[0][2..], lines[1], Instances('+'), Instances('-'));

            string[] Instances(char sign) => lines.Skip(2).Where(line => line[0] == sign).SelectMany(static line => line[2..].Split(" | ")).ToArray();
        }
    }
}
