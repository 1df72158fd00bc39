using System.Text;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Text;

public sealed class MediaTextTests
{
    [Theory]
    [InlineData("text/plain")]
    [InlineData("text/x-whatever")]
    [InlineData("TEXT/HTML; charset=UTF-8")]
    [InlineData("application/json")]
    [InlineData("application/json;charset=utf-8")]
    [InlineData("application/problem+json")]
    [InlineData("application/geo+json; version=1")]
    [InlineData("application/xml")]
    [InlineData("application/atom+xml")]
    [InlineData("image/svg+xml")]
    [InlineData("application/yaml")]
    [InlineData("application/x-ndjson")]
    [InlineData("application/sql")]
    [InlineData("application/javascript")]
    [InlineData("application/vnd.unknown; charset=\"utf-8\"")]
    public void TextualTypesAreText(string type) => Assert.Equal("Grüße {}", MediaText.Decode(type, Encoding.UTF8.GetBytes("Grüße {}")));

    [Theory]
    [InlineData("image/png")]
    [InlineData("audio/wav")]
    [InlineData("application/pdf")]
    [InlineData("application/octet-stream")]
    [InlineData("application/pdf; charset=binary")]
    [InlineData("text/plain; charset=no-such-thing")]
    [InlineData("nonsense")]
    [InlineData("")]
    [InlineData(null)]
    public void OthersAreNot(string? type) => Assert.Null(MediaText.Decode(type, "x"u8));

    /// <summary>é in each encoding, as its tables say.</summary>
    [Theory]
    [InlineData("text/plain; charset=iso-8859-1", "E9")]
    [InlineData("text/plain; charset=windows-1252", "E9")]
    [InlineData("text/plain; charset=IBM850", "82")]
    [InlineData("text/plain; charset=macintosh", "8E")]
    [InlineData("text/plain; charset=utf-16le", "E900")]
    [InlineData("text/plain; charset=utf-16be", "00E9")]
    [InlineData("text/plain", "FFFEE900")]
    [InlineData("application/json", "FEFF00E9")]
    [InlineData("text/plain; charset=iso-8859-1", "EFBBBFC3A9")]
    public void CharsetsAndByteOrderMarksCount(string type, string bytes) => Assert.Equal("é", MediaText.Decode(type, Convert.FromHexString(bytes)));

    [Fact]
    public void AnXmlDeclarationNamesTheEncodingWhereTheTypeDoesNot()
    {
        const string Xml = "<?xml version='1.0' encoding='ISO-8859-1'?><a>é</a>";
        Assert.Equal(Xml, MediaText.Decode("application/xml", Encoding.Latin1.GetBytes(Xml)));
        Assert.Equal(Xml, MediaText.Decode("application/xml; charset=utf-8", Encoding.UTF8.GetBytes(Xml)));
    }

    [Fact]
    public void NotesAreOneShortLine()
    {
        Assert.Equal("[chart 1.png, image/png, 3 bytes: not shown]", MediaText.Note(new DataContent(new byte[3], "image/png") { Name = "chart\n 1.png" }));
        Assert.Equal("[https://example.com/a.mp3, audio/mpeg: not shown]", MediaText.Note(new UriContent("https://example.com/a.mp3", "audio/mpeg")));
        Assert.Equal("[image/png: not shown]", MediaText.Note(new UriContent("data:image/png;base64,AQID", "image/png")));
        Assert.Equal("[report.pdf, application/pdf, 1,234 bytes: not shown]", MediaText.Note(new HostedFileContent("file-1") { Name = "report.pdf", MediaType = "application/pdf", SizeInBytes = 1234 }));
        Assert.InRange(MediaText.Note(new UriContent("https://example.com/" + new string('x', 50_000), "image/png")).Length, 100, 400);
        Assert.Equal("[not shown]", MediaText.Note("", null));
    }
}
