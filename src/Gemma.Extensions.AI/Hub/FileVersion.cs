using System.Net;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Identifies the version of the file at an address, so that ranges of two versions are never combined.</summary>
/// <param name="Size">Bytes of the whole file.</param>
/// <param name="Tag">Its ETag, as sent; null where the server sends none.</param>
/// <param name="Modified">When it was modified last, where the server says so.</param>
internal sealed record FileVersion(long Size, string? Tag, DateTimeOffset? Modified)
{
    /// <summary>The version that a response describes; null if it does not give the size.</summary>
    public static FileVersion? Of(HttpResponseMessage response)
    {
        long? size = response.StatusCode is HttpStatusCode.PartialContent or HttpStatusCode.RequestedRangeNotSatisfiable ? response.Content.Headers.ContentRange?.Length : response.Content.Headers.ContentLength;
        return size is { } bytes ? new FileVersion(bytes, response.Headers.ETag?.ToString(), response.Content.Headers.LastModified) : null;
    }

    /// <summary>Compares an answer with this version, as far as it says anything, and gives the version with what the answer says more.</summary>
    /// <exception cref="FileChangedException">It is of another version.</exception>
    public FileVersion Checked(HttpResponseMessage response)
    {
        string? tag = response.Headers.ETag?.ToString();
        DateTimeOffset? modified = response.Content.Headers.LastModified;
        bool sameTag = Tag is null || tag is null || Tag == tag;

        // Copies on several servers differ in dates, and a strong tag tells them apart from versions. A weak one promises only that contents mean the same (RFC 9110, 8.8.1).
        bool isTold = tag is not null && Tag == tag && response.Headers.ETag is { IsWeak: false };
        bool sameDate = isTold || Modified is null || modified is null || Modified == modified;
        if (!sameTag || !sameDate || (Of(response) is { } found && found.Size != Size))
        {
            throw new FileChangedException();
        }

        return this with { Tag = Tag ?? tag, Modified = Modified ?? modified };
    }

    /// <summary>The version in one line, for the notes beside an unfinished file.</summary>
    public override string ToString() => Tag is { } tag && !tag.StartsWith("W/", StringComparison.Ordinal) ? $"{Size} {tag}" : $"{Size} {Tag}{Modified?.ToString("O")}";
}

/// <summary>The file at an address was replaced while it was downloaded.</summary>
internal sealed class FileChangedException : Exception;
