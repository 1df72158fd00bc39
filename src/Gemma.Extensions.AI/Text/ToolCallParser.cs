using System.Text;
using System.Text.Json;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// Splits generated text, as it comes, into text and function calls. A call appears once it is complete, never half; space between text and calls is
/// dropped. Text that resembles a call but is not one (not JSON, no name, no arguments) stays text.
/// </summary>
/// <param name="textIsFree">
/// Whether the answer may be any text. Otherwise, as after a call, the beginning of a marker at the end of an answer that was cut belongs to a call.
/// </param>
/// <param name="markup">What stands around a call; null: our own.</param>
internal sealed class ToolCallParser(bool textIsFree = true, ToolMarkup? markup = null)
{
    private readonly ToolMarkup _markup = markup ?? ToolMarkup.Own;
    private readonly StringBuilder _held = new(); // text that may turn out to belong to a call, or the call so far
    private readonly StringBuilder _text = new();
    private State _state;
    private int _markerLength;
    private int _depth;
    private bool _inString;
    private bool _escaped;
    private int _jsonStart;
    private int _jsonEnd;

    /// <summary>Calls that were complete so far.</summary>
    public int CallCount { get; private set; }

    /// <summary>Takes text; adds the text and the calls that are clear by now.</summary>
    public void Append(ReadOnlySpan<char> text, IList<AIContent> contents)
    {
        foreach (char next in text)
        {
            Append(next, contents);
        }

        ReleaseText(contents);
    }

    /// <summary>The answer has ended: adds text that was held back. A call that is not complete is dropped, and the finish reason tells why.</summary>
    public void Flush(IList<AIContent> contents)
    {
        if (_state == State.Text && CallCount == 0 && (textIsFree || _markerLength == 0))
        {
            _text.Append(_held);
        }

        _held.Clear();
        (_state, _markerLength) = (State.Text, 0);
        ReleaseText(contents);
    }

    private void Append(char next, IList<AIContent> contents)
    {
        _held.Append(next);
        switch (_state)
        {
            case State.Text:
                MatchStart(next);
                break;
            case State.BeforeJson when next == '{':
                (_state, _depth, _inString, _escaped, _jsonStart) = (State.Json, 1, false, false, _held.Length - 1);
                break;
            case State.BeforeJson when !char.IsWhiteSpace(next):
                Reject();
                break;
            case State.Json:
                ScanJson(next);
                break;
            case State.AfterJson:
                MatchEnd(next, contents);
                break;
        }
    }

    private void MatchStart(char next)
    {
        if (next == _markup.CallStart[_markerLength])
        {
            if (++_markerLength == _markup.CallStart.Length)
            {
                (_state, _markerLength) = (State.BeforeJson, 0);
            }

            return;
        }

        // Only the first character of the marker is '<': a mismatch can only begin anew with it.
        int keep = next == _markup.CallStart[0] ? 1 : 0;
        bool isSpace = _markerLength == 0 && keep == 0 && next is ' ' or '\n' or '\r' or '\t';
        _markerLength = keep;
        if (!isSpace)
        {
            int spaces = keep == 0 ? 0 : TrailingSpaces(_held.Length - keep);
            Release(_held.Length - keep - spaces);
        }
    }

    private int TrailingSpaces(int end)
    {
        int start = end;
        while (start > 0 && _held[start - 1] is ' ' or '\n' or '\r' or '\t')
        {
            start--;
        }

        return end - start;
    }

    private void ScanJson(char next)
    {
        if (_escaped)
        {
            _escaped = false;
        }
        else if (_inString)
        {
            _escaped = next == '\\';
            _inString = next != '"';
        }
        else if (next == '"')
        {
            _inString = true;
        }
        else if (next is '{' or '[')
        {
            _depth++;
        }
        else if (next is '}' or ']' && --_depth == 0)
        {
            (_state, _jsonEnd) = (State.AfterJson, _held.Length);
        }
    }

    private void MatchEnd(char next, IList<AIContent> contents)
    {
        if (_markerLength == 0 && char.IsWhiteSpace(next))
        {
            return;
        }

        if (next != _markup.CallEnd[_markerLength])
        {
            Reject();
            return;
        }

        if (++_markerLength < _markup.CallEnd.Length)
        {
            return;
        }

        if (TryParse(_held.ToString(_jsonStart, _jsonEnd - _jsonStart)) is not { } call)
        {
            Reject();
            return;
        }

        ReleaseText(contents);
        contents.Add(call);
        CallCount++;
        _held.Clear();
        (_state, _markerLength) = (State.Text, 0);
    }

    private static FunctionCallContent? TryParse(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = int.MaxValue });
            JsonElement root = document.RootElement;
            if (root.TryGetProperty("name", out JsonElement name) && name.ValueKind == JsonValueKind.String
                && root.TryGetProperty("arguments", out JsonElement arguments) && arguments.ValueKind == JsonValueKind.Object)
            {
                Dictionary<string, object?> values = [];
                foreach (JsonProperty argument in arguments.EnumerateObject())
                {
                    values[argument.Name] = argument.Value.Clone();
                }

                return new FunctionCallContent($"call_{Guid.NewGuid():N}", name.GetString()!, values);
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // Not a call.
        }

        return null;
    }

    /// <summary>The held text is not a call, but its end may begin the next one.</summary>
    private void Reject()
    {
        _state = State.Text;
        _markerLength = Math.Min(_markup.CallStart.Length - 1, _held.Length);
        while (!_held.ToString(_held.Length - _markerLength, _markerLength).Equals(_markup.CallStart[.._markerLength], StringComparison.Ordinal))
        {
            _markerLength--;
        }

        Release(_held.Length - _markerLength);
    }

    private void Release(int length)
    {
        _text.Append(_held, 0, length);
        _held.Remove(0, length);
    }

    private void ReleaseText(IList<AIContent> contents)
    {
        if (_text.Length > 0)
        {
            contents.Add(new TextContent(_text.ToString()));
            _text.Clear();
        }
    }

    private enum State
    {
        Text,
        BeforeJson,
        Json,
        AfterJson,
    }
}
