using System.Collections.Concurrent;
using System.Net;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using k8s;
using k8s.Models;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Hosting.Kubernetes;
using Orleans.Runtime;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>The manifests of the guides are what Kubernetes takes, and what Orleans' hosting on Kubernetes asks for.</summary>
public partial class KubernetesTests
{
    [Theory]
    [InlineData("cluster.md", 4)]
    [InlineData("containers.md", 1)]
    public void ManifestsHaveNothingThatKubernetesDoesNotKnow(string page, int objects) => Assert.Equal(objects, Manifest(page).Count);

    /// <summary>Otherwise the test above would see nothing.</summary>
    [Theory]
    [InlineData("readinessProbe", "readynessProbe")]
    [InlineData("terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: a minute")]
    [InlineData("memory: 3Gi", "memory: 3Gig")]
    [InlineData("fieldPath: status.podIP", "path: status.podIP")]
    [InlineData("roleRef: {", "role: {")]
    [InlineData("rbac.authorization.k8s.io/v1\nkind: Role\n", "rbac.authorization.k8s.io/v1\nkind: Rule\n")]
    public void MistakesInManifestsAreSeen(string right, string wrong)
    {
        string yaml = Yaml("cluster.md");
        Assert.Contains(right, yaml, StringComparison.Ordinal);
        Assert.ThrowsAny<Exception>(() => KubernetesYaml.LoadAllFromString(yaml.Replace(right, wrong, StringComparison.Ordinal), strict: true));
    }

    /// <summary>Names in a manifest that the schema cannot compare with each other.</summary>
    [Theory]
    [InlineData("cluster.md")]
    [InlineData("containers.md")]
    public void NamesInManifestsLeadToWhatTheyName(string page)
    {
        List<object> all = Manifest(page);
        V1Deployment deployment = Assert.Single(all.OfType<V1Deployment>());
        V1PodSpec pod = deployment.Spec.Template.Spec;
        Assert.False(string.IsNullOrEmpty(deployment.Metadata.Name));
        Assert.All(deployment.Spec.Selector.MatchLabels, label => Assert.Equal(label.Value, deployment.Spec.Template.Metadata.Labels[label.Key]));
        Assert.All(pod.Containers, container =>
        {
            Assert.False(string.IsNullOrEmpty(container.Name) || string.IsNullOrEmpty(container.Image));
            Assert.All(container.VolumeMounts, mount => Assert.Contains(pod.Volumes, volume => volume.Name == mount.Name));
            Assert.All(container.Resources.Requests, request => Assert.True(request.Value.ToDecimal() <= container.Resources.Limits[request.Key].ToDecimal()));
            IntOrString[] probed = [.. new[] { container.StartupProbe, container.ReadinessProbe, container.LivenessProbe }.OfType<V1Probe>().Select(probe => probe.HttpGet?.Port ?? probe.TcpSocket.Port)];
            Assert.NotEmpty(probed);
            Assert.All(probed, port => Assert.Contains(container.Ports, own => own.Name == port.Value || $"{own.ContainerPort}" == port.Value));
        });
        if (pod.ServiceAccountName is { } account)
        {
            V1RoleBinding binding = Assert.Single(all.OfType<V1RoleBinding>());
            Assert.Equal(account, Assert.Single(all.OfType<V1ServiceAccount>()).Metadata.Name);
            Assert.Equal(("ServiceAccount", account), (Assert.Single(binding.Subjects).Kind, binding.Subjects[0].Name));
            Assert.Equal(("Role", "rbac.authorization.k8s.io", Assert.Single(all.OfType<V1Role>()).Metadata.Name), (binding.RoleRef.Kind, binding.RoleRef.ApiGroup, binding.RoleRef.Name));
        }
    }

    /// <summary>
    /// A silo with Orleans' hosting on Kubernetes and the environment of the manifest's pods takes cluster, name and address from it, and asks of Kubernetes (here a server of the test's own that keeps the
    /// manifest's rights) only what the manifest's role lets it do.
    /// </summary>
    [Fact]
    public async Task ASiloStartsWithTheManifestsEnvironmentLabelsAndRights()
    {
        List<object> all = Manifest("cluster.md");
        V1Deployment deployment = all.OfType<V1Deployment>().Single();
        V1PolicyRule rights = Assert.Single(all.OfType<V1Role>().Single().Rules);
        V1Pod pod = new()
        {
            ApiVersion = "v1",
            Kind = "Pod",
            Metadata = new V1ObjectMeta { Name = "gemma-node-5c9d-x2x4q", NamespaceProperty = "models", Labels = deployment.Spec.Template.Metadata.Labels },
            Status = new V1PodStatus { PodIP = "127.0.0.1" },
        };
        Dictionary<string, string> environment = deployment.Spec.Template.Spec.Containers[0].Env.Where(variable => variable.ValueFrom?.SecretKeyRef is null).ToDictionary(
            variable => variable.Name, variable => variable.Value ?? variable.ValueFrom.FieldRef.FieldPath switch
            {
                "metadata.name" => pod.Metadata.Name,
                "metadata.namespace" => pod.Metadata.NamespaceProperty,
                "status.podIP" => pod.Status.PodIP,
                string other => throw new InvalidOperationException($"A pod has no field '{other}'."),
            });
        await using PodServer kubernetes = await PodServer.StartAsync(pod, rights);
        string[] before = [.. environment.Keys.Where(name => Environment.GetEnvironmentVariable(name) is not null)];
        Assert.Empty(before);
        foreach ((string name, string value) in environment)
        {
            Environment.SetEnvironmentVariable(name, value);
        }

        try
        {
            HostApplicationBuilder builder = Host.CreateApplicationBuilder();
            builder.Logging.ClearProviders();
            builder.UseOrleans(silo => silo
                .UseLocalhostClustering(ClusterProcesses.FreePort(), ClusterProcesses.FreePort())
                .UseKubernetesHosting(hosting => hosting.Configure(options => options.GetClientConfiguration = () => new KubernetesClientConfiguration { Host = kubernetes.Address, Namespace = pod.Metadata.NamespaceProperty }))
                .AddGemmaNode(node => node.AddModel("tiny", TinyModel.Path).Threads = 1));
            builder.Services.AddGemmaClusterChatClient("tiny");
            using IHost host = builder.Build();
            await host.StartAsync();
            ILocalSiloDetails details = host.Services.GetRequiredService<ILocalSiloDetails>();
            ClusterOptions cluster = host.Services.GetRequiredService<IOptions<ClusterOptions>>().Value;
            Assert.Equal((pod.Metadata.Name, IPAddress.Loopback), (details.Name, details.SiloAddress.Endpoint.Address));
            Assert.Equal((pod.Metadata.Labels[KubernetesHostingOptions.ClusterIdLabel], pod.Metadata.Labels[KubernetesHostingOptions.ServiceIdLabel]), (cluster.ClusterId, cluster.ServiceId));
            Assert.NotEmpty((await host.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 4 })).Text);
            await Eventually.IsTrueAsync(() => kubernetes.Asked.Contains("watch pods"));
            await host.StopAsync();
        }
        finally
        {
            foreach (string name in environment.Keys)
            {
                Environment.SetEnvironmentVariable(name, null);
            }
        }

        Assert.Contains("list pods", kubernetes.Asked);
        Assert.Empty(kubernetes.Refused);
    }

    private static List<object> Manifest(string page) => KubernetesYaml.LoadAllFromString(Yaml(page), strict: true);

    private static string Yaml(string page) => Assert.Single(Block().Matches(File.ReadAllText(Path.Combine(TestData.Repository, "src", "docs", page)).ReplaceLineEndings("\n"))).Groups[1].Value;

    [GeneratedRegex("```yaml\n(apiVersion.*?)```", RegexOptions.Singleline)]
    private static partial Regex Block();

    /// <summary>What Kubernetes tells of the pods of a namespace with one pod, to those who have the right.</summary>
    private sealed class PodServer : IAsyncDisposable
    {
        private readonly WebApplication _application;
        private readonly V1Pod _pod;
        private readonly V1PolicyRule _rights;
        private readonly ConcurrentQueue<string> _asked = new();
        private readonly ConcurrentQueue<string> _refused = new();

        private PodServer(WebApplication application, V1Pod pod, V1PolicyRule rights) => (_application, _pod, _rights) = (application, pod, rights);

        public string Address => _application.Urls.Single();

        /// <summary>Verbs and resources, in Kubernetes' words.</summary>
        public string[] Asked => [.. _asked];

        public string[] Refused => [.. _refused];

        public static async Task<PodServer> StartAsync(V1Pod pod, V1PolicyRule rights)
        {
            WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            WebApplication application = builder.Build();
            PodServer server = new(application, pod, rights);
            application.Run(server.AnswerAsync);
            await application.StartAsync();
            return server;
        }

        public ValueTask DisposeAsync() => _application.DisposeAsync();

        private async Task AnswerAsync(HttpContext context)
        {
            string[] path = context.Request.Path.Value!.Trim('/').Split('/');
            bool isOfPods = path is ["api", "v1", "namespaces", _, "pods", ..] && path[3] == _pod.Metadata.NamespaceProperty;
            bool watches = context.Request.Query["watch"] == "true", isOne = path.Length == 6;
            string verb = context.Request.Method switch
            {
                "GET" => isOne ? "get" : watches ? "watch" : "list",
                "PATCH" => "patch",
                "DELETE" => "delete",
                string other => other,
            };
            string asked = $"{verb} {(isOfPods ? "pods" : context.Request.Path)}";
            _asked.Enqueue(asked);
            if (!isOfPods || !_rights.Verbs.Contains(verb) || !_rights.Resources.Contains("pods") || !_rights.ApiGroups.Contains(""))
            {
                _refused.Enqueue(asked);
                context.Response.StatusCode = StatusCodes.Status403Forbidden;
                return;
            }

            bool isMeant = isOne ? path[5] == _pod.Metadata.Name : $"{context.Request.Query["labelSelector"]}".Split(',').Select(label => label.Split('=')).All(label => _pod.Metadata.Labels.TryGetValue(label[0], out string? value) && value == label[1]);
            if (isOne && !isMeant)
            {
                context.Response.StatusCode = StatusCodes.Status404NotFound;
                return;
            }

            context.Response.ContentType = "application/json";
            if (watches)
            {
                await context.Response.Body.FlushAsync(context.RequestAborted);
                await Task.Delay(Timeout.Infinite, context.RequestAborted).ContinueWith(_ => { }, TaskScheduler.Default);
                return;
            }

            await context.Response.WriteAsync(isOne
                ? KubernetesJson.Serialize(_pod)
                : KubernetesJson.Serialize(new V1PodList { ApiVersion = "v1", Kind = "PodList", Metadata = new V1ListMeta { ResourceVersion = "1" }, Items = isMeant ? [_pod] : [] }), context.RequestAborted);
        }
    }
}
