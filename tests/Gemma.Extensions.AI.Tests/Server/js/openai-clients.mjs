// Runs one client of OpenAI's API against a server that plays the agent of DensityAgent.cs: three tools, two turns of calls. Prints what it ended with as JSON.
// usage: node openai-clients.mjs CLIENT BASE_URL
const [, , client, baseURL] = process.argv;
const question = 'How densely is Paris populated?';
const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const numbers = { type: 'object', properties: { dividend: { type: 'number' }, divisor: { type: 'number' } }, required: ['dividend', 'divisor'] };
const tools = {
  get_population: { description: 'Gets the population of a city.', schema: city, run: ({ city }) => city === 'Paris' ? 2100000 : NaN },
  get_area: { description: 'Gets the area of a city in square kilometres.', schema: city, run: ({ city }) => city === 'Paris' ? 105 : NaN },
  divide: { description: 'Divides two numbers.', schema: numbers, run: ({ dividend, divisor }) => dividend / divisor },
};
const functions = Object.entries(tools).map(([name, { description, schema }]) => ({ name, description, parameters: schema }));
const limit = 6;

const runs = {
  async 'openai chat'() {
    const { default: OpenAI } = await import('openai');
    const api = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const messages = [{ role: 'user', content: question }];
    for (let turn = 0; turn < limit; turn++) {
      const answer = await api.chat.completions.create({ model: 'agent', messages, tools: functions.map((f) => ({ type: 'function', function: f })) });
      const message = answer.choices[0].message;
      messages.push(message);
      if (!message.tool_calls) return { text: message.content, usage: answer.usage.total_tokens };
      for (const call of message.tool_calls) {
        messages.push({ role: 'tool', tool_call_id: call.id, content: String(tools[call.function.name].run(JSON.parse(call.function.arguments))) });
      }
    }
  },

  async 'openai chat streamed'() {
    const { default: OpenAI } = await import('openai');
    const api = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    const runner = api.chat.completions.runTools({
      model: 'agent',
      stream: true,
      stream_options: { include_usage: true },
      messages: [{ role: 'user', content: question }],
      tools: functions.map((f) => ({ type: 'function', function: { ...f, parse: JSON.parse, function: async (args) => String(tools[f.name].run(args)) } })),
    });
    const text = await runner.finalContent();
    return { text, usage: (await runner.totalUsage()).total_tokens };
  },

  async 'openai responses streamed'() {
    const { default: OpenAI } = await import('openai');
    const api = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });
    let input = question, previous;
    for (let turn = 0; turn < limit; turn++) {
      const stream = api.responses.stream({ model: 'agent', input, previous_response_id: previous, tools: functions.map((f) => ({ type: 'function', strict: false, ...f })) });
      const response = await stream.finalResponse();
      previous = response.id;
      const calls = response.output.filter((item) => item.type === 'function_call');
      if (calls.length === 0) return { text: response.output_text, usage: response.usage.total_tokens };
      input = calls.map((call) => ({ type: 'function_call_output', call_id: call.call_id, output: String(tools[call.name].run(JSON.parse(call.arguments))) }));
    }
  },

  async 'ai generated'() {
    const { generateText } = await import('ai');
    const result = await generateText(await aiOptions());
    return { text: result.text, usage: result.usage.totalTokens };
  },

  async 'ai streamed'() {
    const { streamText } = await import('ai');
    let failure;
    const result = streamText({ ...(await aiOptions()), onError: ({ error }) => { failure = error; } });
    let text = '';
    for await (const piece of result.textStream) text += piece;
    if (failure) throw failure;
    return { text: text.slice(text.indexOf('Paris has')), usage: (await result.usage).totalTokens };
  },

  async 'langchain'() {
    const { ChatOpenAI } = await import('@langchain/openai');
    const { HumanMessage, ToolMessage } = await import('@langchain/core/messages');
    const model = new ChatOpenAI({ model: 'agent', apiKey: 'none', configuration: { baseURL }, maxRetries: 0 }).bindTools(functions.map((f) => ({ type: 'function', function: f })));
    const messages = [new HumanMessage(question)];
    for (let turn = 0; turn < limit; turn++) {
      // Every other turn is streamed.
      let answer;
      if (turn % 2 === 0) answer = await model.invoke(messages);
      else for await (const piece of await model.stream(messages)) answer = answer ? answer.concat(piece) : piece;
      messages.push(answer);
      if (!answer.tool_calls?.length) return { text: answer.content, usage: answer.usage_metadata.total_tokens };
      for (const call of answer.tool_calls) messages.push(new ToolMessage({ tool_call_id: call.id, content: String(tools[call.name].run(call.args)) }));
    }
  },
};

async function aiOptions() {
  const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible');
  const { tool, jsonSchema, stepCountIs } = await import('ai');
  return {
    model: createOpenAICompatible({ name: 'gemma', baseURL, includeUsage: true })('agent'),
    prompt: question,
    maxRetries: 0,
    stopWhen: stepCountIs(limit),
    tools: Object.fromEntries(Object.entries(tools).map(([name, t]) => [name, tool({ description: t.description, inputSchema: jsonSchema(t.schema), execute: async (args) => t.run(args) })])),
  };
}

console.log(JSON.stringify(await runs[client]()));
