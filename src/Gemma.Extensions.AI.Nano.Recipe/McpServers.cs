using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>A tool of a server.</summary>
/// <param name="Server">The server's name.</param>
/// <param name="Name">As the server gives it.</param>
/// <param name="Description">What it does, in words of this project.</param>
/// <param name="Arguments">Parameters as <c>name:kind</c>, optional ones with a question mark in front: <see cref="McpServers.Value"/> says what a kind is.</param>
/// <param name="Requests">How it is asked for; each has a slot for every required parameter.</param>
internal sealed record McpTool(string Server, string Name, string Description, string[] Arguments, Phrasings Requests)
{
    public AITool Declaration { get; } = AIFunctionFactory.CreateDeclaration(Name, Description, McpServers.Schema(Arguments));
}

/// <summary>Tools of servers of the Model Context Protocol as people have them: names and parameters are theirs, descriptions and requests are ours.</summary>
internal static class McpServers
{
    private static readonly string[] s_zones = Lexicon.Words("Europe/Paris Europe/Berlin Europe/London Europe/Madrid America/New_York America/Chicago America/Denver Asia/Tokyo Asia/Seoul Asia/Kolkata Australia/Sydney Africa/Cairo");
    private static readonly string[] s_extensions = Lexicon.Words("txt md json csv log cs py html yaml xml");

    private static readonly Phrasings s_limit = new Phrasings(", at most {v}", " (limit {v})", ", no more than {v}", ", only {v}", ", the first {v}", ", up to {v}", " with {v} at most", ", {v} will do").Also(
        ", but (only|just|at most) {v}", " (max|maximum|top|not over) {v}", ", {v} (of them|at the most|please|only)", " and (stop after|limit to|show only) {v}", ", limited to {v}", " (max {v})",
        ", not over {v}");

    /// <summary>Servers of which training has seen no tool.</summary>
    public static IReadOnlySet<string> Unseen { get; } = new HashSet<string>(StringComparer.Ordinal) { "sentry", "playwright", "redis" };

    public static McpTool[] All { get; } =
    [
        T("filesystem", "read_text_file", "Reads a file as text.", ["path:path", "?head:limit", "?tail:limit"], "Read {path}", "(Show|Open) (me |)the file {path}", "What is in {path}?", "Print {path}", "I want to see {path}"),
        T("filesystem", "write_file", "Writes a file, replacing what is there.", ["path:path", "content:text"], "Write \"{content}\" to {path}", "Create {path} with the text \"{content}\"", "Save \"{content}\" as {path}", "Put \"{content}\" into {path}"),
        T("filesystem", "create_directory", "Makes a folder.", ["path:dir"], "Make the (folder|directory) {path}", "Create a (folder|directory) {path}", "I need the (folder|directory) {path}", "mkdir {path}"),
        T("filesystem", "list_directory", "Lists what a folder holds.", ["path:dir"], "List {path}", "What is in the (folder|directory) {path}?", "Which files are in {path}?", "ls {path}", "Show the (files|contents) of {path}"),
        T("filesystem", "directory_tree", "Shows a folder with all its subfolders.", ["path:dir"], "Show the tree of {path}", "(Give me|I want) the whole tree under {path}", "tree {path}", "Show {path} with all subfolders"),
        T("filesystem", "move_file", "Moves or renames a file.", ["source:path", "destination:path"], "Move {source} to {destination}", "Rename {source} to {destination}", "mv {source} {destination}", "Put {source} at {destination}"),
        T("filesystem", "search_files", "Finds files by a pattern.", ["path:dir", "pattern:pattern"], "Find {pattern} in {path}", "Search {path} for files like {pattern}", "Which files under {path} match {pattern}?", "Look for {pattern} below {path}"),
        T("filesystem", "get_file_info", "Size, times and rights of a file.", ["path:path"], "How (big|old) is {path}?", "(Show|Get) the (info|details) of the file {path}", "When was {path} changed?", "stat {path}"),
        T("filesystem", "list_allowed_directories", "The folders that may be used.", [], "Which (folders|directories) (may|can) (you|I) use?", "Where are you allowed to read?", "List the allowed (folders|directories)", "Show me what (folders|directories) are allowed"),
        T("fetch", "fetch", "Gets a web page as Markdown.", ["url:url", "?max_length:limit", "?start_index:int", "?raw:bool"], "Fetch {url}", "(Open|Load|Get) {url}", "What does {url} say?", "Read the page {url}", "Download {url}"),
        T("git", "git_status", "State of the working tree.", ["repo_path:dir"], "(Show|What is) the git status of {repo_path}", "git status in {repo_path}", "What has changed in {repo_path}?", "Is {repo_path} clean?"),
        T("git", "git_diff_unstaged", "Changes that are not staged.", ["repo_path:dir"], "Show the unstaged changes in {repo_path}", "git diff in {repo_path}", "What is not staged in {repo_path}?", "Diff of what is unstaged in {repo_path}"),
        T("git", "git_diff_staged", "Changes that are staged.", ["repo_path:dir"], "Show the staged changes in {repo_path}", "What is staged in {repo_path}?", "Staged diff of {repo_path}", "Show what will be committed in {repo_path}"),
        T("git", "git_commit", "Commits what is staged.", ["repo_path:dir", "message:text"], "Commit {repo_path} with the message \"{message}\"", "git commit in {repo_path}: {message}", "In {repo_path}, commit: {message}", "Make a commit \"{message}\" in {repo_path}"),
        T("git", "git_log", "The last commits.", ["repo_path:dir", "?max_count:limit"], "Show the log of {repo_path}", "git log in {repo_path}", "List the commits of {repo_path}", "What was committed in {repo_path}?"),
        T("git", "git_create_branch", "Makes a branch.", ["repo_path:dir", "branch_name:branch", "?base_branch:branch"], "Create the branch {branch_name} in {repo_path}", "In {repo_path}, make a branch {branch_name}", "New branch {branch_name} in {repo_path}", "git branch {branch_name} in {repo_path}"),
        T("git", "git_checkout", "Switches to a branch.", ["repo_path:dir", "branch_name:branch"], "Check out {branch_name} in {repo_path}", "Switch {repo_path} to {branch_name}", "In {repo_path}, go to the branch {branch_name}", "git checkout {branch_name} in {repo_path}"),
        T("git", "git_show", "One commit with its changes.", ["repo_path:dir", "revision:sha"], "Show the commit {revision} in {repo_path}", "What is in {revision} of {repo_path}?", "git show {revision} in {repo_path}", "Look at {revision} in {repo_path}"),
        T("memory", "create_entities", "Adds entities to the graph.", ["entities:entities"], "Remember {entities}", "Add the entity {entities}", "Create an entity for {entities}", "Store {entities} in the graph"),
        T("memory", "delete_entities", "Removes entities and their relations.", ["entityNames:names"], "Forget {entityNames}", "Delete the entity {entityNames}", "Remove {entityNames} from the graph", "Drop the entity {entityNames}"),
        T("memory", "read_graph", "The whole graph.", [], "Show the (whole |)graph", "What do you remember?", "Read the (whole |knowledge |)graph", "List everything in (memory|the graph)"),
        T("memory", "search_nodes", "Finds nodes by words.", ["query:text"], "Search the graph for {query}", "Which nodes are about {query}?", "Find nodes about {query}", "Look in memory for {query}"),
        T("memory", "open_nodes", "Opens nodes by name.", ["names:names"], "Open the node {names}", "Show (me |)the node {names}", "What do you know about the node {names}?", "Load the node {names}"),
        T("time", "get_current_time", "The time now in a time zone.", ["timezone:zone"], "What time is it in {timezone}?", "(Current|The) time in {timezone}(, please|)", "How late is it in {timezone}?", "Tell me the time in {timezone}", "Time {timezone}"),
        T("time", "convert_time", "A time of one zone in another.", ["source_timezone:zone", "time:clock", "target_timezone:zone"], "Convert {time} from {source_timezone} to {target_timezone}", "What is {time} {source_timezone} in {target_timezone}?", "It is {time} in {source_timezone}: how late is that in {target_timezone}?", "{time} {source_timezone} as {target_timezone} time"),
        T("sqlite", "read_query", "Runs a SELECT.", ["query:select"], "Run {query}", "Execute the query {query}", "What does {query} return?", "Query: {query}"),
        T("sqlite", "write_query", "Runs an INSERT, UPDATE or DELETE.", ["query:update"], "Run {query}", "Execute {query}", "Please do {query}", "Change the data: {query}"),
        T("sqlite", "list_tables", "The tables of the database.", [], "Which tables are there?", "List the tables", "Show me all tables", "What tables does the database have?"),
        T("sqlite", "describe_table", "The columns of a table.", ["table_name:name"], "Describe the table {table_name}", "Which columns does {table_name} have?", "(Show|What is) the schema of {table_name}", "Columns of {table_name}?"),
        T("github", "create_issue", "Opens an issue.", ["owner:name", "repo:name", "title:text", "?body:text", "?labels:names"], "Open an issue \"{title}\" in {owner}/{repo}", "Create an issue in {owner}/{repo}: {title}", "File \"{title}\" as an issue of {owner}/{repo}", "New issue for {owner}/{repo}: {title}"),
        T("github", "list_issues", "Lists issues.", ["owner:name", "repo:name", "?state:open|closed|all", "?per_page:limit"], "List the issues of {owner}/{repo}", "Which issues does {owner}/{repo} have?", "Show (me |)the issues in {owner}/{repo}", "Issues of {owner}/{repo}"),
        T("github", "get_issue", "One issue.", ["owner:name", "repo:name", "issue_number:number"], "Show issue {issue_number} of {owner}/{repo}", "What is issue {issue_number} in {owner}/{repo} about?", "Read {owner}/{repo} issue {issue_number}", "Get issue {issue_number} from {owner}/{repo}"),
        T("github", "add_issue_comment", "Comments on an issue.", ["owner:name", "repo:name", "issue_number:number", "body:text"], "Comment on issue {issue_number} of {owner}/{repo}: {body}", "Add \"{body}\" to issue {issue_number} in {owner}/{repo}", "Write under issue {issue_number} of {owner}/{repo}: {body}", "Reply to {owner}/{repo} issue {issue_number}: {body}"),
        T("github", "search_repositories", "Finds repositories.", ["query:text", "?perPage:limit"], "Search (GitHub |)for repositories about {query}", "Find repositories for {query}", "Which repositories are about {query}?", "Look for a repository about {query}"),
        T("github", "get_file_contents", "A file of a repository.", ["owner:name", "repo:name", "path:relative", "?branch:branch"], "Show {path} of {owner}/{repo}", "Get {path} from {owner}/{repo}", "What is in {path} of {owner}/{repo}?", "Read the file {path} in {owner}/{repo}"),
        T("github", "create_pull_request", "Opens a pull request.", ["owner:name", "repo:name", "title:text", "head:branch", "base:branch"], "Open a pull request \"{title}\" from {head} to {base} in {owner}/{repo}", "In {owner}/{repo}, make a pull request from {head} into {base}: {title}", "Pull request {head} to {base} in {owner}/{repo}, titled {title}", "Create a PR in {owner}/{repo}, {head} into {base}: {title}"),
        T("github", "list_commits", "Commits of a repository.", ["owner:name", "repo:name", "?sha:sha", "?perPage:limit"], "List the commits of {owner}/{repo}", "What was committed to {owner}/{repo}?", "Show commits in {owner}/{repo}", "Latest commits of {owner}/{repo}"),
        T("github", "fork_repository", "Forks a repository.", ["owner:name", "repo:name"], "Fork {owner}/{repo}", "Make a fork of {owner}/{repo}", "I want my own {owner}/{repo}", "Please fork {owner}/{repo} for me"),
        T("github", "create_branch", "Makes a branch in a repository.", ["owner:name", "repo:name", "branch:branch", "?from_branch:branch"], "Create the branch {branch} in {owner}/{repo}", "New branch {branch} for {owner}/{repo}", "In {owner}/{repo}, start a branch {branch}", "Add a branch {branch} to {owner}/{repo}"),
        T("slack", "slack_list_channels", "Lists channels.", ["?limit:limit", "?cursor:word"], "List the (Slack |)channels", "Which channels are there?", "Show me all channels", "What channels do we have?"),
        T("slack", "slack_post_message", "Posts a message.", ["channel_id:code", "text:text"], "Post \"{text}\" to {channel_id}", "Write in channel {channel_id}: {text}", "Tell the channel {channel_id}: {text}", "Send \"{text}\" to the channel {channel_id}"),
        T("slack", "slack_reply_to_thread", "Answers in a thread.", ["channel_id:code", "thread_ts:stamp", "text:text"], "Reply in thread {thread_ts} of {channel_id}: {text}", "Answer the thread {thread_ts} in {channel_id} with {text}", "In {channel_id}, thread {thread_ts}, write: {text}", "Thread {thread_ts} of channel {channel_id}: reply {text}"),
        T("slack", "slack_add_reaction", "Reacts to a message.", ["channel_id:code", "timestamp:stamp", "reaction:word"], "React with {reaction} to {timestamp} in {channel_id}", "Add the reaction {reaction} to message {timestamp} of {channel_id}", "Put a {reaction} on {timestamp} in {channel_id}", "In {channel_id}, react to {timestamp} with {reaction}"),
        T("slack", "slack_get_channel_history", "Last messages of a channel.", ["channel_id:code", "?limit:limit"], "Show the history of {channel_id}", "What was said in {channel_id}?", "Read the channel {channel_id}", "Last messages of channel {channel_id}"),
        T("slack", "slack_get_users", "People of the workspace.", ["?limit:limit", "?cursor:word"], "List the users", "Who is in the workspace?", "Show me all users", "Which people are there?"),
        T("slack", "slack_get_user_profile", "Profile of a user.", ["user_id:code"], "Show the profile of {user_id}", "Who is the user {user_id}?", "Get the profile of user {user_id}", "Profile of {user_id}, please"),
        T("google-maps", "maps_geocode", "Coordinates of an address.", ["address:address"], "Where is {address}?", "Geocode {address}", "Coordinates of {address}(, please|)", "Find the coordinates of {address}"),
        T("google-maps", "maps_reverse_geocode", "Address at coordinates.", ["latitude:degrees", "longitude:degrees"], "What is at {latitude}, {longitude}?", "Which address is at {latitude}, {longitude}?", "Address at {latitude}, {longitude}", "Reverse geocode {latitude}, {longitude}"),
        T("google-maps", "maps_search_places", "Finds places.", ["query:text", "?radius:int"], "Find places for {query}", "Search the map for {query}", "Which places are there for {query}?", "Look on the map for {query}"),
        T("google-maps", "maps_directions", "The way between two places.", ["origin:city", "destination:city", "?mode:driving|walking|bicycling|transit"], "How do I get from {origin} to {destination}?", "Directions from {origin} to {destination}", "(Show|Find) the way from {origin} to {destination}", "Route {origin} to {destination}"),
        T("google-maps", "maps_elevation", "Height above the sea.", ["locations:names"], "How high is {locations}?", "Elevation of {locations}", "What is the elevation at {locations}?", "Height of {locations} above the sea"),
        T("brave-search", "brave_web_search", "Searches the web.", ["query:text", "?count:limit", "?offset:int"], "Search the web for {query}", "Google {query}", "Look up {query} on the web", "Find {query} online", "Web search: {query}"),
        T("brave-search", "brave_local_search", "Finds shops and places nearby.", ["query:text", "?count:limit"], "Find {query} nearby", "Which {query} is near me?", "Search for {query} around here", "Local search: {query}"),
        T("puppeteer", "puppeteer_navigate", "Opens a page in the browser.", ["url:url"], "Go to {url}", "Navigate to {url}", "Open {url} in the browser", "Visit {url}"),
        T("puppeteer", "puppeteer_screenshot", "Takes a picture of the page.", ["name:word", "?selector:selector", "?width:int", "?height:int"], "Take a screenshot called {name}", "Screenshot {name}, please", "Make a screenshot and call it {name}", "Capture the page as {name}"),
        T("puppeteer", "puppeteer_click", "Clicks an element.", ["selector:selector"], "Click {selector}", "Click (on |)the element {selector}", "Press {selector}", "Please click {selector}"),
        T("puppeteer", "puppeteer_fill", "Fills a field.", ["selector:selector", "value:text"], "Fill {selector} with {value}", "Type {value} into {selector}", "Enter {value} in the field {selector}", "Set the field {selector} to {value}"),
        T("puppeteer", "puppeteer_hover", "Moves the mouse over an element.", ["selector:selector"], "Hover over {selector}", "Move the mouse over {selector}", "Hover {selector}", "Point at {selector}"),
        T("postgres", "query", "Runs a query that only reads.", ["sql:select"], "Run {sql}", "Execute {sql}", "What does {sql} give?", "SQL: {sql}"),
        T("gdrive", "gdrive_search", "Finds files in Google Drive.", ["query:text", "?pageSize:limit"], "Search (my |Google |)Drive for {query}", "Find {query} in Drive", "Is there {query} in my Drive?", "Drive search for {query}"),
        T("gdrive", "gdrive_read_file", "Reads a file of Google Drive.", ["fileId:code"], "Read the Drive file {fileId}", "Open {fileId} from Drive", "What is in the Drive file {fileId}?", "Get {fileId} out of Drive"),
        T("gitlab", "create_merge_request", "Opens a merge request.", ["project_id:number", "title:text", "source_branch:branch", "target_branch:branch"], "Open a merge request \"{title}\" from {source_branch} to {target_branch} in project {project_id}", "Merge request in project {project_id}, {source_branch} into {target_branch}: {title}", "In project {project_id}, make a merge request from {source_branch} to {target_branch}: {title}", "Project {project_id}: MR {source_branch} to {target_branch}, titled {title}"),
        T("gitlab", "get_project", "One project.", ["project_id:number"], "Show (the |)project {project_id}", "Get the project {project_id}", "What is project {project_id}?", "Details of project {project_id}"),
        T("context7", "resolve-library-id", "Finds the id of a library.", ["libraryName:word"], "Which id does the library {libraryName} have?", "Resolve the library {libraryName}", "Find the library {libraryName}", "Library id of {libraryName}"),
        T("context7", "get-library-docs", "Documentation of a library.", ["context7CompatibleLibraryID:relative", "?topic:text", "?tokens:int"], "Show the docs of {context7CompatibleLibraryID}", "Get the documentation for {context7CompatibleLibraryID}", "Docs for {context7CompatibleLibraryID}", "I need the documentation of {context7CompatibleLibraryID}"),
        T("todoist", "todoist_create_task", "Adds a task.", ["content:text", "?description:text", "?due_string:text", "?priority:int"], "Add a task: {content}", "Remind me to {content}", "Put {content} on my list", "New task: {content}", "I have to {content}, note it"),
        T("todoist", "todoist_complete_task", "Marks a task as done.", ["task_name:text"], "I have done {task_name}", "Complete the task {task_name}", "Tick {task_name} as done", "The task {task_name} is done"),
        T("todoist", "todoist_get_tasks", "Lists tasks.", ["?project_id:code", "?filter:text", "?limit:limit"], "What are my tasks?", "Show my (tasks|list)", "List (all |my |)tasks", "What do I have to do?"),
        T("notion", "API-post-search", "Searches pages by title.", ["query:text"], "Search Notion for {query}", "Find the page {query} in Notion", "Is there a Notion page {query}?", "Notion: look for {query}"),
        T("notion", "API-retrieve-a-page", "One page.", ["page_id:code"], "Open the (Notion |)page {page_id}", "Show page {page_id}", "Get the page {page_id}", "Retrieve {page_id} from Notion"),
        T("sequential-thinking", "sequentialthinking", "Takes a step of thinking.", ["thought:text", "nextThoughtNeeded:bool", "thoughtNumber:int", "totalThoughts:int"], "Think step {thoughtNumber} of {totalThoughts}: {thought}, more needed: {nextThoughtNeeded}", "Thought {thoughtNumber}/{totalThoughts} (next {nextThoughtNeeded}): {thought}", "Note the thought {thought} as {thoughtNumber} of {totalThoughts}, next {nextThoughtNeeded}", "Step {thoughtNumber} of {totalThoughts}, next {nextThoughtNeeded}: {thought}"),
        T("airbnb", "airbnb_search", "Finds places to stay.", ["location:city", "?checkin:date", "?checkout:date", "?adults:int"], "Find a place to stay in {location}", "Search Airbnb in {location}", "Where can I stay in {location}?", "Rooms in {location}, please"),
        T("airbnb", "airbnb_listing_details", "Details of one listing.", ["id:number", "?checkin:date"], "Show the listing {id}", "Details of listing {id}", "What is the listing {id} like?", "Tell me about the Airbnb {id}"),
        T("sentry", "get_sentry_issue", "One issue of Sentry.", ["issue_id_or_url:number"], "Show the Sentry issue {issue_id_or_url}", "What is Sentry issue {issue_id_or_url}?", "Get issue {issue_id_or_url} from Sentry", "Look at the error {issue_id_or_url} in Sentry"),
        T("sentry", "get_list_issues", "Issues of a project.", ["project_slug:word", "organization_slug:word"], "List the Sentry issues of {project_slug} in {organization_slug}", "Which errors does {project_slug} of {organization_slug} have?", "Sentry issues for {organization_slug}, project {project_slug}", "Show the errors of project {project_slug} of {organization_slug}"),
        T("playwright", "browser_navigate", "Goes to a page.", ["url:url"], "Go to {url}", "Open {url} in the browser", "Browse to {url}", "Navigate to {url}"),
        T("playwright", "browser_snapshot", "What the page shows now.", [], "What is on the page?", "Take a snapshot of the page", "Show me the page", "Snapshot, please"),
        T("playwright", "browser_press_key", "Presses a key.", ["key:word"], "Press the key {key}", "Hit {key}", "Push the key {key}", "Type the key {key}"),
        T("redis", "set", "Stores a value under a key.", ["key:key", "value:text", "?expireSeconds:int"], "Set {key} to {value}", "Store {value} under {key}", "Put {value} into the key {key}", "Save {value} as {key}"),
        T("redis", "get", "The value of a key.", ["key:key"], "Get {key}", "What is stored under {key}?", "Read the key {key}", "Value of {key}?"),
        T("redis", "list", "Lists keys.", ["?pattern:pattern"], "List the keys", "Which keys are there?", "Show all keys", "What keys do we have?"),
    ];

    /// <summary>Draws a call of a tool with the request for it.</summary>
    public static (string Request, Dictionary<string, object?> Arguments) Use(Lexicon l, McpTool tool)
    {
        List<(string Slot, string Value)> said = new();
        Dictionary<string, object?> arguments = new();
        string tail = "";
        foreach (string argument in tool.Arguments)
        {
            string[] parts = argument.TrimStart('?').Split(':');
            bool optional = argument[0] == '?';
            if (optional && (parts[1] != "limit" || tail.Length > 0 || !l.Chance(0.3)))
            {
                continue;
            }

            (string text, object value) = Value(l, parts[1]);
            arguments[parts[0]] = value;
            if (optional)
            {
                tail = s_limit.Fill(l, ("v", text));
            }
            else
            {
                said.Add((parts[0], text));
            }
        }

        string request = tool.Requests.Fill(l, [.. said]);
        return (tail.Length > 0 ? request.TrimEnd('?', '.') + tail : request, arguments);
    }

    /// <summary>A value as the user says it and as the call has it.</summary>
    public static (string Text, object Value) Value(Lexicon l, string kind)
    {
        string text = kind switch
        {
            "path" => Folder(l) + "/" + l.Word() + "." + l.Pick(s_extensions),
            "relative" => l.Word() + "/" + l.Word() + "." + l.Pick(s_extensions),
            "dir" => Folder(l),
            "pattern" => "*." + l.Pick(s_extensions),
            "url" => $"https://{l.Word()}.{l.Pick(["com", "org", "net", "io"])}" + (l.Chance(0.5) ? "/" + l.Word() : ""),
            "name" or "word" or "entities" or "names" => l.Word(),
            "branch" => l.Pick(["feature/", "fix/", "", ""]) + l.Word(),
            "sha" => l.Draw(() => l.Random.Next(0x1000000, 0xfffffff).ToString("x7", CultureInfo.InvariantCulture)),
            "zone" => l.Pick(s_zones),
            "clock" => l.Clock(),
            "select" => $"SELECT {l.Pick(["*", l.Word(), "count(*)"])} FROM {l.Word()}",
            "update" => $"DELETE FROM {l.Word()} WHERE id = {l.Medium()}",
            "number" => l.Large(),
            "int" or "limit" => l.Small(),
            "degrees" => l.Draw(() => (l.Random.Next(-8999, 9000) / 100.0).ToString("0.00", CultureInfo.InvariantCulture)),
            "code" => l.Code(),
            "stamp" => l.Draw(() => string.Create(CultureInfo.InvariantCulture, $"{l.Random.Next(1_000, 99_999)}.{l.Random.Next(10, 999)}")),
            "selector" => l.Pick(["#", ".", "button."]) + l.Word(),
            "address" => $"{l.Small()} {l.FamilyName()} Street, {l.City()}",
            "city" => l.City(),
            "key" => l.Word() + ":" + l.Medium(),
            "bool" => l.Chance(0.5) ? "true" : "false",
            "text" => l.Phrase(),
            _ => throw new ArgumentException($"There is no kind '{kind}' of value."),
        };
        return (text, kind switch
        {
            "number" or "int" or "limit" => long.Parse(text, CultureInfo.InvariantCulture),
            "degrees" => decimal.Parse(text, CultureInfo.InvariantCulture),
            "bool" => text == "true",
            "names" => new[] { text },
            "entities" => new[] { new Dictionary<string, object?> { ["name"] = text, ["entityType"] = "thing", ["observations"] = Array.Empty<string>() } },
            _ => text,
        });
    }

    public static System.Text.Json.JsonElement Schema(string[] arguments)
    {
        JsonObject properties = new();
        JsonArray required = new();
        foreach (string argument in arguments)
        {
            string[] parts = argument.TrimStart('?').Split(':');
            properties[parts[0]] = parts[1] switch
            {
                "number" or "int" or "limit" => new JsonObject { ["type"] = parts[1] == "limit" ? "number" : "integer" },
                "degrees" => new JsonObject { ["type"] = "number" },
                "bool" => new JsonObject { ["type"] = "boolean" },
                "names" => new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["type"] = "string" } },
                "entities" => new JsonObject
                {
                    ["type"] = "array",
                    ["items"] = new JsonObject
                    {
                        ["type"] = "object",
                        ["properties"] = new JsonObject
                        {
                            ["name"] = new JsonObject { ["type"] = "string" }, ["entityType"] = new JsonObject { ["type"] = "string" },
                            ["observations"] = new JsonObject { ["type"] = "array", ["items"] = new JsonObject { ["type"] = "string" } },
                        },
                        ["required"] = new JsonArray("name", "entityType", "observations"),
                    },
                },
                var values when values.Contains('|', StringComparison.Ordinal) => new JsonObject { ["type"] = "string", ["enum"] = new JsonArray([.. values.Split('|').Select(v => JsonValue.Create(v))]) },
                _ => new JsonObject { ["type"] = "string" },
            };
            if (argument[0] != '?')
            {
                required.Add(parts[0]);
            }
        }

        JsonObject schema = new() { ["type"] = "object", ["properties"] = properties };
        if (required.Count > 0)
        {
            schema["required"] = required;
        }

        return System.Text.Json.JsonSerializer.SerializeToElement(schema);
    }

    private static string Folder(Lexicon l) => l.Pick(["/home/", "/srv/", "/data/", "/tmp/", "C:/", "/"]) + l.Word() + (l.Chance(0.4) ? "/" + l.Word() : "");

    private static McpTool T(string server, string name, string description, string[] arguments, params string[] requests) => new(server, name, description, arguments, new Phrasings(requests));
}
