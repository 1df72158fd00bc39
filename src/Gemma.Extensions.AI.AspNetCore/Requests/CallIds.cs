using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Which result belongs to which call. Clients leave ids out or send null: then a result belongs to the first call of its function, or to the first call at all, that has none yet.</summary>
internal sealed class CallIds
{
    private readonly List<(string Id, string? Function)> _open = [];
    private int _made;

    /// <summary>The id of a call, as it was sent or made.</summary>
    public string Called(string? id, string? function = null)
    {
        id = string.IsNullOrEmpty(id) ? $"call_{++_made}" : id;
        _open.Add((id, function));
        return id;
    }

    /// <summary>The id of the call that a result answers.</summary>
    /// <exception cref="ServerErrorException">There is no id, and no call that waits for its result.</exception>
    public string Answered(string? id, string at, string? function = null)
    {
        int index = string.IsNullOrEmpty(id)
            ? Math.Max(_open.FindIndex(call => call.Function == function), 0)
            : _open.FindIndex(call => call.Id == id);
        if (index >= 0 && index < _open.Count)
        {
            id = _open[index].Id;
            _open.RemoveAt(index);
        }

        return string.IsNullOrEmpty(id) ? throw new ServerErrorException(ErrorKind.InvalidRequest, "A result of a tool has no id, and no call before it waits for one.", at) : id;
    }
}
