using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Postprocessing of a step: computes logits where a token is due, draws the next tokens and delivers them.</summary>
internal sealed class StepOutputs(GemmaConfig config, GemmaForward forward, EngineMetrics metrics, TokenGaps gaps, int maxRows)
{
    /// <summary>
    /// Budget of a step for masks, in the units of <see cref="ITokenConstraint.TryPrepare"/>: about 5 ms. A mask gets at most half of the remainder, so that an
    /// expensive one leaves something for those after it; most take less than <see cref="LeastMaskBudget"/>.
    /// </summary>
    internal const long MaskBudget = 1_200_000;

    private const long LeastMaskBudget = 20_000;

    private readonly int[] _rows = new int[maxRows];
    private readonly int[] _owners = new int[maxRows];
    private readonly int[] _offsets = new int[maxRows];
    private readonly ulong[] _mask = new ulong[(config.VocabularySize + 63) / 64];
    private readonly int[] _forced = new int[Scheduler.MaxForcedTokens - 1];
    private float[] _logits = []; // of the token that is being drawn, where a request wants log probabilities
    private int _count;
    private long _maskBudget;

    /// <summary>
    /// Begins a step: resets the budget for masks, and resumes sequences whose masks are ready. Earlier steps skipped them and held the logits of their next token.
    /// </summary>
    public void Resume(List<Sequence> running, List<Sequence> waiting)
    {
        _maskBudget = MaskBudget;
        Resume(running);
        Resume(waiting);
    }

    private void Resume(List<Sequence> sequences)
    {
        foreach (Sequence sequence in sequences)
        {
            if (sequence.HeldLogits is { } logits && sequence.Finish is null)
            {
                sequence.SetDraft(default);
                Continue(sequence, logits.AsSpan(0, config.VocabularySize));
            }
        }
    }

    /// <summary>Samples the sequences whose known tokens are all computed, and reads rows out to those that asked for them.</summary>
    public void Process(ForwardBatch batch, List<Sequence> sequences, Matrix hidden)
    {
        _count = 0;
        for (int i = 0; i < sequences.Count; i++)
        {
            if (sequences[i].Request.Reader is null && sequences[i].Pending == 0)
            {
                // The row of the last known token, then one row for each guessed token.
                Want(batch.Slices[i].FirstRow + batch.Slices[i].RowCount - sequences[i].DraftCount - 1, sequences[i].DraftCount + 1, i, 0);
            }
        }

        int drawn = _count;
        for (int i = 0; i < sequences.Count; i++)
        {
            if (sequences[i].Request.Reader is { } reader)
            {
                Read(sequences[i], reader, in batch.Slices[i], i, hidden);
            }
        }

        for (int done = 0; done < _count; done += forward.MaxLogitRows)
        {
            int count = Math.Min(forward.MaxLogitRows, _count - done);
            ProcessLogits(sequences, done, count, Math.Clamp(done + count - drawn, 0, count), alone: false);
        }

        foreach (Sequence sequence in sequences)
        {
            if (sequence.Request.Reader is not null && sequence.Pending == 0)
            {
                sequence.Finish ??= EngineFinish.Stop;
            }
        }
    }

    /// <summary>Computes and delivers some of the wanted rows; the last <paramref name="read"/> of them are read out. A failure is traced to its sequence by computing each alone; only one that fails again is ended.</summary>
    private void ProcessLogits(List<Sequence> sequences, int first, int count, int read, bool alone)
    {
        Matrix logits;
        try
        {
            logits = forward.Logits(_rows.AsSpan(first, count), read);
        }
        catch (Exception exception) when (alone)
        {
            sequences[_owners[first]].Fail(exception);
            return;
        }
        catch (Exception)
        {
            for (int end = first + count; first < end; first += count)
            {
                count = _owners.AsSpan(first, end - first).IndexOfAnyExcept(_owners[first]) is >= 0 and int others ? others : end - first;
                ProcessLogits(sequences, first, count, sequences[_owners[first]].Request.Reader is null ? 0 : count, alone: true);
            }

            return;
        }

        Span<float> values = logits.Read(0, count);
        for (int i = 0; i < count; i++)
        {
            Deliver(sequences[_owners[first + i]], _offsets[first + i], values.Slice(i * logits.Columns, logits.Columns));
        }
    }

    private void Want(int firstRow, int count, int owner, int firstOffset)
    {
        for (int i = 0; i < count; i++, _count++)
        {
            _rows[_count] = firstRow + i;
            _owners[_count] = owner;
            _offsets[_count] = firstOffset + i;
        }
    }

    private void Read(Sequence sequence, RowReader reader, in BatchSlice slice, int owner, Matrix hidden)
    {
        int skip = Math.Clamp(sequence.NextRow - slice.StartPosition, 0, slice.RowCount);
        if (!reader.WantsHidden)
        {
            Want(slice.FirstRow + skip, slice.RowCount - skip, owner, slice.StartPosition + skip);
            return;
        }

        Span<float> values = hidden.Read(slice.FirstRow + skip, slice.RowCount - skip);
        for (int i = skip; i < slice.RowCount && sequence.Finish is null; i++)
        {
            ReadRow(sequence, slice.StartPosition + i, values.Slice((i - skip) * hidden.Columns, hidden.Columns));
        }
    }

    /// <summary>Gives a sequence one row of logits. <paramref name="offset"/> is the position for a reader, else how many guessed tokens come before the row.</summary>
    private void Deliver(Sequence sequence, int offset, Span<float> logits)
    {
        if (sequence.Finish is not null)
        {
            return;
        }

        if (sequence.Request.Reader is not null)
        {
            ReadRow(sequence, offset, logits);
        }
        else if (sequence.FollowsDraft && sequence.AcceptedDraft == offset)
        {
            Continue(sequence, logits);
        }
    }

    private static void ReadRow(Sequence sequence, int position, ReadOnlySpan<float> values)
    {
        try
        {
            sequence.Request.Reader!.OnRow(position, values);
            sequence.NextRow = position + 1;
        }
        catch (Exception exception)
        {
            sequence.Fail(exception);
        }
    }

    /// <summary>Draws the next token, and takes those that a grammar then forces. What throws here is the request's own.</summary>
    private void Continue(Sequence sequence, Span<float> logits)
    {
        try
        {
            gaps.Forbid(logits);
            ITokenConstraint? constraint = sequence.Request.Constraint;
            if (constraint is not null && !TryPrepare(constraint))
            {
                if (sequence.HeldLogits is null)
                {
                    sequence.Hold(logits);
                }

                return;
            }

            bool masked = constraint is not null && constraint.TryFillMask(_mask);
            LogProbabilityOptions? wanted = sequence.Request.LogProbabilities;
            int token = wanted is null ? sequence.Sampler!.Sample(logits, masked ? _mask : default) : Sample(sequence.Sampler!, logits, masked ? _mask : default, wanted);
            bool goesOn = Take(sequence, token, wanted is null ? null : TokenLogProbabilities.Of(_logits, token, wanted.Top));

            // Of a token that is not computed the model's opinion is not known: who asks for it has forced tokens drawn under the mask, one a step.
            if (goesOn && constraint is not null && wanted is not { Constrained: false })
            {
                long budget = Share();
                _maskBudget -= budget;
                int forced = constraint.GetForcedTokens(_forced, ref budget);
                _maskBudget += budget;
                for (int i = 0; i < forced && Take(sequence, _forced[i], wanted is null ? null : TokenLogProbabilities.Certain(_forced[i], wanted.Top)); i++)
                {
                }
            }
        }
        catch (Exception exception)
        {
            sequence.Fail(exception);
        }

        sequence.LetGo();
    }

    private bool TryPrepare(ITokenConstraint constraint)
    {
        long budget = Share();
        _maskBudget -= budget;
        bool prepared = constraint.TryPrepare(ref budget);
        _maskBudget += budget;
        return prepared;
    }

    private long Share() => Math.Max(LeastMaskBudget, _maskBudget / 2);

    /// <summary>Draws a token and keeps the logits that the request wants to know.</summary>
    private int Sample(Sampler sampler, Span<float> logits, ReadOnlySpan<ulong> mask, LogProbabilityOptions wanted)
    {
        if (_logits.Length == 0)
        {
            _logits = new float[config.VocabularySize];
        }

        if (!wanted.Constrained)
        {
            logits.CopyTo(_logits);
        }

        return sampler.Sample(logits, mask, wanted.Constrained ? _logits : default);
    }

    /// <summary>Adds a token to the answer. False: it was the last.</summary>
    private bool Take(Sequence sequence, int token, TokenLogProbabilities? logProbabilities)
    {
        sequence.Append(token);
        if (IsStop(sequence.Request.StopTokens, token))
        {
            sequence.Finish = EngineFinish.Stop;
            return false;
        }

        sequence.Sampler!.Accept(token);
        sequence.Request.Constraint?.Accept(token);
        metrics.Token(sequence);
        if (logProbabilities is { } values)
        {
            sequence.Request.Sink.OnLogProbabilities(in values);
        }

        if (!sequence.Request.Sink.OnToken(token))
        {
            sequence.Finish = EngineFinish.Stop;
        }
        else if (sequence.Count >= sequence.MaxTokens)
        {
            sequence.Finish = EngineFinish.Length;
        }

        return sequence.Finish is null;
    }

    private static bool IsStop(IReadOnlyList<int> stopTokens, int token)
    {
        for (int i = 0; i < stopTokens.Count; i++)
        {
            if (stopTokens[i] == token)
            {
                return true;
            }
        }

        return false;
    }
}
