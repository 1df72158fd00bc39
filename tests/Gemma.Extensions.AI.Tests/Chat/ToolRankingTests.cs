using Gemma.Extensions.AI.Chat;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>
/// Which tools are found among those of common servers (source control, calendar, mail, files, database, browser, shop, home, music, maps), named in several styles, for requests that people might make.
/// The first request of each tool was looked at when the ranking was worked on, the second was not.
/// </summary>
public class ToolRankingTests
{
    private const string Tools = """
        create_issue | Opens a new issue in a repository. | title body labels | File a bug about the crash on startup | We need a ticket for the broken login
        list_pull_requests | Lists the pull requests of a repository, open or closed. | repo state | Which pull requests are open? | Are there any PRs waiting for review? pull requests I mean
        mergePullRequest | Merges a pull request into its base branch. | number method | Merge number 42 please | Get pull request 7 merged
        searchCode | Searches for code across repositories. | query language | Where in the code is the parser called? | Search the code for uses of Span
        get_commit | Gets the details of one commit, with its changes. | sha | What changed in commit 4f2a? | Show commit abc123
        createBranch | Creates a branch from another. | name from | Make a branch called fix-login | I want a new branch off main
        calendar_create_event | Schedules an event in the calendar. | title start end attendees | Put a meeting with Ann on Friday at 10 into my calendar | Schedule lunch with Bo tomorrow
        calendar_list_events | Lists events between two dates. | from to | What is on my calendar this week? | Which events do I have on Monday?
        calendar_delete_event | Deletes an event from the calendar. | id | Remove the Tuesday event | Cancel my calendar event with Jo
        findFreeTime | Finds times at which all attendees are free. | attendees duration | When are Ann and Bo both free? | Find a free hour for all attendees
        send_email | Sends an e-mail. | to subject body | Mail the report to Kim | Send Lee an email that I am late
        search_emails | Searches the mailbox. | query from since | Find the email from the bank | Search my mail for the invoice of May
        reply_to_email | Replies to an e-mail. | id body | Reply to that email with thanks | Answer the email of Mr Smith by replying yes
        read_file | Reads a file from the disk. | path | Open notes.txt and tell me what is in the file | Read the file config.json
        write_file | Writes text to a file, replacing what it holds. | path content | Write hello into a.txt | Save this text to a file called todo.md
        list_directory | Lists the files of a directory. | path | Which files are in the directory src? | List the folder's directory contents
        move_file | Moves or renames a file. | source destination | Rename the file a.txt to b.txt | Move report.pdf to the archive
        run_query | Runs an SQL query on the database. | sql | Query the database for all customers | Run some SQL: select 1
        describe_table | Describes the columns of a database table. | table | Which columns does the table orders have? | Describe table users
        browser_navigate | Opens a web page in the browser. | url | Go to the web page example.com | Navigate the browser to the news page
        browser_click | Clicks on an element of the page. | selector | Click on the submit button | Press the element named login by clicking
        browser_screenshot | Takes a picture of the page. | full | Take a screenshot | Make a picture of this page
        GetProductPrice | Returns the price of a product. | sku | How much is the product A-17? The price, please | What does it cost? Tell me the price of SKU 9
        PlaceOrder | Orders products for a customer. | sku quantity address | Order two of A-17 | I would like to place an order for shoes
        TrackShipment | Says where a shipment is. | tracking_number | Where is my shipment 12345? | Track the parcel, shipment number 99
        CancelOrder | Cancels an order that was not shipped. | order_id | Cancel order 7 | Please stop my order 55, cancel it
        turnOnLight | Turns a light on. | room brightness | Turn on the light in the kitchen | Lights on in the hall
        setThermostat | Sets the temperature of the heating. | degrees | Set the thermostat to 21 | Make the temperature 19 degrees
        lockDoor | Locks a door of the house. | door | Lock the front door | Is the house locked? Lock the doors
        play_music | Plays a song, an album or an artist. | query | Play some music by Miles Davis | I want to hear that album, play it
        pausePlayback | Pauses the music. | device | Pause the music | Pausing playback now would be nice
        add_to_playlist | Adds a song to a playlist. | playlist song | Add this song to my playlist | Put Yesterday on the playlist Oldies
        get_directions | Gives directions from one place to another. | from to mode | Directions from Rome to Milan | How do I get to the station? I need directions
        find_nearby_places | Finds places near a location, such as restaurants. | location kind radius | Which restaurants are near me? | Find places nearby for coffee
        geocodeAddress | Turns an address into coordinates. | address | Coordinates of the address 1 Main Street? | Geocode Market Square 5
        get_weather_forecast | Gets the weather forecast for a place. | place days | Will it rain tomorrow? What is the forecast? | Weather in Oslo this weekend
        convert_currency | Converts an amount between currencies. | amount from to | Convert 20 dollars into euros | How many yen are 5 pounds? currency conversion
        get_stock_quote | Gets the latest quote of a stock. | symbol | What is the stock quote of MSFT? | Quote for the stock ACME
        translate_text | Translates text into another language. | text language | Translate good morning into French | I need a translation of this letter
        summarize_document | Summarizes a document. | path length | Summarize the document report.pdf | A summary of this document, please
        create_task | Adds a task to a to-do list. | title due | Add buying milk to my tasks | Remind me: a new task, call mum
        complete_task | Marks a task as done. | id | Mark task 3 as done | The task about the garden is completed
        set_timer | Sets a timer. | minutes | Set a timer for 5 minutes | Timer: ten minutes
        book_table | Reserves a table in a restaurant. | restaurant people time | Reserve a table for four at eight | A restaurant reservation for two, book a table
        search_flights | Searches flights between airports. | from to date | Flights from Paris to Lima in May? | I am searching a flight to Boston
        book_hotel | Books a room in a hotel. | city nights guests | Book a hotel in Madrid for two nights | I need a hotel room booked in Rome
        get_exchange_rate | Gets the exchange rate of two currencies. | base quote | What is the exchange rate of dollar and euro? | Rate of exchange between yen and won?
        restart_service | Restarts a service of the server. | name | Restart the service nginx | The web service hangs, restart it
        get_server_logs | Gets the last lines of a server's log. | service lines | Show the logs of the server | What do the last log lines say?
        scale_deployment | Changes the number of replicas of a deployment. | name replicas | Scale the deployment api to 5 replicas | More replicas for web: scale it to nine
        """;

    private static readonly (AIFunctionDeclaration Tool, string[] Requests)[] s_tools = [.. Tools.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(line =>
    {
        string[] parts = line.Split('|', StringSplitOptions.TrimEntries);
        string properties = string.Join(',', parts[2].Split(' ').Select(name => $$"""  "{{name}}":{"type":"string"}  """));
        return (AIFunctionFactory.CreateDeclaration(parts[0], parts[1], System.Text.Json.JsonElement.Parse($$"""{"type":"object","properties":{ {{properties}} } }""")), parts[3..5]);
    })];

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void TheToolIsAmongTheBest(int which)
    {
        ToolIndex index = new([.. s_tools.Select(pair => pair.Tool)]);
        int first = 0, shown = 0;
        foreach ((AIFunctionDeclaration tool, string[] requests) in s_tools)
        {
            AIFunctionDeclaration[] best = [.. index.Best(requests[which], "", 8)];
            first += best.FirstOrDefault() == tool ? 1 : 0;
            shown += best.Contains(tool) ? 1 : 0;
            if (best.FirstOrDefault() != tool)
            {
                TestContext.Current.TestOutputHelper?.WriteLine($"{(best.Contains(tool) ? "shown" : "LOST")} {tool.Name}: {requests[which]} -> {string.Join(", ", best.Select(other => other.Name))}");
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"of {s_tools.Length}: {first} first, {shown} shown");
        Assert.True(first >= 40, $"{first} of {s_tools.Length} first");
        Assert.True(shown >= 47, $"{shown} of {s_tools.Length} shown");
    }

    /// <summary>Of tools whose words are alike the one that shares more is meant; what a request for two things says about the second is not said by the first.</summary>
    [Fact]
    public void AToolThatSharesOnlyWordsOfABetterOneIsLeftOut()
    {
        AIFunctionDeclaration[] tools = [.. ((string[])["price", "daily_price", "price_history", "shipment", "daily_report"]).Select(name => AIFunctionFactory.CreateDeclaration(name, null, System.Text.Json.JsonElement.Parse("{}")))];
        ToolIndex index = new(tools);
        Assert.Equal(["daily_price"], Best("What is the daily price?"));
        Assert.Equal(["price", "daily_price", "price_history"], Best("What is the price?").Order(Comparer<string>.Create((a, b) => Array.FindIndex(tools, t => t.Name == a) - Array.FindIndex(tools, t => t.Name == b))));
        Assert.Equal(["daily_price", "shipment"], Best("Where is my shipment, and the daily price?").Order(StringComparer.Ordinal));

        IEnumerable<string> Best(string question) => index.Best(question, "", 8).Select(tool => tool.Name);
    }
}
