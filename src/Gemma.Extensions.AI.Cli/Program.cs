using System.CommandLine;

return await new RootCommand("Gemma 2 in your own process: chat, inspect, measure, convert.").Parse(args).InvokeAsync();
