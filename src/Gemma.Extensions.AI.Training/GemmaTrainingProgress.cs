namespace Gemma.Extensions.AI.Training;

/// <summary>Progress of a training run after an update.</summary>
/// <param name="Step">Updates done.</param>
/// <param name="Steps">Updates in all.</param>
/// <param name="Tokens">Tokens trained on in this update.</param>
/// <param name="AllTokens">Tokens trained on in all updates, those before a resumption included.</param>
/// <param name="Loss">Mean loss of this update's targets.</param>
/// <param name="Accuracy">Share of this update's targets that were the most likely token.</param>
/// <param name="LearningRate">Rate of this update.</param>
/// <param name="GradientNorm">Norm before clipping.</param>
/// <param name="TokensPerSecond">Speed since the start of this process.</param>
/// <param name="TimeLeft">At that speed.</param>
public sealed record GemmaTrainingProgress(
    int Step, int Steps, int Tokens, long AllTokens, double Loss, double Accuracy, float LearningRate, float GradientNorm, double TokensPerSecond, TimeSpan TimeLeft);
