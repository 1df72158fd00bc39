using System.Reflection;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Gemma.Extensions.AI.AspNetCore.Web;

/// <summary>The files of the chat page, which are inside this assembly.</summary>
internal static class ChatPage
{
    private static readonly (string Path, string File, string ContentType)[] s_files =
    [
        ("/", "index.html", "text/html; charset=utf-8"),
        ("/chat.js", "chat.js", "text/javascript; charset=utf-8"),
        ("/markdown.js", "markdown.js", "text/javascript; charset=utf-8"),
        ("/chat.css", "chat.css", "text/css; charset=utf-8"),
        ("/icon.svg", "icon.svg", "image/svg+xml"),
    ];

    public static void Map(IEndpointRouteBuilder routes)
    {
        foreach ((string path, string file, string contentType) in s_files)
        {
            byte[] content = Read(file);
            string tag = $"\"{Convert.ToHexStringLower(SHA256.HashData(content))[..16]}\"";
            routes.MapMethods(path, [HttpMethods.Get, HttpMethods.Head], http => AnswerAsync(http, content, contentType, tag)).WithDisplayName($"chat page {file}");
        }
    }

    private static Task AnswerAsync(HttpContext http, byte[] content, string contentType, string tag)
    {
        // The page loads nothing from elsewhere and runs no inline script, so that even a flaw in its rendering would have nothing to work with.
        IHeaderDictionary headers = http.Response.Headers;
        headers.ContentSecurityPolicy =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        headers.CacheControl = "no-cache";
        headers.ETag = tag;
        if (http.Request.Headers.IfNoneMatch == tag)
        {
            http.Response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        http.Response.ContentType = contentType;
        http.Response.ContentLength = content.Length;
        return HttpMethods.IsHead(http.Request.Method) ? Task.CompletedTask : http.Response.Body.WriteAsync(content, http.RequestAborted).AsTask();
    }

    private static byte[] Read(string file)
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream($"chat-page/{file}")
            ?? throw new InvalidOperationException($"The file '{file}' of the chat page is not in the assembly.");
        byte[] content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }
}
