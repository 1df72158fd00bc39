using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Training;

/// <summary>Loss of one row of logits against its label and, in distillation, against the teacher.</summary>
internal static class HeadLoss
{
    /// <summary>
    /// With z = cap·tanh(y/cap), p = softmax(z), q = softmax(teacher/T), p_T = softmax(z/T): the loss is
    /// (1 − mix)·(−log p[label]) + mix·T²·KL(q‖p_T), and its gradient by z is (1 − mix)·(p − onehot) + mix·T·(p_T − q).
    /// </summary>
    /// <param name="logits">y, [vocabulary]; holds z afterwards.</param>
    /// <param name="gradient">Receives scale × the gradient by y.</param>
    /// <param name="label">The right token.</param>
    /// <param name="teacher">The teacher's logits; needed where mix is not 0.</param>
    /// <param name="row">The row of the teacher.</param>
    /// <param name="options">Mix and T.</param>
    /// <param name="cap">Final soft cap; 0: none.</param>
    /// <param name="scale">Factor on the gradient.</param>
    public static LossSums Row(Span<float> logits, Span<float> gradient, int label, TeacherTargets? teacher, int row, LossOptions options, float cap, float scale)
    {
        if (cap != 0)
        {
            GradientMath.SoftCap(logits, cap);
        }

        float max = TensorPrimitives.Max<float>(logits);
        bool correct = logits[label] >= max;
        float sum = GradientMath.ExpShifted(logits, 1, max, gradient);
        double nll = Math.Log(sum) + max - logits[label];
        double loss = nll;
        if (options.Mix > 0)
        {
            TeacherTargets targets = teacher ?? throw new InvalidOperationException("The loss mixes in a teacher, but the batch has no teacher logits.");
            TensorPrimitives.Multiply(gradient, (1 - options.Mix) / sum, gradient);
            gradient[label] -= 1 - options.Mix;
            loss = (1 - options.Mix) * nll + options.Mix * AddTeacher(logits, gradient, targets, row, options, max);
        }
        else
        {
            // The sums of exponentials wait for their common factor until all else is done.
            gradient[label] -= sum;
            scale /= sum;
        }

        GradientMath.CapGradient(gradient, logits, scale, cap);
        return new LossSums(loss, nll, correct ? 1 : 0, 1);
    }

    /// <summary>Adds mix·T·(p_T − q) to the gradient by z and returns T²·KL(q‖p_T).</summary>
    private static double AddTeacher(ReadOnlySpan<float> logits, Span<float> gradient, TeacherTargets teacher, int row, LossOptions options, float max)
    {
        float temperature = options.Temperature;
        float[] softened = System.Buffers.ArrayPool<float>.Shared.Rent(logits.Length + teacher.Count);
        Span<float> p = softened.AsSpan(0, logits.Length);
        Span<float> q = softened.AsSpan(logits.Length, teacher.Count);
        double studentLogSum = Softmax(logits, p, 1 / temperature, max);
        TensorPrimitives.MultiplyAdd(p, options.Mix * temperature, gradient, gradient);

        ReadOnlySpan<float> target = teacher.Logits.AsSpan(row * teacher.Count, teacher.Count);
        double teacherLogSum = Softmax(target, q, 1 / temperature, TensorPrimitives.Max(target));
        double divergence = 0;
        for (int i = 0; i < q.Length; i++)
        {
            int token = teacher.Ids is null ? i : teacher.Ids[row * teacher.Count + i];
            gradient[token] -= options.Mix * temperature * q[i];
            if (q[i] > 0)
            {
                divergence += q[i] * (target[i] / temperature - teacherLogSum - (logits[token] / temperature - studentLogSum));
            }
        }

        System.Buffers.ArrayPool<float>.Shared.Return(softened);
        return temperature * temperature * divergence;
    }

    /// <summary>p = softmax(scale·z); returns log Σ exp(scale·z).</summary>
    private static double Softmax(ReadOnlySpan<float> z, Span<float> p, float scale, float max)
    {
        float sum = GradientMath.ExpShifted(z, scale, max, p);
        TensorPrimitives.Multiply(p, 1f / sum, p);
        return Math.Log(sum) + scale * (double)max;
    }
}
