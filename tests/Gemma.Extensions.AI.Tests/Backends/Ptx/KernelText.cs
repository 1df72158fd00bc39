using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>
/// The kernels' sources and the PTX text that is made of them and checked in. <c>NVRTC=libnvrtc.so.11.2 Gemma.Extensions.AI.Tests -explicit only -method '*.CompileKernels'</c> makes it again.
/// NVIDIA's runtime compiler needs neither a GPU nor a driver nor headers; Debian's libnvrtc11.2 (CUDA 11.8) is the oldest that knows what the kernels use, and its PTX runs on the
/// oldest drivers.
/// </summary>
internal static unsafe class KernelText
{
    private static readonly string[] s_sources = ["common.cuh", "elementwise.cu", "formats.cuh", "product.cu", "prompt.cu", "attention.cu", "prompt_attention.cu"];

    public static string Folder { get; } = Path.Combine(TestData.Repository, "src/Gemma.Extensions.AI/Backends/Cuda/Kernels");

    public static string Ptx => File.ReadAllText(Path.Combine(Folder, "gemma.ptx"));

    /// <summary>First line of the PTX text: which sources it was made of.</summary>
    public static string FirstLine => $"// SHA-256 of the sources: {Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(Source)))}";

    private static string Source => string.Concat(s_sources.Select(file => File.ReadAllText(Path.Combine(Folder, file)).ReplaceLineEndings("\n")));

    /// <summary>Compiles the sources with the library of a name.</summary>
    public static string Compile(string library)
    {
        nint loaded = NativeLibrary.Load(library);
        delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int> create = (delegate* unmanaged<nint*, byte*, byte*, int, byte**, byte**, int>)NativeLibrary.GetExport(loaded, "nvrtcCreateProgram");
        delegate* unmanaged<nint, int, byte**, int> compile = (delegate* unmanaged<nint, int, byte**, int>)NativeLibrary.GetExport(loaded, "nvrtcCompileProgram");
        nint created;
        byte* source = Utf8(Source);
        Assert.Equal(0, create(&created, source, Utf8("gemma.cu"), 0, null, null));
        nint program = created;
        byte** options = stackalloc byte*[2] { Utf8("--gpu-architecture=compute_80"), Utf8("--std=c++17") };
        int code = compile(program, 2, options);
        Assert.True(code == 0, Text("nvrtcGetProgramLog"));
        string[] lines = [.. Text("nvrtcGetPTX").Split('\n').SkipWhile(line => line.StartsWith("//", StringComparison.Ordinal) || line.Length == 0)];
        return FirstLine + "\n" + string.Join('\n', lines).TrimEnd() + "\n";

        string Text(string function)
        {
            nuint size;
            delegate* unmanaged<nint, nuint*, int> measure = (delegate* unmanaged<nint, nuint*, int>)NativeLibrary.GetExport(loaded, function + "Size");
            delegate* unmanaged<nint, byte*, int> get = (delegate* unmanaged<nint, byte*, int>)NativeLibrary.GetExport(loaded, function);
            Assert.Equal(0, measure(program, &size));
            byte[] text = new byte[size];
            fixed (byte* first = text)
            {
                Assert.Equal(0, get(program, first));
            }

            return Encoding.UTF8.GetString(text).TrimEnd('\0');
        }

        static byte* Utf8(string text) => (byte*)Marshal.StringToCoTaskMemUTF8(text);
    }
}
