#!/usr/bin/env bash
# Iced 1.22.0 (NuGet), the assembler of x86 instructions. Seen on 2026-11-30.
#
# Assembler writes a masked instruction on 128- or 256-bit registers without its mask. VEX, which has no masks, is chosen for every instruction that exists in both
# encodings, also where the operands ask for what only EVEX can say, and no error is raised: lanes that the mask excludes are overwritten, and a masked store writes all lanes.
# Registers 16 to 31 have the same cause, but raise an InvalidOperationException. With 512-bit registers, and with PreferVex set to false (it is true in a new
# Assembler), the mask is kept.
#
# Output seen:
#   PreferVex is True in a new Assembler
#   vaddps ymm3{k1}, ymm4, ymm5       vaddps ymm3,ymm4,ymm5             PreferVex=false: vaddps ymm3{k1},ymm4,ymm5
#   vmovaps xmm3{k1}{z}, xmm4         vmovaps xmm3,xmm4                 PreferVex=false: vmovaps xmm3{k1}{z},xmm4
#   vfmadd231ps ymm3{k2}, ymm4, ymm5  vfmadd231ps ymm3,ymm4,ymm5        PreferVex=false: vfmadd231ps ymm3{k2},ymm4,ymm5
#   vpdpbusd ymm3{k1}, ymm4, ymm5     vpdpbusd ymm3,ymm4,ymm5           PreferVex=false: vpdpbusd ymm3{k1},ymm4,ymm5
#   vmovups [rax]{k1}, ymm3           vmovups [rax],ymm3                PreferVex=false: vmovups [rax]{k1},ymm3
#   vaddps zmm3{k1}, zmm4, zmm5       vaddps zmm3{k1},zmm4,zmm5         PreferVex=false: vaddps zmm3{k1},zmm4,zmm5
#   vmulps xmm3, xmm2, xmm18          InvalidOperationException         PreferVex=false: vmulps xmm3,xmm2,xmm18
#
# Exits with 1 when any of this changes. Needs the .NET 10 SDK.
set -euo pipefail
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > show.csproj <<'XML'
<Project Sdk="Microsoft.NET.Sdk">
  <PropertyGroup><OutputType>Exe</OutputType><TargetFramework>net10.0</TargetFramework><ImplicitUsings>enable</ImplicitUsings><Nullable>enable</Nullable></PropertyGroup>
  <ItemGroup><PackageReference Include="Iced" Version="[1.22.0]" /></ItemGroup>
</Project>
XML
cat > Program.cs <<'CS'
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

(string Asked, Action<Assembler> Write, string Default, string WithoutVex)[] cases =
[
    ("vaddps ymm3{k1}, ymm4, ymm5", c => c.vaddps(ymm3.k1, ymm4, ymm5), "vaddps ymm3,ymm4,ymm5", "vaddps ymm3{k1},ymm4,ymm5"),
    ("vmovaps xmm3{k1}{z}, xmm4", c => c.vmovaps(xmm3.k1.z, xmm4), "vmovaps xmm3,xmm4", "vmovaps xmm3{k1}{z},xmm4"),
    ("vfmadd231ps ymm3{k2}, ymm4, ymm5", c => c.vfmadd231ps(ymm3.k2, ymm4, ymm5), "vfmadd231ps ymm3,ymm4,ymm5", "vfmadd231ps ymm3{k2},ymm4,ymm5"),
    ("vpdpbusd ymm3{k1}, ymm4, ymm5", c => c.vpdpbusd(ymm3.k1, ymm4, ymm5), "vpdpbusd ymm3,ymm4,ymm5", "vpdpbusd ymm3{k1},ymm4,ymm5"),
    ("vmovups [rax]{k1}, ymm3", c => c.vmovups(__ymmword_ptr[rax].k1, ymm3), "vmovups [rax],ymm3", "vmovups [rax]{k1},ymm3"),
    ("vaddps zmm3{k1}, zmm4, zmm5", c => c.vaddps(zmm3.k1, zmm4, zmm5), "vaddps zmm3{k1},zmm4,zmm5", "vaddps zmm3{k1},zmm4,zmm5"),
    ("vmulps xmm3, xmm2, xmm18", c => c.vmulps(xmm3, xmm2, xmm18), "InvalidOperationException", "vmulps xmm3,xmm2,xmm18"),
];

bool same = new Assembler(64).PreferVex;
Console.WriteLine($"PreferVex is {same} in a new Assembler");
foreach ((string asked, Action<Assembler> write, string byDefault, string withoutVex) in cases)
{
    string first = Assembled(new Assembler(64), write), second = Assembled(new Assembler(64) { PreferVex = false }, write);
    Console.WriteLine($"{asked,-33} {first,-33} PreferVex=false: {second}");
    same &= first == byDefault && second == withoutVex;
}

Console.WriteLine(same ? "As described." : "CHANGED.");
return same ? 0 : 1;

// What the bytes that were written are, by the library's own decoder.
static string Assembled(Assembler assembler, Action<Assembler> write)
{
    using MemoryStream code = new();
    try
    {
        write(assembler);
        assembler.Assemble(new StreamCodeWriter(code), 0);
    }
    catch (InvalidOperationException)
    {
        return nameof(InvalidOperationException);
    }

    Decoder.Create(64, new ByteArrayCodeReader(code.ToArray())).Decode(out Instruction instruction);
    return instruction.ToString();
}
CS
dotnet run -c Release
