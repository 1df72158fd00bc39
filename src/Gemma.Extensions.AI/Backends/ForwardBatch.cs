using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends;

/// <summary>Consecutive rows of a batch that belong to one sequence, all of prompts or all generated. Row r is at position <see cref="StartPosition"/> + r.</summary>
internal struct BatchSlice
{
    /// <summary>First row of the slice in the batch.</summary>
    public int FirstRow;

    /// <summary>Rows of the slice.</summary>
    public int RowCount;

    /// <summary>Position of the first row in its sequence.</summary>
    public int StartPosition;

    /// <summary>Block numbers of the local layers' pool by position / blockTokens; -1 where a block has left the window.</summary>
    public int[] LocalBlocks;

    /// <summary>Block numbers of the global layers' pool by position / blockTokens.</summary>
    public int[] GlobalBlocks;

    /// <summary>True if the rows are of a prompt, false if they were generated or are guesses.</summary>
    public bool IsPrompt;

    /// <summary>The sequence's adapter: its updates in the forward pass's numbering; null for the base model.</summary>
    public LowRankMatrix?[]? Adapter;
}

/// <summary>The rows of a batch that run with one adapter.</summary>
internal struct AdapterGroup
{
    public LowRankMatrix?[] Adapter;

    /// <summary>Start of the group's row numbers in the list of all groups' rows.</summary>
    public int Start;

    /// <summary>Rows of the group.</summary>
    public int Count;

    /// <summary>Number of prompt rows among them; they come last.</summary>
    public int PromptCount;
}

/// <summary>The input of one forward pass: rows of one or more sequences, the generated ones before those of prompts. Reused between steps, so a step allocates nothing.</summary>
internal sealed class ForwardBatch(int maxRows, int maxSlices)
{
    private readonly AdapterGroup[] _groups = new AdapterGroup[maxSlices];
    private readonly int[] _groupRows = new int[maxRows];
    private bool _hasAdapters;

    public int[] Tokens { get; } = new int[maxRows];
    public BatchSlice[] Slices { get; } = new BatchSlice[maxSlices];
    public int Rows { get; private set; }

    /// <summary>Rows of prompts, the last ones of the batch.</summary>
    public int PromptRows { get; private set; }

    public int SliceCount { get; private set; }

    public int MaxRows => Tokens.Length;
    public int MaxSlices => Slices.Length;

    public ReadOnlySpan<BatchSlice> ActiveSlices => Slices.AsSpan(0, SliceCount);

    /// <summary>Empties the batch, which then holds nothing of its sequences: an adapter that was unloaded is not kept by the last step that used it.</summary>
    public void Clear()
    {
        Array.Clear(Slices, 0, SliceCount);
        Array.Clear(_groups, 0, _hasAdapters ? SliceCount : 0); // no more groups than slices
        Rows = 0;
        PromptRows = 0;
        SliceCount = 0;
        _hasAdapters = false;
    }

    /// <summary>Adds consecutive tokens of one sequence, all of its prompt or all generated.</summary>
    /// <exception cref="InvalidOperationException">Generated tokens after those of a prompt.</exception>
    public void Add(ReadOnlySpan<int> tokens, int startPosition, int[] localBlocks, int[] globalBlocks, LowRankMatrix?[]? adapter = null, bool isPrompt = false)
    {
        if (PromptRows > 0 && !isPrompt)
        {
            throw new InvalidOperationException("Generated tokens come before those of prompts in a batch.");
        }

        tokens.CopyTo(Tokens.AsSpan(Rows));
        Slices[SliceCount++] = new BatchSlice
        {
            FirstRow = Rows,
            RowCount = tokens.Length,
            StartPosition = startPosition,
            LocalBlocks = localBlocks,
            GlobalBlocks = globalBlocks,
            IsPrompt = isPrompt,
            Adapter = adapter,
        };
        Rows += tokens.Length;
        PromptRows += isPrompt ? tokens.Length : 0;
        _hasAdapters |= adapter is not null;
    }

    /// <summary>The adapters of the batch, each once; valid until the batch changes. The rows of a group need not be contiguous.</summary>
    public ReadOnlySpan<AdapterGroup> GroupByAdapter()
    {
        int groups = 0, rows = 0;
        for (int i = 0; _hasAdapters && i < SliceCount; i++)
        {
            if (Slices[i].Adapter is { } adapter && !Contains(_groups.AsSpan(0, groups), adapter))
            {
                int start = rows, prompts = 0;
                for (int j = i; j < SliceCount; j++)
                {
                    for (int r = 0; r < Slices[j].RowCount && Slices[j].Adapter == adapter; r++)
                    {
                        _groupRows[rows++] = Slices[j].FirstRow + r;
                        prompts += Slices[j].IsPrompt ? 1 : 0;
                    }
                }

                _groups[groups++] = new AdapterGroup { Adapter = adapter, Start = start, Count = rows - start, PromptCount = prompts };
            }
        }

        return _groups.AsSpan(0, groups);

        static bool Contains(ReadOnlySpan<AdapterGroup> groups, LowRankMatrix?[] adapter)
        {
            foreach (ref readonly AdapterGroup group in groups)
            {
                if (group.Adapter == adapter)
                {
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>The numbers of a group's rows, ascending.</summary>
    public ReadOnlySpan<int> RowsOf(in AdapterGroup group) => _groupRows.AsSpan(group.Start, group.Count);
}
