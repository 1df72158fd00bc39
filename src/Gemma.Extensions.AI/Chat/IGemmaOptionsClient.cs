using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>A chat client that honours <see cref="GemmaGenerationOptions"/> of <see cref="ChatOptions.RawRepresentationFactory"/>, wherever it computes. Found with GetService, through any middleware.</summary>
internal interface IGemmaOptionsClient : IChatClient;
