using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.SemanticKernel;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;

namespace Gemma.Extensions.AI.Benchmarks.Types;

/// <summary>What became of the draws of one type in one way.</summary>
/// <param name="Drawn">Texts that came to their end.</param>
/// <param name="Failures">Those that .NET could not read, with the error.</param>
/// <param name="Refusal">Why nothing was drawn.</param>
internal sealed record TypeResult(int Drawn, IReadOnlyList<string> Failures, string? Refusal = null);

/// <summary>A .NET type: what the grammar of its schema allows is drawn at random and read by the code that reads a model's.</summary>
internal abstract class TypeCase(string name)
{
    /// <summary>Marks refusals of whoever makes the schema: nothing reaches the model then.</summary>
    public const string NoSchema = "no schema: ";

    public string Name { get; } = name;

    /// <summary>By which answers and arguments of functions are read; null: as by default.</summary>
    public JsonSerializerOptions? Options { get; init; }

    /// <summary>
    /// What of the type its schema does not say, as the types that have the same schema: what they read cannot be told from what this one reads. Empty where the schema says
    /// as much; null where the type is refused or has none.
    /// </summary>
    public abstract string? LooseParts();

    /// <summary>
    /// <c>GetResponseAsync&lt;T&gt;</c>; with <paramref name="typed"/> as it is called with this package, which tells the client the type, else as Microsoft.Extensions.AI has it, which only sends the schema.
    /// </summary>
    public abstract Task<TypeResult> AnswerAsync(GemmaTokenizer tokenizer, int draws, bool typed);

    /// <summary>The parameter of a function that <see cref="AIFunctionFactory"/> makes, called through <see cref="FunctionInvokingChatClient"/>.</summary>
    public abstract Task<TypeResult> FunctionAsync(GemmaTokenizer tokenizer, int draws);

    /// <summary>The parameter of a kernel function, called through Semantic Kernel's chat completion.</summary>
    public abstract Task<TypeResult> KernelFunctionAsync(GemmaTokenizer tokenizer, int draws);
}

/// <inheritdoc/>
internal sealed class TypeCase<T>(string name) : TypeCase(name)
{
    public override async Task<TypeResult> AnswerAsync(GemmaTokenizer tokenizer, int draws, bool typed)
    {
        JsonSerializerOptions options = Options ?? AIJsonUtilities.DefaultOptions;
        WalkingClient client = new(tokenizer);
        return await DrawAsync(client, draws, async () =>
        {
            ChatResponse<T> answer = await (typed ? client.GetResponseAsync<T>("go", options) : ChatClientStructuredOutputExtensions.GetResponseAsync<T>(client, "go", options)).ConfigureAwait(false);
            if (!answer.TryGetResult(out _) && !IsNull(answer.Text))
            {
                _ = answer.Result; // throws
            }
        }).ConfigureAwait(false);
    }

    public override string? LooseParts()
    {
        try
        {
            return SchemaTwins.Of(typeof(T), Options ?? AIJsonUtilities.DefaultOptions);
        }
        catch (NotSupportedException)
        {
            return null;
        }
    }

    public override async Task<TypeResult> FunctionAsync(GemmaTokenizer tokenizer, int draws)
    {
        bool ran = false;
        AIFunction function;
        try
        {
            function = AIFunctionFactory.Create((T value) => { ran = true; }, "f", serializerOptions: Options);
        }
        catch (Exception exception)
        {
            return new TypeResult(0, [], NoSchema + exception.Message);
        }

        WalkingClient client = new(tokenizer);
        using FunctionInvokingChatClient invoking = new(client) { IncludeDetailedErrors = true };
        return await DrawAsync(client, draws, async () =>
        {
            ran = false;
            ChatResponse response = await invoking.GetResponseAsync("go", new ChatOptions { Tools = [function], ToolMode = ChatToolMode.RequireAny, AllowMultipleToolCalls = false }).ConfigureAwait(false);
            Check(ran, response.Messages.SelectMany(static message => message.Contents).OfType<Microsoft.Extensions.AI.FunctionResultContent>().FirstOrDefault()?.Result);
        }).ConfigureAwait(false);
    }

    public override async Task<TypeResult> KernelFunctionAsync(GemmaTokenizer tokenizer, int draws)
    {
        bool ran = false;
        KernelFunction function;
        try
        {
            function = Options is null ? KernelFunctionFactory.CreateFromMethod((T value) => { ran = true; }, "f") : KernelFunctionFactory.CreateFromMethod((T value) => { ran = true; }, Options, "f");
        }
        catch (Exception exception)
        {
            return new TypeResult(0, [], NoSchema + exception.Message);
        }

        WalkingClient client = new(tokenizer);
        Kernel kernel = new();
        function = kernel.Plugins.AddFromFunctions("p", [function])["f"];
        IChatCompletionService service = new ChatClientBuilder(client).UseKernelFunctions().Build().AsChatCompletionService();
        PromptExecutionSettings settings = new() { FunctionChoiceBehavior = FunctionChoiceBehavior.Required([function], options: new FunctionChoiceBehaviorOptions { AllowParallelCalls = false }) };
        return await DrawAsync(client, draws, async () =>
        {
            ran = false;
            ChatHistory history = new("go");
            await service.GetChatMessageContentAsync(history, settings, kernel).ConfigureAwait(false);
            Check(ran, history.SelectMany(static message => message.Items).OfType<Microsoft.SemanticKernel.FunctionResultContent>().FirstOrDefault()?.Result);
        }).ConfigureAwait(false);
    }

    /// <summary>Whether the answer is the null of a type that has one, of which <see cref="ChatResponse{T}"/> says that there is no result.</summary>
    private static bool IsNull(string text) =>
        default(T) is null && JsonElement.Parse(text) is { ValueKind: JsonValueKind.Object } root && root.TryGetProperty("data", out JsonElement data) && data.ValueKind == JsonValueKind.Null;

    private static void Check(bool ran, object? error)
    {
        if (!ran)
        {
            throw new InvalidOperationException($"The function was not called: {error}");
        }
    }

    private static async Task<TypeResult> DrawAsync(WalkingClient client, int draws, Func<Task> read)
    {
        int drawn = 0;
        List<string> failures = [];
        for (int seed = 0; drawn < draws && seed < 2 * draws; seed++)
        {
            client.Begin(seed);
            try
            {
                await read().ConfigureAwait(false);
                drawn++;
            }
            catch (Exception) when (client.Unfinished)
            {
                // Too long; the next one.
            }
            catch (Exception exception) when (client.Refusal is null && client.Text is { } text)
            {
                drawn++;
                failures.Add($"{text}: {exception.GetType().Name}: {exception.Message}");
            }
            catch (Exception exception)
            {
                return new TypeResult(drawn, failures, client.Refusal ?? NoSchema + exception.Message);
            }
        }

        return new TypeResult(drawn, failures);
    }

    /// <summary>A client that answers with what the grammar of the request allows; the second time, with the results of calls, with nothing.</summary>
    private sealed class WalkingClient(GemmaTokenizer tokenizer) : IChatClient
    {
        private readonly GrammarWalk _walk = new(tokenizer);
        private Random _random = new(0);

        public string? Text { get; private set; }

        public string? Refusal { get; private set; }

        public bool Unfinished { get; private set; }

        public void Begin(int seed) => (_random, Text, Refusal, Unfinished) = (new Random(seed), null, null, false);

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            List<AIContent> contents = [];
            if (Text is null)
            {
                Write(options);
                ToolCallParser parser = new(false);
                parser.Append(Text, contents);
                parser.Flush(contents);
            }

            return Task.FromResult(new ChatResponse(new ChatMessage(ChatRole.Assistant, contents)));
        }

        public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, ChatOptions? options = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            foreach (ChatResponseUpdate update in (await GetResponseAsync(messages, options, cancellationToken).ConfigureAwait(false)).ToChatResponseUpdates())
            {
                yield return update;
            }
        }

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }

        private void Write(ChatOptions? options)
        {
            ITokenConstraint constraint;
            try
            {
                constraint = Constraints.Create(tokenizer, options, [tokenizer.EndOfTurnId], answerType: (options?.RawRepresentationFactory?.Invoke(this) as GemmaGenerationOptions)?.ResponseTypeInfo)!;
            }
            catch (Exception exception)
            {
                Refusal = exception.Message;
                throw;
            }

            Text = _walk.Draw(constraint, _random);
            if (Text is null)
            {
                Unfinished = true;
                throw new TimeoutException();
            }
        }
    }
}
