using System.CommandLine;
using Gemma.Extensions.AI.Nano.Recipe;

RootCommand root = new("The recipe of gemma2-nano: corpus, vocabulary, training, evaluation.")
{
    Commands.Show(), Commands.Words(), Commands.Vocabulary(), Commands.Train(), Commands.Export(), Commands.Evaluate(), Commands.Distillation(), EvaluationTasks.Create(), ToolSearchEvaluation.Create(),
};
return root.Parse(args).Invoke();
