namespace Gemma.Extensions.AI.Text;

/// <summary>
/// How the model spelt its latest replies. A model need not split a text into tokens as the tokenizer does; where it did not, the next turn of the
/// conversation is given the model's own tokens, so that their keys and values are found in the prefix cache. Safe for concurrent use.
/// </summary>
/// <param name="capacity">Tokens that are kept; the replies used least recently are forgotten first.</param>
internal sealed class ReplyMemory(int capacity = 1 << 18)
{
    private readonly Dictionary<string, LinkedListNode<(string Text, int[] Tokens)>> _byText = new(StringComparer.Ordinal);
    private readonly LinkedList<(string Text, int[] Tokens)> _byUse = new();
    private readonly Lock _lock = new();
    private long _tokens;

    /// <summary>Keeps the tokens of a reply under the text that <see cref="ChatTemplate"/> renders it as.</summary>
    public void Remember(string text, int[] tokens)
    {
        if (tokens.Length > capacity)
        {
            return;
        }

        lock (_lock)
        {
            if (_byText.Remove(text, out var known))
            {
                Forget(known);
            }

            _byText[text] = _byUse.AddLast((text, tokens));
            _tokens += tokens.Length;
            while (_tokens > capacity)
            {
                var oldest = _byUse.First!;
                _byText.Remove(oldest.Value.Text);
                Forget(oldest);
            }
        }
    }

    /// <summary>The tokens of a reply, or null where the model spelt it as the tokenizer does, or long ago.</summary>
    public int[]? Find(string text)
    {
        lock (_lock)
        {
            if (!_byText.TryGetValue(text, out var found))
            {
                return null;
            }

            _byUse.Remove(found);
            _byUse.AddLast(found);
            return found.Value.Tokens;
        }
    }

    private void Forget(LinkedListNode<(string Text, int[] Tokens)> reply)
    {
        _byUse.Remove(reply);
        _tokens -= reply.Value.Tokens.Length;
    }
}
