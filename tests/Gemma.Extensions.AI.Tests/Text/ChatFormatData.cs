using System.Text;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>Vocabularies and templates of the formats that the tests of this folder share.</summary>
internal static class ChatFormatData
{
    /// <summary>Google's, as it is published in its effect, and worded otherwise.</summary>
    public static readonly string[] Gemma =
    [
        "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
            + "{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}"
            + "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}",
        """
        {{- bos_token -}}
        {%- set ns = namespace(system='') -%}
        {%- for m in messages -%}
            {%- if m.role == 'system' -%}
                {%- set ns.system = ns.system ~ (m.content | trim) ~ '\n\n' -%}
            {%- elif m.role == 'assistant' -%}
                {{- '<start_of_turn>model\n' ~ m.content.strip() ~ '<end_of_turn>\n' -}}
            {%- elif loop.previtem is defined and loop.previtem.role == 'user' -%}
                {{- raise_exception('two users') -}}
            {%- else -%}
                {{- '<start_of_turn>user\n' ~ ns.system ~ m.content.strip() ~ '<end_of_turn>\n' -}}
                {%- set ns.system = '' -%}
            {%- endif -%}
        {%- endfor -%}
        {%- if add_generation_prompt -%}{{ '<start_of_turn>model\n' }}{%- endif -%}
        """,
    ];

    public static readonly string[] GemmaSystem =
    [
        "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + '\\n' + m.content | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
        """
        {{ bos_token }}
        {%- macro turn(name, text) -%}
        <start_of_turn>{{ name }}
        {{ text | trim }}<end_of_turn>
        {{- '\n' }}
        {%- endmacro %}
        {%- set names = {'assistant': 'model', 'user': 'user', 'system': 'system'} %}
        {%- for message in messages %}
            {{- turn(names[message.role], message.content) }}
        {%- endfor %}
        {%- if add_generation_prompt %}
            {{- '<start_of_turn>model\n' }}
        {%- endif %}
        """,
    ];

    public static readonly string[] ChatML =
    [
        "{{ bos_token }}{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
        """
        {%- if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif -%}
        {{ bos_token }}
        {%- for message in messages -%}
            {%- if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('no role ' ~ message.role) }}{% endif -%}
            <|im_start|>{{ message.role }}
        {{ message.content }}
            {%- generation %}{{ '<|im_end|>\n' }}{% endgeneration %}
        {%- endfor -%}
        {% if add_generation_prompt %}<|im_start|>assistant
        {{ '' }}{% endif %}
        """,
    ];

    private static readonly Lazy<GemmaTokenizer> s_chatML = new(() => GemmaTokenizer.FromTokenizerJson(
        Encoding.UTF8.GetBytes(File.ReadAllText(TestData.Local("tiny/tokenizer.json")).Replace("<start_of_turn>", "<|im_start|>").Replace("<end_of_turn>", "<|im_end|>")), "test"));

    /// <summary>The tiny vocabulary with ChatML's markers in place of Gemma's.</summary>
    public static GemmaTokenizer ChatMLTokenizer => s_chatML.Value;

    public static ChatFormat Resolve(string template, GemmaTokenizer? tokenizer = null) =>
        ChatFormats.Resolve(tokenizer ?? Tokenizers.Tiny, new ChatTemplateText(template, "test.jinja", new Dictionary<string, string>()));
}
