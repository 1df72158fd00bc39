using System.Text;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Ingestion;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Small pages and their text: blocks are parted by '|', and a heading above a block stands before it as 'heading ›'.</summary>
public sealed class HtmlTests
{
    private static string TextOf(byte[] page) => string.Join('|', DocumentReader.Read(page, DocumentFormat.Html).Blocks.Select(b => string.Concat(b.Section.Select(s => $"{s} › ")) + b.Text));

    [Theory]

    // Buttons and what opens and closes.
    [InlineData("<h2 class=accordion-header><button class=accordion-button aria-expanded=true>How long is the warranty?</button></h2><div class=accordion-body>It lasts five years.</div><h2 class=accordion-header><button class=accordion-button>Who pays for shipping?</button></h2><div class=accordion-body>The seller.</div>",
        "How long is the warranty? › It lasts five years.|Who pays for shipping? › The seller.")]
    [InlineData("<button class=accordion>Opening hours</button><div class=panel style='display:none'><p>Nine to five.</p></div>", "Opening hours|Nine to five.")]
    [InlineData("<button>Yes</button><button>No</button>", "Yes No")]
    [InlineData("<p>Press <button>Start</button>, then wait.</p>", "Press Start , then wait.")]
    [InlineData("<button><div>Plan A</div><div>12 crowns</div></button>", "Plan A|12 crowns")]
    [InlineData("<details><summary>What does it cost?</summary>Four crowns.</details>", "What does it cost?|Four crowns.")]
    [InlineData("<details><summary><h3>Returns</h3></summary><p>Within a month.</p></details>", "Returns › Within a month.")]
    [InlineData("<div role=tablist><button role=tab>Weight</button></div><div role=tabpanel hidden>Two kilograms.</div>", "Weight|Two kilograms.")]
    [InlineData("<dialog>Open on Sundays.</dialog>", "Open on Sundays.")]
    [InlineData("<ul><li>one<button>Buy</button></ul>", "- one Buy")]
    [InlineData("<table><tr><td>Bolt</td><td><button>M8</button></td></tr></table>", "Bolt | M8")]
    [InlineData("<div onclick=x><span role=button>Is it waterproof?</span><p>To ten metres.</p></div>", "Is it waterproof?|To ten metres.")]

    // Forms.
    [InlineData("<label>Size</label> <select><option>Small<option>Large</select>", "Size Small Large")]
    [InlineData("<select><optgroup label=x><option>Red</option></optgroup></select>", "Red")]
    [InlineData("<form><p>Name: <input value=typed> <input type=submit value='Send it'></p></form>", "Name: Send it")]
    [InlineData("<fieldset><legend>Delivery</legend>By ship.</fieldset>", "Delivery|By ship.")]
    [InlineData("<p>Code:<textarea>a = 1</textarea></p>", "Code: a = 1")]
    [InlineData("<p>Result: <output>42</output> of <meter value=1>half</meter></p>", "Result: 42 of half")]
    [InlineData("<input list=l><datalist id=l><option value=x>Hint</datalist><p>Text", "Text")]

    // Definition lists.
    [InlineData("<dl><dt>Keel</dt><dd>The spine of a ship.</dd><dt>Bow</dt><dd>Its front.</dd></dl>", "Keel: The spine of a ship.\nBow: Its front.")]
    [InlineData("<dl><dt>Port</dt><dt>Larboard</dt><dd>Left.</dd></dl>", "Port, Larboard: Left.")]
    [InlineData("<dl><dt>Stay</dt><dd>A rope.</dd><dd>A visit.</dd></dl>", "Stay: A rope.; A visit.")]
    [InlineData("<dl><div><dt>Mast</dt><dd>Holds the <b>sail</b>.</dd></div></dl>", "Mast: Holds the sail.")]
    [InlineData("<dl><dt>Knots</dt><dd><p>One.</p><ul><li>Two</ul></dd></dl>", "Knots|One.|- Two")]
    [InlineData("<dl><dt>Alone</dt></dl><dl><dd>Said of nothing.</dd></dl>", "Alone|Said of nothing.")]

    // Formulas.
    [InlineData("<p>So <math><mi>E</mi><mo>=</mo><mi>m</mi><msup><mi>c</mi><mn>2</mn></msup></math> holds.</p>", "So E=mc^2 holds.")]
    [InlineData("<math><mfrac><mn>1</mn><mn>2</mn></mfrac></math>", "1/2")]
    [InlineData("<math><mfrac><mrow><mi>a</mi><mo>+</mo><mi>b</mi></mrow><mi>c</mi></mfrac></math>", "(a+b)/c")]
    [InlineData("<math>\n <msqrt>\n  <mi>x</mi>\n </msqrt>\n <mo>+</mo>\n <msub><mi>y</mi><mn>1</mn></msub>\n</math>", "√x+y_1")]
    [InlineData("<math><mi>sin</mi><mo>&#8289;</mo><mi>x</mi></math>", "sin x")]
    [InlineData("<math><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi></math>", "∑_(i=1)^n i")]
    [InlineData("<math><mover><mi>v</mi><mo>→</mo></mover><mo>=</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>0</mn></mtd></mtr><mtr><mtd><mn>0</mn></mtd><mtd><mn>1</mn></mtd></mtr></mtable></math>", "v→=[1, 0; 0, 1]")]
    [InlineData("<math><semantics><mi>x</mi><annotation encoding='application/x-tex'>x</annotation></semantics></math>", "x")]
    [InlineData("<math><semantics><annotation encoding='application/x-tex'>\\alpha</annotation></semantics></math>", "\\alpha")]
    [InlineData("<table><tr><td>area</td><td><math><mi>π</mi><msup><mi>r</mi><mn>2</mn></msup></math></td></tr></table>", "area | πr^2")]
    [InlineData("<math><mtext>if </mtext><mi>x</mi><mo>&lt;</mo><mroot><mn>8</mn><mn>3</mn></mroot></math>", "if x<3√8")]

    // Letters that look like others, and letters with readings.
    [InlineData("<p>Die Donau&shy;dampf&shy;schiff&shy;fahrt ist alt.</p>", "Die Donau\u00ADdampf\u00ADschiff\u00ADfahrt ist alt.")]
    [InlineData("<p><ruby>漢<rp>(</rp><rt>かん</rt><rp>)</rp>字<rt>じ</rt></ruby>を読む", "漢字 (かんじ) を読む")]
    [InlineData("<p>long<wbr>word H<sub>2</sub>O", "longword H2O")]

    // Sections, figures, quotes, lists.
    [InlineData("<figure><img src=x alt=y><figcaption>The old mill.</figcaption></figure>", "The old mill.")]
    [InlineData("<blockquote>Be brief.</blockquote><hr><address>Quay 4</address>", "Be brief.|Quay 4")]
    [InlineData("<h1>Boats</h1><section><h2>Ferry</h2><p>Daily.</p></section><section><h2>Kayak</h2><p>Rented.</p></section>", "Boats › Ferry › Daily.|Boats › Kayak › Rented.")]
    [InlineData("<header><h1>News</h1></header><main><p>Rain.</p></main><footer>Imprint</footer>", "Rain.")]
    [InlineData("<menu><li>Cut<li>Paste</menu>", "Cut|Paste")]
    [InlineData("<ol><li>Open.<li>Pour.</ol>", "- Open.\n- Pour.")]
    [InlineData("<center><big>Sale</big> today</center>", "Sale today")]
    public void TheTextOfAPage(string html, string expected) => Assert.Equal(expected, TextOf(Encoding.UTF8.GetBytes($"<!doctype html><meta charset=utf-8><body>{html}")));

    /// <summary>What says the encoding, the encoding, and a text in it.</summary>
    [Theory]
    [InlineData("<?xml version='1.0' encoding='windows-1251'?>", "windows-1251", "мост")]
    [InlineData("<?xml version=\"1.0\" encoding=\"Shift_JIS\"?>", "shift_jis", "橋を渡る")]
    [InlineData("<?xml version=\"1.0\" encoding=\"ISO-8859-1\" standalone=\"yes\"?>", "windows-1252", "Brücke – über")]
    [InlineData("<?xml version=\"1.0\" encoding=\"EUC-KR\"?>", "euc-kr", "다리")]
    [InlineData("<?xml version=\"1.0\" encoding=\"GB2312\"?>", "gb18030", "桥梁")]
    [InlineData("<?xml version=\"1.0\" encoding=\"Big5\"?>", "big5", "橋樑")]
    [InlineData("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "utf-8", "桥")]
    [InlineData("<?xml version=\"1.0\"?>", "utf-8", "桥")]
    [InlineData("<meta charset=iso-8859-2>", "iso-8859-2", "żółw")]
    [InlineData("<meta http-equiv=content-type content='text/html; charset=iso-8859-7'>", "iso-8859-7", "γέφυρα")]
    [InlineData("<META CONTENT=\"text/html;charset=koi8-r\" HTTP-EQUIV=Content-Type>", "koi8-r", "мост")]
    [InlineData("<meta charset='latin1'>", "windows-1252", "“Café”")]
    [InlineData("<meta charset=tis-620>", "windows-874", "สะพาน")]
    [InlineData("<!-- <meta charset=windows-1251> --><meta charset=windows-1253>", "windows-1253", "γέφυρα")]
    [InlineData("<meta charset=utf-16>", "utf-8", "Brücke")]
    [InlineData("<meta charset=no-such-thing>", "utf-8", "Brücke")]
    [InlineData("<?xml version=\"1.0\" encoding=\"windows-1252\"?><meta charset=utf-8>", "utf-8", "Brücke")]
    [InlineData("", "utf-16", "Brücke")]
    [InlineData("", "utf-16BE", "Brücke")]
    public void TheEncodingOfAPage(string declaration, string encoding, string text)
    {
        Encoding writer = CodePagesEncodingProvider.Instance.GetEncoding(encoding) ?? Encoding.GetEncoding(encoding);
        Assert.Equal(text, TextOf(writer.GetBytes($"{declaration}<html><head><title>t</title></head><body><p>{text}</p></body></html>")));
    }

    /// <summary>In XML an element may end itself. In HTML the script would swallow the page.</summary>
    [Fact]
    public void APageInXmlMayEndElementsInTheirOwnTag() => Assert.Equal(
        "Here › a & b|Here › After the anchor.",
        TextOf("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!DOCTYPE html><html xmlns=\"http://www.w3.org/1999/xhtml\"><head><title/><script type=\"text/javascript\" src=\"x.js\"/></head><body><h1>Here</h1><div class='empty' /><p>a &amp; b<br/></p><p><a id=\"x\"/>After the anchor.</p></body></html>"u8.ToArray()));

    [Fact]
    public void ALongFormulaOrListOfTermsCostsNoMoreThanItsLength()
    {
        string formula = "<math>" + string.Concat(Enumerable.Repeat("<mrow>", 400)) + "<mi>x</mi>" + "</math>";
        Assert.Equal("x", TextOf(Encoding.UTF8.GetBytes(formula)));
        Assert.Equal(20_000, DocumentReader.Read(Encoding.UTF8.GetBytes("<dl>" + string.Concat(Enumerable.Repeat("<dt>a<dd>b", 20_000)) + "</dl>"), DocumentFormat.Html).Blocks.Single().Text.Split('\n').Length);
    }
}
