// Three nodes of samples/Cluster by Aspire, with Redis or PostgreSQL for the membership by connection string:
//   ConnectionStrings__redis=10.0.0.5:6379 dotnet run --project samples/ClusterAppHost -c Release
// Converse with them in another terminal, with the same variable: dotnet run --project samples/Cluster -c Release
using Microsoft.Extensions.Configuration;

IDistributedApplicationBuilder app = DistributedApplication.CreateBuilder(args);
string store = app.Configuration.GetConnectionString("postgresql") is null ? "redis" : "postgresql";
IResourceBuilder<IResourceWithConnectionString> membership = app.AddConnectionString(store);
for (int number = 0; number < 3; number++)
{
    app.AddProject<Projects.Cluster>($"node{number}").WithArgs("node", $"{number}").WithReference(membership);
}

app.Build().Run();
