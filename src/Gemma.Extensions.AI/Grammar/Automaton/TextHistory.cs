namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>The bytes generated so far, from which the text of a finished key or item is taken.</summary>
internal sealed class TextHistory
{
    private byte[] _bytes = new byte[256];

    public int Length { get; private set; }

    public void Append(byte b)
    {
        if (Length == _bytes.Length)
        {
            Array.Resize(ref _bytes, Length * 2);
        }

        _bytes[Length++] = b;
    }

    /// <summary>Removes everything beyond the first <paramref name="length"/> bytes.</summary>
    public void Truncate(int length) => Length = length;

    /// <summary>The content of the string that the last byte, a quote, closed.</summary>
    public byte[] LastString()
    {
        int end = Length - 1, start = end - 1;
        while (_bytes[start] != '"' || IsEscaped(start))
        {
            start--;
        }

        return _bytes[(start + 1)..end];
    }

    /// <summary>The bytes from a position on, without the last <paramref name="ahead"/>.</summary>
    public ReadOnlySpan<byte> From(int start, int ahead) => _bytes.AsSpan(start..(Length - ahead));

    public TextHistory Clone()
    {
        TextHistory copy = new() { _bytes = (byte[])_bytes.Clone(), Length = Length };
        return copy;
    }

    private bool IsEscaped(int position)
    {
        int slashes = 0;
        while (position - 1 - slashes >= 0 && _bytes[position - 1 - slashes] == '\\')
        {
            slashes++;
        }

        return slashes % 2 == 1;
    }
}
