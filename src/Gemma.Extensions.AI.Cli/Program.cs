using System.Text;
using Gemma.Extensions.AI.Cli;

Console.OutputEncoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
using Interrupts interrupts = Interrupts.FromSignals();
return await GemmaCli.RunAsync(args, new CliInvocation(interrupts) { Output = Console.Out, Error = Console.Error });
