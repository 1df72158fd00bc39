using System.Diagnostics;
using System.Text;
using System.Text.Json;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>
/// ajv 8 for draft 2020-12 with ajv-formats in full mode, in one process of Node.js that reads a schema and texts a line. Both are looked for and not installed:
/// <c>npm install ajv@8 ajv-formats@3</c> in a folder that the environment variable AJV_DIRECTORY names.
/// </summary>
internal sealed class AjvValidator : IDisposable
{
    private const string Script =
        """
        const { createRequire } = require('module'), path = require('path');
        const load = createRequire(path.join(process.argv[1], 'x.js'));
        const Ajv = load('ajv/dist/2020').default, addFormats = load('ajv-formats').default ?? load('ajv-formats');
        const lines = require('readline').createInterface({ input: process.stdin });
        console.log(JSON.stringify({ ajv: load('ajv/package.json').version, formats: load('ajv-formats/package.json').version, node: process.version }));
        lines.on('line', line => {
            const { schema, texts } = JSON.parse(line);
            let result;
            try {
                const ajv = new Ajv({ strict: false, unicodeRegExp: true, logger: false });
                addFormats(ajv, { mode: 'full' });
                const validate = ajv.compile(JSON.parse(schema));
                result = texts.map(text => { try { return validate(JSON.parse(text)) ? 1 : 0; } catch (e) { return -1; } });
            } catch (e) { result = String(e); }
            console.log(JSON.stringify(result));
        });
        """;

    private readonly Process _process;

    private AjvValidator(Process process, string versions) => (_process, Versions) = (process, versions);

    /// <summary>The versions of ajv, ajv-formats and node.</summary>
    public string Versions { get; }

    /// <summary>Starts it; null, with a reason, where node or the packages are not there.</summary>
    public static AjvValidator? TryStart(out string reason)
    {
        reason = "";
        if (Environment.GetEnvironmentVariable("AJV_DIRECTORY") is not { Length: > 0 } directory || !File.Exists(Path.Combine(directory, "node_modules", "ajv", "package.json")))
        {
            reason = "The environment variable AJV_DIRECTORY names no folder with node_modules/ajv.";
            return null;
        }

        ProcessStartInfo start = new("node") { RedirectStandardInput = true, RedirectStandardOutput = true, StandardInputEncoding = new UTF8Encoding(false), StandardOutputEncoding = Encoding.UTF8 };
        start.ArgumentList.Add("-e");
        start.ArgumentList.Add(Script);
        start.ArgumentList.Add(Path.GetFullPath(directory));
        try
        {
            Process process = Process.Start(start)!;
            if (process.StandardOutput.ReadLine() is { } versions)
            {
                JsonElement v = JsonElement.Parse(versions);
                return new AjvValidator(process, $"ajv {v.GetProperty("ajv")}, ajv-formats {v.GetProperty("formats")}, node {v.GetProperty("node")}");
            }

            process.Dispose();
            reason = "Node.js found no ajv and ajv-formats in AJV_DIRECTORY.";
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            reason = "Node.js could not be started: " + e.Message;
        }

        return null;
    }

    /// <summary>The verdicts on the texts, null where the validator throws; null altogether, with ajv's words, where it refuses the schema.</summary>
    public bool?[]? Validate(string schema, IReadOnlyList<string> texts, out string refusal)
    {
        _process.StandardInput.WriteLine(JsonSerializer.Serialize(new { schema, texts }));
        _process.StandardInput.Flush();
        JsonElement answer = JsonElement.Parse(_process.StandardOutput.ReadLine() ?? throw new InvalidOperationException("Node.js has ended."));
        refusal = answer.ValueKind == JsonValueKind.String ? answer.GetString()! : "";
        return answer.ValueKind == JsonValueKind.String ? null : [.. answer.EnumerateArray().Select(static v => v.GetInt32() switch { 1 => true, 0 => false, _ => (bool?)null })];
    }

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(5_000))
        {
            _process.Kill();
        }

        _process.Dispose();
    }
}
