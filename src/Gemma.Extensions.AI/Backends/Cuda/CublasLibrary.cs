using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cuda;

/// <summary>
/// The functions of NVIDIA's cuBLASLt that products of prompts call, where the CUDA toolkit or one of its packages is installed (<c>libcublasLt.so</c>, <c>cublasLt64.dll</c>, versions 11 to
/// 13). Nothing depends on it: without it the kernels of this project multiply.
/// </summary>
internal sealed unsafe class CublasLibrary
{
    public readonly delegate* unmanaged<nint*, int> Create;
    public readonly delegate* unmanaged<nint, int> Destroy;
    public readonly delegate* unmanaged<nint*, int, int, int> MatmulDescCreate;
    public readonly delegate* unmanaged<nint, int, void*, nuint, int> MatmulDescSetAttribute;
    public readonly delegate* unmanaged<nint, int> MatmulDescDestroy;
    public readonly delegate* unmanaged<nint*, int, ulong, ulong, long, int> MatrixLayoutCreate;
    public readonly delegate* unmanaged<nint, int> MatrixLayoutDestroy;
    public readonly delegate* unmanaged<nint*, int> PreferenceCreate;
    public readonly delegate* unmanaged<nint, int, void*, nuint, int> PreferenceSetAttribute;
    public readonly delegate* unmanaged<nint, int> PreferenceDestroy;
    public readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, CublasHeuristic*, int*, int> GetHeuristic;
    public readonly delegate* unmanaged<nint, nint, float*, ulong, nint, ulong, nint, float*, ulong, nint, ulong, nint, CublasAlgorithm*, ulong, nuint, nint, int> Matmul;

    /// <param name="export">Address of a function by its name; 0 where the library does not have it.</param>
    /// <exception cref="EntryPointNotFoundException">A function is missing.</exception>
    internal CublasLibrary(Func<string, nint> export)
    {
        Create = (delegate* unmanaged<nint*, int>)Find("cublasLtCreate");
        Destroy = (delegate* unmanaged<nint, int>)Find("cublasLtDestroy");
        MatmulDescCreate = (delegate* unmanaged<nint*, int, int, int>)Find("cublasLtMatmulDescCreate");
        MatmulDescSetAttribute = (delegate* unmanaged<nint, int, void*, nuint, int>)Find("cublasLtMatmulDescSetAttribute");
        MatmulDescDestroy = (delegate* unmanaged<nint, int>)Find("cublasLtMatmulDescDestroy");
        MatrixLayoutCreate = (delegate* unmanaged<nint*, int, ulong, ulong, long, int>)Find("cublasLtMatrixLayoutCreate");
        MatrixLayoutDestroy = (delegate* unmanaged<nint, int>)Find("cublasLtMatrixLayoutDestroy");
        PreferenceCreate = (delegate* unmanaged<nint*, int>)Find("cublasLtMatmulPreferenceCreate");
        PreferenceSetAttribute = (delegate* unmanaged<nint, int, void*, nuint, int>)Find("cublasLtMatmulPreferenceSetAttribute");
        PreferenceDestroy = (delegate* unmanaged<nint, int>)Find("cublasLtMatmulPreferenceDestroy");
        GetHeuristic = (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, CublasHeuristic*, int*, int>)Find("cublasLtMatmulAlgoGetHeuristic");
        Matmul = (delegate* unmanaged<nint, nint, float*, ulong, nint, ulong, nint, float*, ulong, nint, ulong, nint, CublasAlgorithm*, ulong, nuint, nint, int>)Find("cublasLtMatmul");

        nint Find(string name) => export(name) is var address and not 0 ? address : throw new EntryPointNotFoundException(name);
    }

    /// <summary>The library of this machine; null where there is none that can be used.</summary>
    public static CublasLibrary? TryLoad()
    {
        foreach (int version in (ReadOnlySpan<int>)[13, 12, 11])
        {
            if (NativeLibrary.TryLoad(OperatingSystem.IsWindows() ? $"cublasLt64_{version}.dll" : $"libcublasLt.so.{version}", out nint library))
            {
                try
                {
                    return new CublasLibrary(function => NativeLibrary.TryGetExport(library, function, out nint address) ? address : 0);
                }
                catch (EntryPointNotFoundException)
                {
                    NativeLibrary.Free(library);
                }
            }
        }

        return null;
    }
}

/// <summary>cublasLtMatmulAlgo_t: how a product is computed, opaque.</summary>
internal struct CublasAlgorithm
{
    public ulong A, B, C, D, E, F, G, H;
}

/// <summary>cublasLtMatmulHeuristicResult_t.</summary>
internal struct CublasHeuristic
{
    public CublasAlgorithm Algorithm;
    public nuint WorkspaceBytes;
    public int State;
    public float Waves;
    public int Reserved0, Reserved1, Reserved2, Reserved3;
}
