namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// Products of prompts by cuBLASLt. Each shape of weights is computed by one algorithm, whatever the number of rows, so that a row's result does not depend on its batch; before an algorithm
/// is used, it has to show that on some rows, together and apart, and agree with this project's kernel. Where it does not, or where the library fails, that kernel multiplies such weights.
/// </summary>
internal sealed unsafe class CublasProducts(CublasLibrary library, CudaContext context) : IDisposable
{
    private const int Float32 = 0, BFloat16 = 14, ComputeFloat32 = 68; // cudaDataType_t, cublasComputeType_t
    private const int TransposeA = 3; // cublasLtMatmulDescAttributes_t
    private const int WorkspaceBytes = 1, ReductionSchemes = 3, AlignmentA = 5, AlignmentB = 6, AlignmentC = 7, AlignmentD = 8; // cublasLtMatmulPreferenceAttributes_t
    private const long Workspace = 32 << 20;

    /// <summary>Rows that the algorithm is chosen for, and rows that it is tried on.</summary>
    private const int UsualRows = 512, TrialRows = 130;

    private readonly CudaScratch _workspace = new(context, "work space"), _trial = new(context, "work space"), _second = new(context, "work space");
    private readonly Dictionary<Shape, CublasAlgorithm?> _algorithms = [];
    private nint _handle, _description;
    private bool _isRefused;

    /// <summary>Multiplies; false where the caller has to.</summary>
    /// <param name="weights">[weightRows, columns] of bfloat16.</param>
    /// <param name="x">[rows, columns] of bfloat16.</param>
    /// <param name="output">[rows, outputColumns], of which the first weightRows columns are written.</param>
    /// <param name="shape">The weights' shape.</param>
    /// <param name="rows">Rows of x.</param>
    /// <param name="multiply">The kernel of this project: output and rows, for rows of weights taken as x.</param>
    public bool TryMultiply(ulong weights, ulong x, ulong output, Shape shape, int rows, Action<ulong, int> multiply)
    {
        if (_isRefused)
        {
            return false;
        }

        if (!_algorithms.TryGetValue(shape, out CublasAlgorithm? algorithm))
        {
            algorithm = Find(shape);
            if (algorithm is { } found && !IsSound(found, weights, shape, multiply))
            {
                algorithm = null;
            }

            _algorithms.Add(shape, algorithm);
        }

        return algorithm is { } usable && Multiply(usable, weights, x, output, shape, rows);
    }

    public void Dispose()
    {
        if (_description != 0)
        {
            _ = library.MatmulDescDestroy(_description);
        }

        if (_handle != 0)
        {
            _ = library.Destroy(_handle);
        }
    }

    /// <summary>The algorithm that the library recommends; null where it has none.</summary>
    private CublasAlgorithm? Find(Shape shape)
    {
        nint preference = 0;
        if (!TryStart() || library.PreferenceCreate(&preference) != 0)
        {
            return null;
        }

        ulong workspace = Workspace;
        uint none = 0, aligned = 64, single = 4;
        CublasHeuristic result = default;
        int count = 0;
        bool isFound = library.PreferenceSetAttribute(preference, WorkspaceBytes, &workspace, sizeof(ulong)) == 0
            && library.PreferenceSetAttribute(preference, ReductionSchemes, &none, sizeof(uint)) == 0
            && library.PreferenceSetAttribute(preference, AlignmentA, &aligned, sizeof(uint)) == 0
            && library.PreferenceSetAttribute(preference, AlignmentB, &aligned, sizeof(uint)) == 0
            && library.PreferenceSetAttribute(preference, AlignmentC, &single, sizeof(uint)) == 0
            && library.PreferenceSetAttribute(preference, AlignmentD, &single, sizeof(uint)) == 0;
        Layouts layouts = CreateLayouts(shape, UsualRows);
        isFound = isFound && layouts.AreWhole && library.GetHeuristic(_handle, _description, layouts.A, layouts.B, layouts.D, layouts.D, preference, 1, &result, &count) == 0;
        Release(layouts);
        _ = library.PreferenceDestroy(preference);
        return isFound && count > 0 && result.State == 0 && result.WorkspaceBytes <= Workspace ? result.Algorithm : null;
    }

    private bool TryStart()
    {
        if (_handle == 0)
        {
            nint handle = 0, description = 0;
            int transpose = 1;
            using (context.UseStream())
            {
                _isRefused = library.Create(&handle) != 0;
            }

            _handle = handle;
            _isRefused = _isRefused || library.MatmulDescCreate(&description, ComputeFloat32, Float32) != 0;
            _description = description;
            _isRefused = _isRefused || library.MatmulDescSetAttribute(description, TransposeA, &transpose, sizeof(int)) != 0;
        }

        return !_isRefused;
    }

    private bool Multiply(CublasAlgorithm algorithm, ulong weights, ulong x, ulong output, Shape shape, int rows)
    {
        float one = 1, zero = 0;
        ulong workspace = _workspace.Reserve(Workspace);
        Layouts layouts = CreateLayouts(shape, rows);
        bool isDone = layouts.AreWhole;
        using (context.UseStream())
        {
            isDone = isDone && library.Matmul(
                _handle, _description, &one, weights, layouts.A, x, layouts.B, &zero, output, layouts.D, output, layouts.D, &algorithm, workspace, (nuint)Workspace, context.Stream) == 0;
        }

        Release(layouts);
        return isDone;
    }

    /// <summary>Some rows of the weights are taken as x: together and in pieces they must give the same bits, and about what this project's kernel gives.</summary>
    private bool IsSound(CublasAlgorithm algorithm, ulong weights, Shape shape, Action<ulong, int> multiply)
    {
        int rows = Math.Min(TrialRows, shape.WeightRows), numbers = rows * shape.OutputColumns;
        if (rows < 2)
        {
            return false;
        }

        long bytes = 4L * numbers;
        ulong whole = _trial.Reserve(bytes), pieces = _second.Reserve(bytes);
        context.Clear(whole, bytes);
        context.Clear(pieces, bytes);
        bool isDone = Multiply(algorithm, weights, weights, whole, shape, rows);
        for (int row = 0, count = 1; row < rows && isDone; row += count, count = Math.Min(rows - row, 65))
        {
            isDone = Multiply(algorithm, weights, weights + (2ul * (ulong)row * (uint)shape.Columns), pieces + (4ul * (ulong)row * (uint)shape.OutputColumns), shape, count);
        }

        bool isSound = isDone;
        if (isDone)
        {
            float* read = (float*)context.AllocatePinned(2 * bytes);
            Span<float> first = new(read, numbers), second = new(read + numbers, numbers);
            context.Download(read, whole, bytes);
            context.Download(read + numbers, pieces, bytes);
            context.Wait();
            isSound = first.SequenceEqual(second);
            multiply(pieces, rows);
            context.Download(read + numbers, pieces, bytes);
            context.Wait();
            float largest = System.Numerics.Tensors.TensorPrimitives.MaxMagnitude<float>(second);
            System.Numerics.Tensors.TensorPrimitives.Subtract(first, second, second);
            isSound &= Math.Abs(System.Numerics.Tensors.TensorPrimitives.MaxMagnitude<float>(second)) <= 1e-4f * Math.Abs(largest);
            context.FreePinned(read);
        }

        _trial.Release();
        _second.Release();
        return isSound;
    }

    /// <summary>The library counts columns first: weights are [columns, weightRows] and transposed, x is [columns, rows], the output [weightRows, rows].</summary>
    private Layouts CreateLayouts(Shape shape, int rows)
    {
        nint a = 0, b = 0, d = 0;
        bool areWhole = library.MatrixLayoutCreate(&a, BFloat16, (ulong)shape.Columns, (ulong)shape.WeightRows, shape.Columns) == 0
            && library.MatrixLayoutCreate(&b, BFloat16, (ulong)shape.Columns, (ulong)rows, shape.Columns) == 0
            && library.MatrixLayoutCreate(&d, Float32, (ulong)shape.WeightRows, (ulong)rows, shape.OutputColumns) == 0;
        return new Layouts(a, b, d, areWhole);
    }

    private void Release(Layouts layouts)
    {
        foreach (nint layout in (ReadOnlySpan<nint>)[layouts.A, layouts.B, layouts.D])
        {
            if (layout != 0)
            {
                _ = library.MatrixLayoutDestroy(layout);
            }
        }
    }

    private readonly record struct Layouts(nint A, nint B, nint D, bool AreWhole);

    /// <summary>Of weights and of the output they are multiplied into.</summary>
    internal readonly record struct Shape(int WeightRows, int Columns, int OutputColumns);
}
