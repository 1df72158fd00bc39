using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>Stands before the symbol at <paramref name="position"/> of a sequence.</summary>
internal sealed class SequenceFrame(Symbol[] sequence, int position, Frame? parent) : Frame(parent, HashCode.Combine(System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(sequence), position))
{
    private readonly Symbol[] _sequence = sequence;
    private readonly int _position = position;

    private const int UncheckedSteps = 100;

    /// <summary>Adds the parse states at the start of a sequence's remainder. Rules nest, and end, as deep as the text does, so the work list is explicit.</summary>
    public static void Enter(Symbol[] sequence, int position, Frame? parent, ParseStateList next)
    {
        Stack<(Symbol[] Sequence, int Position, Frame? Parent)>? todo = null;
        HashSet<(Symbol[], int, Frame?)>? seen = null; // With empty rules in a row the same place is reached many times.
        for (int steps = 0; ; steps++)
        {
            GrammarWork.Spend(5);
            if (steps > UncheckedSteps && !(seen ??= new(PlaceComparer.Instance)).Add((sequence, position, parent)))
            {
                // Visited before.
            }
            else if (position == sequence.Length)
            {
                if (parent is SequenceFrame up)
                {
                    (sequence, position, parent) = (up._sequence, up._position, up.Parent);
                    continue;
                }

                Finish(parent, next);
            }
            else
            {
                // Nothing follows the last symbol, so it needs no frame: right recursion does not grow the stack.
                Frame? after = position + 1 == sequence.Length ? parent : new SequenceFrame(sequence, position + 1, parent);
                if (sequence[position] is RuleSymbol rule)
                {
                    todo ??= new();
                    for (int i = rule.Rule.Alternatives.Count - 1; i >= 0; i--)
                    {
                        todo.Push((rule.Rule.Alternatives[i], 0, after));
                    }
                }
                else
                {
                    ((TerminalSymbol)sequence[position]).Begin(after, next);
                }
            }

            if (todo is null || next.Overflowed || !todo.TryPop(out (Symbol[] Sequence, int Position, Frame? Parent) top))
            {
                return;
            }

            (sequence, position, parent) = top;
        }
    }

    public override void Step(int state, int used, byte b, ParseStateList next) => throw new InvalidOperationException();

    public override void ChildDone(ParseStateList next) => Enter(_sequence, _position, Parent, next);

    protected override bool SameContent(Frame other) => other is SequenceFrame o && ReferenceEquals(_sequence, o._sequence) && _position == o._position;

    private sealed class PlaceComparer : IEqualityComparer<(Symbol[] Sequence, int Position, Frame? Parent)>
    {
        public static readonly PlaceComparer Instance = new();

        public bool Equals((Symbol[] Sequence, int Position, Frame? Parent) x, (Symbol[] Sequence, int Position, Frame? Parent) y) =>
            ReferenceEquals(x.Sequence, y.Sequence) && x.Position == y.Position && Same(x.Parent, y.Parent);

        public int GetHashCode((Symbol[] Sequence, int Position, Frame? Parent) place) =>
            HashCode.Combine(System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(place.Sequence), place.Position, place.Parent?.Hash ?? 0);
    }
}
