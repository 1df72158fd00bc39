using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// The launches of a step of generation, which are held back until somebody waits for their result. A step differs from the one before in what lies in device memory (tokens, positions,
/// block tables), not in its launches: so the second time they come they are made into a graph, and from then on the driver is asked once a step, not some hundred times. What is
/// compared is every kernel, size and argument: whatever changes, a step never runs a graph that is not its own.
/// </summary>
internal sealed unsafe class CudaGraphs(CudaLibrary library)
{
    private const int Capacity = 32, ThreadLocal = 1;

    private readonly List<Recording> _known = []; // the latest last
    private Recording _current = new();
    private bool _isRefused;

    /// <summary>Launches that are held back.</summary>
    public int Count => _current.Launches.Count;

    /// <summary>Holds a launch back; the arguments are copied.</summary>
    public void Add(nint kernel, (int X, int Y, int Z) grid, int threads, ReadOnlySpan<KernelArgument> arguments) => _current.Add(kernel, grid, threads, arguments);

    /// <summary>Carries out what was held back: as a graph where it is known.</summary>
    /// <returns>What the driver says of launches; 0 where all is well.</returns>
    public int Flush(nint stream)
    {
        if (_isRefused)
        {
            int code = _current.Launch(library, stream);
            _current.Clear();
            return code;
        }

        int known = _known.FindLastIndex(recording => recording.Equals(_current));
        if (known < 0)
        {
            Recording first = _current;
            _current = new Recording();
            Remember(first);
            return first.Launch(library, stream);
        }

        Recording recording = _known[known];
        _known.RemoveAt(known);
        _known.Add(recording);
        _current.Clear();
        return recording.Graph != 0 || TryCapture(recording, stream) ? library.GraphLaunch(recording.Graph, stream) : recording.Launch(library, stream);
    }

    public void Dispose() => _known.ForEach(Destroy);

    private void Remember(Recording recording)
    {
        if (_known.Count == Capacity)
        {
            Destroy(_known[0]);
            _known.RemoveAt(0);
        }

        _known.Add(recording);
    }

    /// <summary>Makes the graph of some launches. Where the driver will not, all are launched one by one from then on: that is slower and no fault.</summary>
    private bool TryCapture(Recording recording, nint stream)
    {
        nint graph = 0, executable = 0;
        if (library.StreamBeginCapture(stream, ThreadLocal) == 0)
        {
            bool isWhole = recording.Launch(library, stream) == 0;
            if (library.StreamEndCapture(stream, &graph) == 0 && isWhole && library.GraphInstantiate(&executable, graph, 0) == 0)
            {
                recording.Graph = executable;
            }

            if (graph != 0)
            {
                _ = library.GraphDestroy(graph);
            }
        }

        _isRefused = recording.Graph == 0;
        return !_isRefused;
    }

    private void Destroy(Recording recording)
    {
        if (recording.Graph != 0)
        {
            _ = library.GraphExecDestroy(recording.Graph);
        }
    }

    /// <summary>Launches with copies of their arguments.</summary>
    private sealed class Recording
    {
        private readonly List<byte> _bytes = [];
        private readonly List<int> _places = [];

        public List<(nint Kernel, (int X, int Y, int Z) Grid, int Threads, int Arguments)> Launches { get; } = [];

        /// <summary>The graph of them; 0: none yet.</summary>
        public nint Graph { get; set; }

        public void Add(nint kernel, (int X, int Y, int Z) grid, int threads, ReadOnlySpan<KernelArgument> arguments)
        {
            Launches.Add((kernel, grid, threads, arguments.Length));
            fixed (KernelArgument* first = arguments)
            {
                for (int i = 0; i < arguments.Length; i++)
                {
                    _places.Add(_bytes.Count);
                    _bytes.AddRange(new ReadOnlySpan<byte>(KernelArgument.PlaceOf(first + i), first[i].Bytes));
                }
            }
        }

        public int Launch(CudaLibrary library, nint stream)
        {
            void** places = stackalloc void*[32];
            fixed (byte* bytes = CollectionsMarshal.AsSpan(_bytes))
            {
                int next = 0;
                foreach ((nint kernel, (int X, int Y, int Z) grid, int threads, int arguments) in Launches)
                {
                    for (int i = 0; i < arguments; i++)
                    {
                        places[i] = bytes + _places[next++];
                    }

                    if (library.LaunchKernel(kernel, (uint)grid.X, (uint)grid.Y, (uint)grid.Z, (uint)threads, 1, 1, 0, stream, places, null) is var code and not 0)
                    {
                        return code;
                    }
                }
            }

            return 0;
        }

        public bool Equals(Recording other) =>
            CollectionsMarshal.AsSpan(Launches).SequenceEqual(CollectionsMarshal.AsSpan(other.Launches)) && CollectionsMarshal.AsSpan(_bytes).SequenceEqual(CollectionsMarshal.AsSpan(other._bytes));

        public void Clear()
        {
            Launches.Clear();
            _places.Clear();
            _bytes.Clear();
        }
    }
}
