using System.ComponentModel.DataAnnotations;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.AI;

namespace WebChat;

/// <summary>Section <c>Chat</c> of the configuration. The model has its own section, <c>Gemma</c>.</summary>
public sealed class WebChatOptions : IValidatableObject
{
    /// <summary>What the model is told before every conversation.</summary>
    public string SystemPrompt { get; set; } = "";

    /// <summary>Longest answer, in tokens; nothing: as long as the context.</summary>
    [Range(1, int.MaxValue)]
    public int? MaxOutputTokens { get; set; }

    /// <summary>Questions that one user may ask in a minute; more get 429.</summary>
    [Range(1, 1_000_000)]
    public int QuestionsPerMinute { get; set; } = 60;

    /// <summary>Answers that one user may have running at once; more get 429.</summary>
    [Range(1, 10_000)]
    public int AnswersAtOnce { get; set; } = 4;

    /// <summary>
    /// Addresses (10.0.0.5) and networks (10.0.0.0/8) of the proxies in front of this server. Only what they say in X-Forwarded-For is believed, so that the users
    /// behind them are told apart; anybody else's is ignored.
    /// </summary>
    public string[] KnownProxies { get; set; } = [];

    /// <summary>What holds for every answer, whatever a client asks for.</summary>
    internal void Apply(ChatOptions options)
    {
        options.Instructions = SystemPrompt.Length > 0 ? SystemPrompt : options.Instructions;
        options.MaxOutputTokens = Math.Min(MaxOutputTokens ?? int.MaxValue, options.MaxOutputTokens ?? int.MaxValue) is < int.MaxValue and var most ? most : null;
    }

    /// <summary><see cref="KnownProxies"/> as networks.</summary>
    internal IEnumerable<IPNetwork> Proxies() => KnownProxies.Select(text => ParseProxy(text)!.Value);

    IEnumerable<ValidationResult> IValidatableObject.Validate(ValidationContext context) =>
        KnownProxies.Where(text => ParseProxy(text) is null).Select(text =>
            new ValidationResult($"Chat:KnownProxies holds '{text}', expected an address such as 10.0.0.5 or a network such as 10.0.0.0/8.", [nameof(KnownProxies)]));

    private static IPNetwork? ParseProxy(string text)
    {
        if (IPNetwork.TryParse(text, out IPNetwork network))
        {
            // The framework compares addresses of IPv4 as such.
            return network.BaseAddress.IsIPv4MappedToIPv6 && network.PrefixLength >= 96 ? new IPNetwork(network.BaseAddress.MapToIPv4(), network.PrefixLength - 96) : network;
        }

        return !IPAddress.TryParse(text, out IPAddress? address) ? null
            : address.AddressFamily == AddressFamily.InterNetwork || address.IsIPv4MappedToIPv6 ? new IPNetwork(address.MapToIPv4(), 32)
            : new IPNetwork(address, 128);
    }
}
