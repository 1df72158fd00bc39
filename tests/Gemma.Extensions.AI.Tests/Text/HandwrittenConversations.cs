namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>
/// Conversations and the prompts that each format has for them, written down by hand from the formats' definitions: ten each. Nothing here is computed.
/// </summary>
internal static class HandwrittenConversations
{
    /// <summary>
    /// Google's: bos; each turn is the marker, "user" or "model", a line break, the content without the white space around it, the other marker and a line break; the model's
    /// turn is opened.
    /// </summary>
    public static readonly Conversation[] Gemma =
    [
        new([("user", "Hello!")],
            "<bos><start_of_turn>user\nHello!<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "How are you?"), ("assistant", "Fine, thanks."), ("user", "Good.")],
            "<bos><start_of_turn>user\nHow are you?<end_of_turn>\n<start_of_turn>model\nFine, thanks.<end_of_turn>\n<start_of_turn>user\nGood.<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "  spaces around  ")],
            "<bos><start_of_turn>user\nspaces around<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "\n\n\tA tab, two line breaks.\r\n")],
            "<bos><start_of_turn>user\nA tab, two line breaks.<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "one\n  two\n\nthree"), ("assistant", "a\n\nb\n"), ("user", "4")],
            "<bos><start_of_turn>user\none\n  two\n\nthree<end_of_turn>\n<start_of_turn>model\na\n\nb<end_of_turn>\n<start_of_turn>user\n4<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "Grüße aus Köln, 東京 und Αθήνα 🙂")],
            "<bos><start_of_turn>user\nGrüße aus Köln, 東京 und Αθήνα 🙂<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "\u00a0\u3000wide spaces\u2003")],
            "<bos><start_of_turn>user\nwide spaces<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "\u001ca separator is white space too\u001f")],
            "<bos><start_of_turn>user\na separator is white space too<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "\u200ba joiner is none\ufeff")],
            "<bos><start_of_turn>user\n\u200ba joiner is none\ufeff<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "Sum it up:\n```python\ndef f(x):\n    return x + 1\n```"), ("assistant", "It adds 1."), ("user", "And {{ x }} or {% if %}?"), ("assistant", "A template."), ("user", "Right."), ("assistant", "Yes."), ("user", "Bye")],
            "<bos><start_of_turn>user\nSum it up:\n```python\ndef f(x):\n    return x + 1\n```<end_of_turn>\n<start_of_turn>model\nIt adds 1.<end_of_turn>\n<start_of_turn>user\nAnd {{ x }} or {% if %}?<end_of_turn>\n<start_of_turn>model\nA template.<end_of_turn>\n"
            + "<start_of_turn>user\nRight.<end_of_turn>\n<start_of_turn>model\nYes.<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n"),
    ];

    /// <summary>The same with turns of the system, in any order.</summary>
    public static readonly Conversation[] GemmaSystem =
    [
        new([("user", "Hello!")],
            "<bos><start_of_turn>user\nHello!<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "Be brief."), ("user", "Hello!")],
            "<bos><start_of_turn>system\nBe brief.<end_of_turn>\n<start_of_turn>user\nHello!<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "\nRules:\n1. Be kind.\n2. Be brief.\n\n"), ("user", " Hello! ")],
            "<bos><start_of_turn>system\nRules:\n1. Be kind.\n2. Be brief.<end_of_turn>\n<start_of_turn>user\nHello!<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "S"), ("user", "U"), ("assistant", "A"), ("user", "V")],
            "<bos><start_of_turn>system\nS<end_of_turn>\n<start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "U"), ("assistant", "A"), ("system", "Now in French."), ("user", "V")],
            "<bos><start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n<start_of_turn>system\nNow in French.<end_of_turn>\n<start_of_turn>user\nV<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "Réponds en français."), ("user", "你好"), ("assistant", "Bonjour 🙂"), ("user", "Спасибо")],
            "<bos><start_of_turn>system\nRéponds en français.<end_of_turn>\n<start_of_turn>user\n你好<end_of_turn>\n<start_of_turn>model\nBonjour 🙂<end_of_turn>\n<start_of_turn>user\nСпасибо<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "system"), ("user", "user"), ("assistant", "model"), ("user", "assistant")],
            "<bos><start_of_turn>system\nsystem<end_of_turn>\n<start_of_turn>user\nuser<end_of_turn>\n<start_of_turn>model\nmodel<end_of_turn>\n<start_of_turn>user\nassistant<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "\u3000S\u00a0"), ("user", "\u001d\tU\u0085")],
            "<bos><start_of_turn>system\nS<end_of_turn>\n<start_of_turn>user\nU<end_of_turn>\n<start_of_turn>model\n"),
        new([("system", "{\"a\": [1, 2],\n \"b\": \"<x>\"}"), ("user", "What is in a?")],
            "<bos><start_of_turn>system\n{\"a\": [1, 2],\n \"b\": \"<x>\"}<end_of_turn>\n<start_of_turn>user\nWhat is in a?<end_of_turn>\n<start_of_turn>model\n"),
        new([("user", "1"), ("assistant", "2"), ("user", "3"), ("assistant", "4"), ("user", "5"), ("assistant", "6"), ("user", "7")],
            "<bos><start_of_turn>user\n1<end_of_turn>\n<start_of_turn>model\n2<end_of_turn>\n<start_of_turn>user\n3<end_of_turn>\n<start_of_turn>model\n4<end_of_turn>\n<start_of_turn>user\n5<end_of_turn>\n<start_of_turn>model\n6<end_of_turn>\n<start_of_turn>user\n7<end_of_turn>\n<start_of_turn>model\n"),
    ];

    /// <summary>ChatML with Gemma's bos: the content stays as it is, white space and all; the model is called "assistant".</summary>
    public static readonly Conversation[] ChatML =
    [
        new([("user", "Hello!")],
            "<bos><|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"),
        new([("system", "Be brief."), ("user", "Hello!")],
            "<bos><|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello!<|im_end|>\n<|im_start|>assistant\n"),
        new([("user", "How are you?"), ("assistant", "Fine, thanks."), ("user", "Good.")],
            "<bos><|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\nFine, thanks.<|im_end|>\n<|im_start|>user\nGood.<|im_end|>\n<|im_start|>assistant\n"),
        new([("system", "  S\n"), ("user", "\n U  "), ("assistant", " A\n\n"), ("user", "V\t")],
            "<bos><|im_start|>system\n  S\n<|im_end|>\n<|im_start|>user\n\n U  <|im_end|>\n<|im_start|>assistant\n A\n\n<|im_end|>\n<|im_start|>user\nV\t<|im_end|>\n<|im_start|>assistant\n"),
        new([("user", "U"), ("assistant", "A"), ("system", "Now in French."), ("user", "V")],
            "<bos><|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>system\nNow in French.<|im_end|>\n<|im_start|>user\nV<|im_end|>\n<|im_start|>assistant\n"),
        new([("user", "one\r\ntwo\r\n\r\nthree")],
            "<bos><|im_start|>user\none\r\ntwo\r\n\r\nthree<|im_end|>\n<|im_start|>assistant\n"),
        new([("system", "Antworte auf Deutsch."), ("user", "¿Qué hora es?"), ("assistant", "Fünf nach zwölf ⏰"), ("user", "ありがとう")],
            "<bos><|im_start|>system\nAntworte auf Deutsch.<|im_end|>\n<|im_start|>user\n¿Qué hora es?<|im_end|>\n<|im_start|>assistant\nFünf nach zwölf ⏰<|im_end|>\n<|im_start|>user\nありがとう<|im_end|>\n<|im_start|>assistant\n"),
        new([("user", "```csharp\nif (a < b)\n{\n    return;\n}\n```\n"), ("assistant", "A guard."), ("user", "Why?")],
            "<bos><|im_start|>user\n```csharp\nif (a < b)\n{\n    return;\n}\n```\n<|im_end|>\n<|im_start|>assistant\nA guard.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"),
        new([("user", "A"), ("user", "B"), ("assistant", "C"), ("user", "D")],
            "<bos><|im_start|>user\nA<|im_end|>\n<|im_start|>user\nB<|im_end|>\n<|im_start|>assistant\nC<|im_end|>\n<|im_start|>user\nD<|im_end|>\n<|im_start|>assistant\n"),
        new([("system", "assistant"), ("user", "system"), ("assistant", "user"), ("user", "{{ bos_token }}")],
            "<bos><|im_start|>system\nassistant<|im_end|>\n<|im_start|>user\nsystem<|im_end|>\n<|im_start|>assistant\nuser<|im_end|>\n<|im_start|>user\n{{ bos_token }}<|im_end|>\n<|im_start|>assistant\n"),
    ];

    /// <param name="Turns">Role and content of each message.</param>
    /// <param name="Prompt">What the model reads.</param>
    public sealed record Conversation((string Role, string Content)[] Turns, string Prompt);
}
