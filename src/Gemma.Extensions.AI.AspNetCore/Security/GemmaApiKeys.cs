using System.Security.Claims;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using Gemma.Extensions.AI.AspNetCore;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.Primitives;

namespace Gemma.Extensions.AI.AspNetCore
{
    /// <summary>Names of the authentication by API key.</summary>
    public static class GemmaApiKeyDefaults
    {
        /// <summary>The scheme that <c>AddGemmaApiKeys</c> registers.</summary>
        public const string AuthenticationScheme = "GemmaApiKey";
    }

    /// <summary>The keys that clients may have.</summary>
    public sealed class GemmaApiKeyOptions : AuthenticationSchemeOptions
    {
        private byte[][]? _hashes;

        /// <summary>The keys, at least one. They are compared by their SHA-256 and in constant time.</summary>
        public IList<string> Keys { get; } = [];

        internal byte[][] Hashes => _hashes ??= [.. Keys.Select(static key => SHA256.HashData(Encoding.UTF8.GetBytes(key)))];

        /// <inheritdoc/>
        public override void Validate()
        {
            base.Validate();
            if (Keys.Count == 0 || Keys.Any(string.IsNullOrWhiteSpace))
            {
                throw new ArgumentException(Keys.Count == 0 ? "There is no API key: nobody could ask anything. Add one to GemmaApiKeyOptions.Keys." : "An API key is blank, which anybody could guess. Remove it.");
            }
        }
    }
}

namespace Gemma.Extensions.AI.AspNetCore.Security
{
    /// <summary>Reads keys where OpenAI's, Azure's and Anthropic's clients put them, and says no in the words of the API that was asked.</summary>
    internal sealed class ApiKeyHandler(IOptionsMonitor<GemmaApiKeyOptions> options, ILoggerFactory logger, UrlEncoder encoder) : AuthenticationHandler<GemmaApiKeyOptions>(options, logger, encoder)
    {
        private const string Bearer = "Bearer ";

        protected override Task<AuthenticateResult> HandleAuthenticateAsync()
        {
            if (Presented() is not { } key)
            {
                return Task.FromResult(AuthenticateResult.NoResult());
            }

            byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(key));
            bool isKnown = false;
            foreach (byte[] known in Options.Hashes)
            {
                isKnown |= CryptographicOperations.FixedTimeEquals(hash, known); // all of them, whichever it is
            }

            if (!isKnown)
            {
                return Task.FromResult(AuthenticateResult.Fail("The API key is not known."));
            }

            ClaimsIdentity identity = new([new Claim(ClaimTypes.NameIdentifier, $"key-{Convert.ToHexStringLower(hash)[..12]}")], Scheme.Name);
            return Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(identity), Scheme.Name)));
        }

        protected override Task HandleChallengeAsync(AuthenticationProperties properties)
        {
            Response.Headers.WWWAuthenticate = "Bearer";
            string message = Presented() is null
                ? "No API key was sent. Send one as 'Authorization: Bearer KEY' or 'x-api-key: KEY'." : "The API key is not known. Check it with whoever runs this server.";
            return Dialect.AnswerAsync(Context, new ServerError(ErrorKind.Unauthenticated, message, "invalid_api_key"));
        }

        protected override Task HandleForbiddenAsync(AuthenticationProperties properties) =>
            Dialect.AnswerAsync(Context, new ServerError(ErrorKind.Forbidden, "The API key may not do that."));

        private string? Presented()
        {
            string? authorization = Request.Headers.Authorization;
            return authorization?.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase) == true ? NullIfEmpty(authorization[Bearer.Length..].Trim())
                : NullIfEmpty(Request.Headers["x-api-key"]) ?? NullIfEmpty(Request.Headers["api-key"]);
        }

        private static string? NullIfEmpty(StringValues text) => text is [{ Length: > 0 } one] ? one : null;
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Registers authentication by API key.</summary>
    public static class GemmaApiKeyExtensions
    {
        /// <summary>
        /// Adds a scheme that accepts the keys of its options as <c>Authorization: Bearer KEY</c>, <c>x-api-key: KEY</c> or <c>api-key: KEY</c>. Those who ask with one key share
        /// the engine as one caller. <c>app.MapOpenAI().RequireAuthorization()</c> then asks for it.
        /// </summary>
        public static AuthenticationBuilder AddGemmaApiKeys(this AuthenticationBuilder builder, Action<GemmaApiKeyOptions> configure)
        {
            ArgumentNullException.ThrowIfNull(builder);
            ArgumentNullException.ThrowIfNull(configure);
            return builder.AddScheme<GemmaApiKeyOptions, Gemma.Extensions.AI.AspNetCore.Security.ApiKeyHandler>(GemmaApiKeyDefaults.AuthenticationScheme, configure);
        }
    }
}
