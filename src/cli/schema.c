/* SPDX-License-Identifier: Apache-2.0
 *
 * The structs that Docker's client decodes answers into (docker/docker v28.2.2, found by reflection), since `inspect --format` is evaluated over
 * them first: names, order, and types of fields are what templates see. One line per type: `package.Type { Field type; }`; `=key`: the name in
 * JSON where it differs; `?`: omitempty; `+`: embedded. The text is read when the first template needs it. */
#include <string.h>

#include "cli/schema.h"

static const char schema[] =
	"image.UnpackedSize { Unpacked int64; }\n"
	"image.ManifestSize { Content int64; Total int64; }\n"
	"types.PlatformName { Name string; }\n"
	"container.HealthcheckResult { Start time.Time; End time.Time; ExitCode int; Output string; }\n"
	"container.Health { Status string; FailingStreak int; Log []*container.HealthcheckResult; }\n"
	"container.State { Status string; Running bool; Paused bool; Restarting bool; OOMKilled bool; Dead bool; Pid int; ExitCode int; Error string;\n"
	"  StartedAt string; FinishedAt string; Health? *container.Health; }\n"
	"container.LogConfig { Type string; Config map[string]string; }\n"
	"container.NetworkMode = string\n"
	"nat.Port = string\n"
	"nat.PortBinding { HostIP=HostIp string; HostPort string; }\n"
	"nat.PortMap = map[nat.Port][]nat.PortBinding\n"
	"container.RestartPolicyMode = string\n"
	"container.RestartPolicy { Name container.RestartPolicyMode; MaximumRetryCount int; }\n"
	"strslice.StrSlice = []string\n"
	"container.CgroupnsMode = string\n"
	"container.IpcMode = string\n"
	"container.CgroupSpec = string\n"
	"container.PidMode = string\n"
	"container.UTSMode = string\n"
	"container.UsernsMode = string\n"
	"container.Isolation = string\n"
	"blkiodev.WeightDevice { Path string; Weight uint16; }\n"
	"blkiodev.ThrottleDevice { Path string; Rate uint64; }\n"
	"container.DeviceMapping { PathOnHost string; PathInContainer string; CgroupPermissions string; }\n"
	"container.DeviceRequest { Driver string; Count int; DeviceIDs []string; Capabilities [][]string; Options map[string]string; }\n"
	"units.Ulimit { Name string; Hard int64; Soft int64; }\n"
	"container.Resources { CPUShares=CpuShares int64; Memory int64; NanoCPUs=NanoCpus int64; CgroupParent string; BlkioWeight uint16;\n"
	"  BlkioWeightDevice []*blkiodev.WeightDevice; BlkioDeviceReadBps []*blkiodev.ThrottleDevice; BlkioDeviceWriteBps []*blkiodev.ThrottleDevice;\n"
	"  BlkioDeviceReadIOps []*blkiodev.ThrottleDevice; BlkioDeviceWriteIOps []*blkiodev.ThrottleDevice; CPUPeriod=CpuPeriod int64; CPUQuota=CpuQuota int64;\n"
	"  CPURealtimePeriod=CpuRealtimePeriod int64; CPURealtimeRuntime=CpuRealtimeRuntime int64; CpusetCpus string; CpusetMems string;\n"
	"  Devices []container.DeviceMapping; DeviceCgroupRules []string; DeviceRequests []container.DeviceRequest; KernelMemory? int64; KernelMemoryTCP? int64;\n"
	"  MemoryReservation int64; MemorySwap int64; MemorySwappiness *int64; OomKillDisable *bool; PidsLimit *int64; Ulimits []*units.Ulimit;\n"
	"  CPUCount=CpuCount int64; CPUPercent=CpuPercent int64; IOMaximumIOps uint64; IOMaximumBandwidth uint64; }\n"
	"mount.Type = string\n"
	"mount.Consistency = string\n"
	"mount.Propagation = string\n"
	"mount.BindOptions { Propagation? mount.Propagation; NonRecursive? bool; CreateMountpoint? bool; ReadOnlyNonRecursive? bool;\n"
	"  ReadOnlyForceRecursive? bool; }\n"
	"mount.Driver { Name? string; Options? map[string]string; }\n"
	"mount.VolumeOptions { NoCopy? bool; Labels? map[string]string; Subpath? string; DriverConfig? *mount.Driver; }\n"
	"mount.ImageOptions { Subpath? string; }\n"
	"fs.FileMode = uint32\n"
	"mount.TmpfsOptions { SizeBytes? int64; Mode? fs.FileMode; Options? [][]string; }\n"
	"mount.ClusterOptions { }\n"
	"mount.Mount { Type? mount.Type; Source? string; Target? string; ReadOnly? bool; Consistency? mount.Consistency; BindOptions? *mount.BindOptions;\n"
	"  VolumeOptions? *mount.VolumeOptions; ImageOptions? *mount.ImageOptions; TmpfsOptions? *mount.TmpfsOptions; ClusterOptions? *mount.ClusterOptions; }\n"
	"container.HostConfig { Binds []string; ContainerIDFile string; LogConfig container.LogConfig; NetworkMode container.NetworkMode;\n"
	"  PortBindings nat.PortMap; RestartPolicy container.RestartPolicy; AutoRemove bool; VolumeDriver string; VolumesFrom []string; ConsoleSize [2]uint;\n"
	"  Annotations? map[string]string; CapAdd strslice.StrSlice; CapDrop strslice.StrSlice; CgroupnsMode container.CgroupnsMode; DNS=Dns []string;\n"
	"  DNSOptions=DnsOptions []string; DNSSearch=DnsSearch []string; ExtraHosts []string; GroupAdd []string; IpcMode container.IpcMode;\n"
	"  Cgroup container.CgroupSpec; Links []string; OomScoreAdj int; PidMode container.PidMode; Privileged bool; PublishAllPorts bool; ReadonlyRootfs bool;\n"
	"  SecurityOpt []string; StorageOpt? map[string]string; Tmpfs? map[string]string; UTSMode container.UTSMode; UsernsMode container.UsernsMode;\n"
	"  ShmSize int64; Sysctls? map[string]string; Runtime? string; Isolation container.Isolation; Resources+ container.Resources; Mounts? []mount.Mount;\n"
	"  MaskedPaths []string; ReadonlyPaths []string; Init? *bool; }\n"
	"storage.DriverData { Data map[string]string; Name string; }\n"
	"container.ContainerJSONBase { ID=Id string; Created string; Path string; Args []string; State *container.State; Image string; ResolvConfPath string;\n"
	"  HostnamePath string; HostsPath string; LogPath string; Name string; RestartCount int; Driver string; Platform string; MountLabel string;\n"
	"  ProcessLabel string; AppArmorProfile string; ExecIDs []string; HostConfig *container.HostConfig; GraphDriver storage.DriverData; SizeRw? *int64;\n"
	"  SizeRootFs? *int64; }\n"
	"container.MountPoint { Type? mount.Type; Name? string; Source string; Destination string; Driver? string; Mode string; RW bool;\n"
	"  Propagation mount.Propagation; }\n"
	"nat.PortSet = map[nat.Port]struct {}\n"
	"time.Duration = int64\n"
	"v1.HealthcheckConfig { Test? []string; Interval? time.Duration; Timeout? time.Duration; StartPeriod? time.Duration; StartInterval? time.Duration;\n"
	"  Retries? int; }\n"
	"container.Config { Hostname string; Domainname string; User string; AttachStdin bool; AttachStdout bool; AttachStderr bool; ExposedPorts? nat.PortSet;\n"
	"  Tty bool; OpenStdin bool; StdinOnce bool; Env []string; Cmd strslice.StrSlice; Healthcheck? *v1.HealthcheckConfig; ArgsEscaped? bool; Image string;\n"
	"  Volumes map[string]struct {}; WorkingDir string; Entrypoint strslice.StrSlice; NetworkDisabled? bool; MacAddress? string; OnBuild []string;\n"
	"  Labels map[string]string; StopSignal? string; StopTimeout? *int; Shell? strslice.StrSlice; }\n"
	"network.Address { Addr string; PrefixLen int; }\n"
	"container.NetworkSettingsBase { Bridge string; SandboxID string; SandboxKey string; Ports nat.PortMap; HairpinMode bool; LinkLocalIPv6Address string;\n"
	"  LinkLocalIPv6PrefixLen int; SecondaryIPAddresses []network.Address; SecondaryIPv6Addresses []network.Address; }\n"
	"container.DefaultNetworkSettings { EndpointID string; Gateway string; GlobalIPv6Address string; GlobalIPv6PrefixLen int; IPAddress string;\n"
	"  IPPrefixLen int; IPv6Gateway string; MacAddress string; }\n"
	"network.EndpointIPAMConfig { IPv4Address? string; IPv6Address? string; LinkLocalIPs? []string; }\n"
	"network.EndpointSettings { IPAMConfig *network.EndpointIPAMConfig; Links []string; Aliases []string; MacAddress string; DriverOpts map[string]string;\n"
	"  GwPriority int; NetworkID string; EndpointID string; Gateway string; IPAddress string; IPPrefixLen int; IPv6Gateway string; GlobalIPv6Address string;\n"
	"  GlobalIPv6PrefixLen int; DNSNames []string; }\n"
	"container.NetworkSettings { NetworkSettingsBase+ container.NetworkSettingsBase; DefaultNetworkSettings+ container.DefaultNetworkSettings;\n"
	"  Networks map[string]*network.EndpointSettings; }\n"
	"digest.Digest = string\n"
	"v1.Platform { Architecture=architecture string; OS=os string; OSVersion=os.version? string; OSFeatures=os.features? []string; Variant=variant? string; }\n"
	"v1.Descriptor { MediaType=mediaType string; Digest=digest digest.Digest; Size=size int64; URLs=urls? []string;\n"
	"  Annotations=annotations? map[string]string; Data=data? []uint8; Platform=platform? *v1.Platform; ArtifactType=artifactType? string; }\n"
	"container.InspectResponse { ContainerJSONBase+ *container.ContainerJSONBase; Mounts []container.MountPoint; Config *container.Config;\n"
	"  NetworkSettings *container.NetworkSettings; ImageManifestDescriptor? *v1.Descriptor; }\n"
	"v1.ImageConfig { User? string; ExposedPorts? map[string]struct {}; Env? []string; Entrypoint? []string; Cmd? []string; Volumes? map[string]struct {};\n"
	"  WorkingDir? string; Labels? map[string]string; StopSignal? string; ArgsEscaped? bool; }\n"
	"v1.DockerOCIImageConfigExt { Healthcheck? *v1.HealthcheckConfig; OnBuild? []string; Shell? []string; }\n"
	"v1.DockerOCIImageConfig { ImageConfig+ v1.ImageConfig; DockerOCIImageConfigExt+ v1.DockerOCIImageConfigExt; }\n"
	"image.RootFS { Type? string; Layers? []string; }\n"
	"image.Metadata { LastTagTime? time.Time; }\n"
	"image.ManifestKind = string\n"
	"image.ImageProperties { Platform v1.Platform; Size image.UnpackedSize; Containers []string; }\n"
	"image.AttestationProperties { For digest.Digest; }\n"
	"image.ManifestSummary { ID string; Descriptor v1.Descriptor; Available bool; Size image.ManifestSize; Kind image.ManifestKind;\n"
	"  ImageData? *image.ImageProperties; AttestationData? *image.AttestationProperties; }\n"
	"image.InspectResponse { ID=Id string; RepoTags []string; RepoDigests []string; Parent string; Comment string; Created? string; Container? string;\n"
	"  ContainerConfig? *container.Config; DockerVersion string; Author string; Config *v1.DockerOCIImageConfig; Architecture string; Variant? string;\n"
	"  Os string; OsVersion? string; Size int64; VirtualSize? int64; GraphDriver storage.DriverData; RootFS image.RootFS; Metadata image.Metadata;\n"
	"  Descriptor? *v1.Descriptor; Manifests? []image.ManifestSummary; }\n"
	"network.IPAMConfig { Subnet? string; IPRange? string; Gateway? string; AuxAddress=AuxiliaryAddresses? map[string]string; }\n"
	"network.IPAM { Driver string; Options map[string]string; Config []network.IPAMConfig; }\n"
	"network.ConfigReference { Network string; }\n"
	"network.EndpointResource { Name string; EndpointID string; MacAddress string; IPv4Address string; IPv6Address string; }\n"
	"network.PeerInfo { Name string; IP string; }\n"
	"network.Task { Name string; EndpointID string; EndpointIP string; Info map[string]string; }\n"
	"network.ServiceInfo { VIP string; Ports []string; LocalLBIndex int; Tasks []network.Task; }\n"
	"network.Inspect { Name string; ID=Id string; Created time.Time; Scope string; Driver string; EnableIPv4 bool; EnableIPv6 bool; IPAM network.IPAM;\n"
	"  Internal bool; Attachable bool; Ingress bool; ConfigFrom network.ConfigReference; ConfigOnly bool; Containers map[string]network.EndpointResource;\n"
	"  Options map[string]string; Labels map[string]string; Peers? []network.PeerInfo; Services? map[string]network.ServiceInfo; }\n"
	"swarm.Version { Index? uint64; }\n"
	"swarm.Meta { Version? swarm.Version; CreatedAt? time.Time; UpdatedAt? time.Time; }\n"
	"volume.Scope = string\n"
	"volume.SharingMode = string\n"
	"volume.TypeMount { FsType? string; MountFlags? []string; }\n"
	"volume.TypeBlock { }\n"
	"volume.AccessMode { Scope? volume.Scope; Sharing? volume.SharingMode; MountVolume? *volume.TypeMount; BlockVolume? *volume.TypeBlock; }\n"
	"volume.Topology { Segments? map[string]string; }\n"
	"volume.TopologyRequirement { Requisite? []volume.Topology; Preferred? []volume.Topology; }\n"
	"volume.CapacityRange { RequiredBytes int64; LimitBytes int64; }\n"
	"volume.Secret { Key string; Secret string; }\n"
	"volume.Availability = string\n"
	"volume.ClusterVolumeSpec { Group? string; AccessMode? *volume.AccessMode; AccessibilityRequirements? *volume.TopologyRequirement;\n"
	"  CapacityRange? *volume.CapacityRange; Secrets? []volume.Secret; Availability? volume.Availability; }\n"
	"volume.PublishState = string\n"
	"volume.PublishStatus { NodeID? string; State? volume.PublishState; PublishContext? map[string]string; }\n"
	"volume.Info { CapacityBytes? int64; VolumeContext? map[string]string; VolumeID? string; AccessibleTopology? []volume.Topology; }\n"
	"volume.ClusterVolume { ID string; Meta+ swarm.Meta; Spec volume.ClusterVolumeSpec; PublishStatus? []*volume.PublishStatus; Info? *volume.Info; }\n"
	"volume.UsageData { RefCount int64; Size int64; }\n"
	"volume.Volume { ClusterVolume? *volume.ClusterVolume; CreatedAt? string; Driver string; Labels map[string]string; Mountpoint string; Name string;\n"
	"  Options map[string]string; Scope string; Status? map[string]interface {}; UsageData? *volume.UsageData; }\n"
	"events.Type = string\n"
	"events.Action = string\n"
	"events.Actor { ID string; Attributes map[string]string; }\n"
	"events.Message { Status=status? string; ID=id? string; From=from? string; Type events.Type; Action events.Action; Actor events.Actor;\n"
	"  Scope=scope? string; Time=time? int64; TimeNano=timeNano? int64; }\n"
	"system.PluginsInfo { Volume []string; Network []string; Authorization []string; Log []string; }\n"
	/* not as reflection finds them: ServiceConfig marshals itself, networks as text and keys sorted (test_cli_framework.py compares) */
	"registry.NetIPNet = string\n"
	"registry.IndexInfo { Mirrors []string; Name string; Official bool; Secure bool; }\n"
	"registry.ServiceConfig { AllowNondistributableArtifactsCIDRs? []*registry.NetIPNet; AllowNondistributableArtifactsHostnames? []string;\n"
	"  IndexConfigs map[string]*registry.IndexInfo; InsecureRegistryCIDRs []*registry.NetIPNet; Mirrors []string; ExtraFields=- map[string]interface {}; }\n"
	"swarm.NamedGenericResource { Kind? string; Value? string; }\n"
	"swarm.DiscreteGenericResource { Kind? string; Value? int64; }\n"
	"swarm.GenericResource { NamedResourceSpec? *swarm.NamedGenericResource; DiscreteResourceSpec? *swarm.DiscreteGenericResource; }\n"
	"system.Runtime { Path=path? string; Args=runtimeArgs? []string; Type=runtimeType? string; Options=options? map[string]interface {}; }\n"
	"system.RuntimeWithStatus { Runtime+ system.Runtime; Status=status? map[string]string; }\n"
	"swarm.LocalNodeState = string\n"
	"swarm.Peer { NodeID string; Addr string; }\n"
	"swarm.Annotations { Name? string; Labels map[string]string; }\n"
	"swarm.OrchestrationConfig { TaskHistoryRetentionLimit? *int64; }\n"
	"swarm.RaftConfig { SnapshotInterval? uint64; KeepOldSnapshots? *uint64; LogEntriesForSlowFollowers? uint64; ElectionTick int; HeartbeatTick int; }\n"
	"swarm.DispatcherConfig { HeartbeatPeriod? time.Duration; }\n"
	"swarm.ExternalCAProtocol = string\n"
	"swarm.ExternalCA { Protocol swarm.ExternalCAProtocol; URL string; Options? map[string]string; CACert string; }\n"
	"swarm.CAConfig { NodeCertExpiry? time.Duration; ExternalCAs? []*swarm.ExternalCA; SigningCACert? string; SigningCAKey? string; ForceRotate? uint64; }\n"
	"swarm.Driver { Name? string; Options? map[string]string; }\n"
	"swarm.TaskDefaults { LogDriver? *swarm.Driver; }\n"
	"swarm.EncryptionConfig { AutoLockManagers bool; }\n"
	"swarm.Spec { Annotations+ swarm.Annotations; Orchestration? swarm.OrchestrationConfig; Raft? swarm.RaftConfig; Dispatcher? swarm.DispatcherConfig;\n"
	"  CAConfig? swarm.CAConfig; TaskDefaults? swarm.TaskDefaults; EncryptionConfig? swarm.EncryptionConfig; }\n"
	"swarm.TLSInfo { TrustRoot? string; CertIssuerSubject? []uint8; CertIssuerPublicKey? []uint8; }\n"
	"swarm.ClusterInfo { ID string; Meta+ swarm.Meta; Spec swarm.Spec; TLSInfo swarm.TLSInfo; RootRotationInProgress bool; DefaultAddrPool []string;\n"
	"  SubnetSize uint32; DataPathPort uint32; }\n"
	"swarm.Info { NodeID string; NodeAddr string; LocalNodeState swarm.LocalNodeState; ControlAvailable bool; Error string; RemoteManagers []swarm.Peer;\n"
	"  Nodes? int; Managers? int; Cluster? *swarm.ClusterInfo; Warnings? []string; }\n"
	"system.Commit { ID string; Expected? string; }\n"
	"system.NetworkAddressPool { Base string; Size int; }\n"
	"system.FirewallInfo { Driver string; Info? [][2]string; }\n"
	"system.DeviceInfo { Source string; ID string; }\n"
	"system.ContainerdNamespaces { Containers string; Plugins string; }\n"
	"system.ContainerdInfo { Address? string; Namespaces system.ContainerdNamespaces; }\n"
	"system.Info { ID string; Containers int; ContainersRunning int; ContainersPaused int; ContainersStopped int; Images int; Driver string;\n"
	"  DriverStatus [][2]string; SystemStatus? [][2]string; Plugins system.PluginsInfo; MemoryLimit bool; SwapLimit bool; KernelMemory? bool;\n"
	"  KernelMemoryTCP? bool; CPUCfsPeriod=CpuCfsPeriod bool; CPUCfsQuota=CpuCfsQuota bool; CPUShares bool; CPUSet bool; PidsLimit bool;\n"
	"  IPv4Forwarding bool; Debug bool; NFd int; OomKillDisable bool; NGoroutines int; SystemTime string; LoggingDriver string; CgroupDriver string;\n"
	"  CgroupVersion? string; NEventsListener int; KernelVersion string; OperatingSystem string; OSVersion string; OSType string; Architecture string;\n"
	"  IndexServerAddress string; RegistryConfig *registry.ServiceConfig; NCPU int; MemTotal int64; GenericResources []swarm.GenericResource;\n"
	"  DockerRootDir string; HTTPProxy=HttpProxy string; HTTPSProxy=HttpsProxy string; NoProxy string; Name string; Labels []string; ExperimentalBuild bool;\n"
	"  ServerVersion string; Runtimes map[string]system.RuntimeWithStatus; DefaultRuntime string; Swarm swarm.Info; LiveRestoreEnabled bool;\n"
	"  Isolation container.Isolation; InitBinary string; ContainerdCommit system.Commit; RuncCommit system.Commit; InitCommit system.Commit;\n"
	"  SecurityOptions []string; ProductLicense? string; DefaultAddressPools? []system.NetworkAddressPool; FirewallBackend? *system.FirewallInfo;\n"
	"  CDISpecDirs []string; DiscoveredDevices? []system.DeviceInfo; Containerd? *system.ContainerdInfo; Warnings []string; }\n"
	"types.ComponentVersion { Name string; Version string; Details? map[string]string; }\n"
	"types.Version { Platform? types.PlatformName; Components? []types.ComponentVersion; Version string; APIVersion=ApiVersion string;\n"
	"  MinAPIVersion? string; GitCommit string; GoVersion string; Os string; Arch string; KernelVersion? string; Experimental? bool; BuildTime? string; }\n"
	"command.DockerContext { Description? string; AdditionalFields=- map[string]interface {}; }\n"
	"docker.EndpointMeta { Host? string; SkipTLSVerify bool; }\n"
	"store.Metadata { Name? string; Metadata command.DockerContext; Endpoints? map[string]docker.EndpointMeta; }\n"
	"store.EndpointFiles = []string\n"
	"store.StorageInfo { MetadataPath string; TLSPath string; }\n"
	"context.contextWithTLSListing { Metadata+ store.Metadata; TLSMaterial map[string]store.EndpointFiles; Storage store.StorageInfo; }\n"
	"system.platformInfo { Name? string; }\n"
	"system.clientVersion { Platform? *system.platformInfo; Version? string; APIVersion=ApiVersion? string; DefaultAPIVersion? string; GitCommit? string;\n"
	"  GoVersion? string; Os? string; Arch? string; BuildTime? string; Context string; }\n"
	"system.versionInfo { Client system.clientVersion; Server *types.Version; }\n"
	"manager.Plugin { SchemaVersion? string; Vendor? string; Version? string; ShortDescription? string; URL? string; Hidden? bool; Name string; Path string;\n"
	"  Err? string; ShadowedPaths? []string; }\n"
	"system.clientInfo { Debug bool; clientVersion+ system.clientVersion; Plugins []manager.Plugin; Warnings []string; }\n"
	"system.dockerInfo { Info+ system.Info; ServerErrors? []string; UserName=- string; ClientInfo? *system.clientInfo; ClientErrors? []string; }\n";

struct entry {
	const char *name, *body; /* behind the name: " { …" or " = …" */
	size_t name_len;
	struct tpl_type *type;
};
/* For the life of the program. */
static struct tpl_arena *arena;
static struct entry *entries;
static size_t n_entries;

static const struct tpl_type *type_of(const char **p);

static void load(void)
{
	size_t cap = 0;

	arena = tpl_arena_new();
	for (const char *line = schema; *line; line = strchr(line, '\n') + 1) {
		if (*line == ' ')
			continue;
		if (n_entries == cap) {
			cap = cap ? cap * 2 : 128;
			entries = cs_xreallocarray(entries, cap, sizeof(*entries));
		}
		size_t n = strcspn(line, " ");
		entries[n_entries++] = (struct entry){line, line + n, n, NULL};
	}
}

static const struct tpl_type *basic(const char *name, size_t n)
{
	static const struct tpl_type types[] = {
		{.name = "int32", .kind = TPL_INT, .bits = 32},	   {.name = "uint16", .kind = TPL_UINT, .bits = 16}, {.name = "uint32", .kind = TPL_UINT, .bits = 32},
		{.name = "uint", .kind = TPL_UINT},		   {.name = "uint8", .kind = TPL_UINT, .bits = 8},   {.name = "struct {}", .kind = TPL_STRUCT},
		{.name = "time.Time", .kind = TPL_STRING, .trait = TPL_TIME}};
	static const struct tpl_type *const known[] = {&tpl_string, &tpl_bool, &tpl_int, &tpl_int64, &tpl_uint64, &tpl_float64, &tpl_any};

	for (size_t i = 0; i < CS_ARRAY_SIZE(known); i++)
		if (strlen(known[i]->name) == n && memcmp(known[i]->name, name, n) == 0)
			return known[i];
	for (size_t i = 0; i < CS_ARRAY_SIZE(types); i++)
		if (strlen(types[i].name) == n && memcmp(types[i].name, name, n) == 0)
			return &types[i];
	return NULL;
}

static const struct tpl_type *compound(enum tpl_kind kind, const struct tpl_type *key, const struct tpl_type *elem, const char *name, size_t n)
{
	struct tpl_type *t = tpl_alloc(arena, sizeof(*t));

	if (!elem || (kind == TPL_MAP && !key))
		return NULL;
	t->kind = kind;
	t->key = key;
	t->elem = elem;
	t->name = tpl_strn(arena, name, n);
	return t;
}

/* "{ Field=key? type; … }" */
static bool struct_fields(struct tpl_type *t, const char *p)
{
	const char *end = strchr(p, '}');
	struct tpl_field *f;
	size_t n = 0;

	/* a map[string]struct {} inside has a brace of its own */
	while (end > p && end[-1] == '{')
		end = strchr(end + 1, '}');
	for (const char *q = p; q < end; q++)
		n += *q == ';';
	f = tpl_alloc(arena, (n + 1) * sizeof(*f));
	t->fields = f;
	for (p++; t->n_fields < n; t->n_fields++, f++) {
		p += strspn(p, " \n");
		size_t len = strcspn(p, " =?+");
		f->name = f->json = tpl_strn(arena, p, len);
		p += len;
		if (*p == '=') {
			len = strcspn(++p, " ?+");
			f->json = tpl_strn(arena, p, len);
			p += len;
		}
		for (; *p == '?' || *p == '+'; p++) {
			f->omit |= *p == '?';
			f->embedded |= *p == '+';
		}
		p++;
		f->type = type_of(&p);
		if (!f->type || *p++ != ';')
			return false;
	}
	return true;
}

static const struct tpl_type *named(const char *name, size_t n)
{
	for (size_t i = 0; i < n_entries; i++) {
		struct entry *e = &entries[i];
		if (e->name_len != n || memcmp(e->name, name, n) != 0)
			continue;
		if (e->type)
			return e->type;
		struct tpl_type *t = e->type = tpl_alloc(arena, sizeof(*t));
		const char *p = e->body + 1;
		if (*p == '=') {
			p += 2;
			const struct tpl_type *base = type_of(&p);
			if (!base)
				return NULL;
			*t = *base;
		} else {
			t->kind = TPL_STRUCT;
			if (!struct_fields(t, p))
				return NULL;
		}
		t->name = tpl_strn(arena, name, n);
		t->methods = schema_methods(t->name);
		t->list_or_string = strcmp(t->name, "strslice.StrSlice") == 0;
		if (strcmp(t->name, "time.Duration") == 0)
			t->trait = TPL_DURATION;
		if (strcmp(t->name, "units.Ulimit") == 0)
			t->trait = TPL_ULIMIT;
		return t;
	}
	return NULL;
}

/* Reads a type; *p moves behind it. NULL when the text is wrong. */
static const struct tpl_type *type_of(const char **p)
{
	const char *from = *p;
	size_t n;

	if (*from == '*') {
		++*p;
		const struct tpl_type *elem = type_of(p);
		return compound(TPL_PTR, NULL, elem, from, (size_t)(*p - from));
	}
	if (*from == '[') {
		size_t fixed = from[1] == ']' ? 0 : (size_t)(from[1] - '0');
		*p = strchr(from, ']') + 1;
		const struct tpl_type *elem = type_of(p), *t = compound(TPL_SLICE, NULL, elem, from, (size_t)(*p - from));
		if (t && elem == &tpl_string && !fixed)
			return &tpl_strings;
		if (t)
			((struct tpl_type *)(uintptr_t)t)->n_fields = fixed;
		return t;
	}
	if (strncmp(from, "map[", 4) == 0) {
		*p += 4;
		const struct tpl_type *key = type_of(p);
		if (**p != ']')
			return NULL;
		++*p;
		const struct tpl_type *elem = type_of(p);
		return compound(TPL_MAP, key, elem, from, (size_t)(*p - from));
	}
	n = strncmp(from, "struct {}", 9) == 0 ? 9 : strncmp(from, "interface {}", 12) == 0 ? 12 : strcspn(from, ";]\n ");
	*p += n;
	const struct tpl_type *t = basic(from, n);
	return t ? t : named(from, n);
}

const struct tpl_type *schema_type(const char *name)
{
	if (!arena)
		load();
	return type_of(&name);
}

size_t schema_count(void)
{
	if (!arena)
		load();
	return n_entries;
}

const char *schema_name(size_t i)
{
	return schema_type(tpl_strn(arena, entries[i].name, entries[i].name_len)) ? tpl_strn(arena, entries[i].name, entries[i].name_len) : NULL;
}
