using System.Net;
using System.Net.Sockets;
using System.Security.Claims;
using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>Whom a request is for: callers share the engine evenly.</summary>
internal static class Caller
{
    /// <param name="http">The request.</param>
    /// <param name="user">What the request itself says, if anything. It tells apart the users of one account or machine, and is no one else's.</param>
    public static string Of(HttpContext http, string? user = null)
    {
        string who = http.User.FindFirstValue(ClaimTypes.NameIdentifier) ?? http.User.Identity?.Name ?? Address(http);
        return string.IsNullOrEmpty(user) ? who : $"{who}/{user}";
    }

    private static string Address(HttpContext http)
    {
        IPAddress? address = http.Connection.RemoteIpAddress;
        return address is null ? "unknown"
            : address.IsIPv4MappedToIPv6 ? address.MapToIPv4().ToString()
            : address.AddressFamily == AddressFamily.InterNetwork ? address.ToString()
            : new IPAddress([.. address.GetAddressBytes().AsSpan(0, 8), .. new byte[8]]) + "/64"; // one connection has a whole network of addresses
    }
}
