using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Matches results to calls. Clients omit ids or send null: then a result belongs to the first call of its function, or the first of all, that has no result yet.</summary>
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
