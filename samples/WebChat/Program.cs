await WebChat.WebChatApp.Build(args).RunAsync();
