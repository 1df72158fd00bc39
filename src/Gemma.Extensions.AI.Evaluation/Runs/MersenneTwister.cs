using System.Numerics;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>
/// MT19937, seeded and sampled as Python's <c>random.Random</c> does, whose draws lm-evaluation-harness takes its examples by. Matsumoto and Nishimura, Mersenne Twister, 1998; the seeding is their
/// <c>init_by_array</c> over the seed's words of 32 bits.
/// </summary>
internal sealed class MersenneTwister
{
    private const int Length = 624, Middle = 397;
    private readonly uint[] _state = new uint[Length];
    private int _next = Length;

    public MersenneTwister(int seed)
    {
        uint key = (uint)Math.Abs((long)seed);
        _state[0] = 19650218;
        for (int i = 1; i < Length; i++)
        {
            _state[i] = 1812433253 * (_state[i - 1] ^ (_state[i - 1] >> 30)) + (uint)i;
        }

        int at = 1;
        for (int i = 0; i < Length; i++)
        {
            _state[at] = (_state[at] ^ ((_state[at - 1] ^ (_state[at - 1] >> 30)) * 1664525)) + key;
            at = Following(at);
        }

        for (int i = 1; i < Length; i++)
        {
            _state[at] = (_state[at] ^ ((_state[at - 1] ^ (_state[at - 1] >> 30)) * 1566083941)) - (uint)at;
            at = Following(at);
        }

        _state[0] = 0x80000000;

        int Following(int place)
        {
            if (place + 1 < Length)
            {
                return place + 1;
            }

            _state[0] = _state[Length - 1];
            return 1;
        }
    }

    /// <summary>Places of so many different items, in the order in which they are drawn.</summary>
    /// <param name="count">How many items there are, at least as many as are drawn.</param>
    /// <param name="drawn">How many to draw.</param>
    public int[] Sample(int count, int drawn)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(drawn, count);
        int[] places = new int[drawn];

        // Few items are shuffled; of many, what was drawn already is drawn again. Both give the same choice in law, but not in numbers, so that the border between them counts.
        int border = 21 + (drawn > 5 ? (int)Math.Pow(4, Math.Ceiling(Math.Log(drawn * 3.0, 4))) : 0);
        if (count <= border)
        {
            int[] pool = [.. Enumerable.Range(0, count)];
            for (int i = 0; i < drawn; i++)
            {
                int at = Below(count - i);
                places[i] = pool[at];
                pool[at] = pool[count - i - 1];
            }

            return places;
        }

        HashSet<int> taken = [];
        for (int i = 0; i < drawn; i++)
        {
            do
            {
                places[i] = Below(count);
            }
            while (!taken.Add(places[i]));
        }

        return places;
    }

    /// <summary>The next 32 bits.</summary>
    public uint Next()
    {
        if (_next == Length)
        {
            for (int i = 0; i < Length; i++)
            {
                uint mixed = (_state[i] & 0x80000000) | (_state[(i + 1) % Length] & 0x7fffffff);
                _state[i] = _state[(i + Middle) % Length] ^ (mixed >> 1) ^ ((mixed & 1) * 0x9908b0df);
            }

            _next = 0;
        }

        uint value = _state[_next++];
        value ^= value >> 11;
        value ^= (value << 7) & 0x9d2c5680;
        value ^= (value << 15) & 0xefc60000;
        return value ^ (value >> 18);
    }

    /// <summary>A number from 0 to below <paramref name="count"/>: the uppermost bits that suffice, drawn again where they are too large.</summary>
    private int Below(int count)
    {
        int bits = 32 - BitOperations.LeadingZeroCount((uint)count);
        uint value;
        do
        {
            value = Next() >> (32 - bits);
        }
        while (value >= count);
        return (int)value;
    }
}
