using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cuda;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>A cuBLASLt that is not there: what the backend calls of it, computed on the host when the stream comes to it.</summary>
internal sealed unsafe partial class InterpretedGpu
{
    private const int NotSupported = 15;

    private static readonly Dictionary<string, nint> s_cublas = new()
    {
        ["cublasLtCreate"] = (nint)(delegate* unmanaged<nint*, int>)&CublasCreate,
        ["cublasLtDestroy"] = (nint)(delegate* unmanaged<nint, int>)&CublasRelease,
        ["cublasLtMatmulDescCreate"] = (nint)(delegate* unmanaged<nint*, int, int, int>)&DescriptionCreate,
        ["cublasLtMatmulDescSetAttribute"] = (nint)(delegate* unmanaged<nint, int, void*, nuint, int>)&DescriptionSet,
        ["cublasLtMatmulDescDestroy"] = (nint)(delegate* unmanaged<nint, int>)&CublasRelease,
        ["cublasLtMatrixLayoutCreate"] = (nint)(delegate* unmanaged<nint*, int, ulong, ulong, long, int>)&LayoutCreate,
        ["cublasLtMatrixLayoutDestroy"] = (nint)(delegate* unmanaged<nint, int>)&CublasRelease,
        ["cublasLtMatmulPreferenceCreate"] = (nint)(delegate* unmanaged<nint*, int>)&CublasCreate,
        ["cublasLtMatmulPreferenceSetAttribute"] = (nint)(delegate* unmanaged<nint, int, void*, nuint, int>)&PreferenceSet,
        ["cublasLtMatmulPreferenceDestroy"] = (nint)(delegate* unmanaged<nint, int>)&CublasRelease,
        ["cublasLtMatmulAlgoGetHeuristic"] = (nint)(delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, CublasHeuristic*, int*, int>)&Heuristic,
        ["cublasLtMatmul"] = (nint)(delegate* unmanaged<nint, nint, float*, ulong, nint, ulong, nint, float*, ulong, nint, ulong, nint, CublasAlgorithm*, ulong, nuint, nint, int>)&Matmul,
    };

    private readonly Dictionary<nint, (int Type, int Rows, int Columns, int Leading)?> _cublasObjects = [];
    private nint _lastCublas = 1000;

    /// <summary>What the library does wrong: <c>batch</c>: a result depends on the number of rows; <c>wrong</c>: it is another; or a function that fails.</summary>
    public string? CublasFault { get; init; }

    /// <summary>Products that it computed.</summary>
    public int CublasProducts { get; private set; }

    /// <summary>Handles, descriptions, layouts and preferences that were not given back.</summary>
    public int CublasObjects => _cublasObjects.Count;

    public static CublasLibrary CreateCublas(string? missing = null) => new(name => name == missing ? 0 : s_cublas[name]);

    private static int Cublas(string function, Func<InterpretedGpu, int> body) => t_current!.CublasFault == function ? NotSupported : body(t_current);

    private int Add(nint* handle, (int, int, int, int)? layout)
    {
        *handle = ++_lastCublas;
        _cublasObjects.Add(*handle, layout);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static int CublasCreate(nint* handle) => Cublas("cublasLtCreate", gpu => gpu.Add(handle, null));

    [UnmanagedCallersOnly]
    private static int CublasRelease(nint handle) => t_current!._cublasObjects.Remove(handle) ? 0 : NotSupported;

    [UnmanagedCallersOnly]
    private static int DescriptionCreate(nint* description, int compute, int scale) => Cublas("cublasLtMatmulDescCreate", gpu => (compute, scale) == (68, 0) ? gpu.Add(description, null) : NotSupported);

    [UnmanagedCallersOnly]
    private static int DescriptionSet(nint description, int attribute, void* value, nuint bytes) => (attribute, *(int*)value, bytes) == (3, 1, 4) ? 0 : NotSupported;

    [UnmanagedCallersOnly]
    private static int LayoutCreate(nint* layout, int type, ulong rows, ulong columns, long leading) =>
        Cublas("cublasLtMatrixLayoutCreate", gpu => leading >= (long)rows ? gpu.Add(layout, (type, (int)rows, (int)columns, (int)leading)) : NotSupported);

    [UnmanagedCallersOnly]
    private static int PreferenceSet(nint preference, int attribute, void* value, nuint bytes) => attribute switch { 1 => bytes == 8, 3 or (>= 5 and <= 8) => bytes == 4, _ => false } ? 0 : NotSupported;

    [UnmanagedCallersOnly]
    private static int Heuristic(nint handle, nint description, nint a, nint b, nint c, nint d, nint preference, int requested, CublasHeuristic* results, int* count) =>
        Cublas("cublasLtMatmulAlgoGetHeuristic", gpu =>
        {
            *results = new CublasHeuristic { Algorithm = new CublasAlgorithm { A = 7 }, WorkspaceBytes = 1024 };
            *count = gpu.CublasFault == "none" ? 0 : 1;
            return 0;
        });

    [UnmanagedCallersOnly]
    private static int Matmul(
        nint handle, nint description, float* alpha, ulong a, nint aLayout, ulong b, nint bLayout, float* beta, ulong c, nint cLayout, ulong d, nint dLayout, CublasAlgorithm* algorithm, ulong workspace, nuint bytes,
        nint stream) => Cublas("cublasLtMatmul", gpu =>
        {
            (int aType, int columns, int weightRows, int aLeading) = gpu._cublasObjects[aLayout]!.Value;
            (int bType, int inner, int rows, int bLeading) = gpu._cublasObjects[bLayout]!.Value;
            (int dType, int outputs, int dRows, int dLeading) = gpu._cublasObjects[dLayout]!.Value;
            if ((aType, bType, dType, inner, outputs, dRows, algorithm->A, *alpha, *beta) != (14, 14, 0, columns, weightRows, rows, 7, 1, 0) || a % 64 != 0 || b % 64 != 0)
            {
                return NotSupported;
            }

            gpu.CheckDevice(a, (nuint)(2L * aLeading * weightRows));
            gpu.CheckDevice(b, (nuint)(2L * bLeading * rows));
            gpu.CheckDevice(d, (nuint)(4L * ((long)dLeading * (rows - 1) + weightRows)));
            gpu.CheckDevice(workspace, bytes);
            gpu.CublasProducts++;
            float extra = gpu.CublasFault switch { "batch" => 1e-6f * rows, "wrong" => 0.5f, _ => 0 };
            return gpu.Later(() =>
            {
                for (int r = 0; r < rows; r++)
                {
                    for (int n = 0; n < weightRows; n++)
                    {
                        float sum = extra;
                        for (int k = 0; k < columns; k++)
                        {
                            sum += Number(a, (long)n * aLeading + k) * Number(b, (long)r * bLeading + k);
                        }

                        ((float*)d)[(long)r * dLeading + n] = sum;
                    }
                }
            });
        });

    private static float Number(ulong matrix, long i) => BitConverter.Int32BitsToSingle(((ushort*)matrix)[i] << 16);
}
