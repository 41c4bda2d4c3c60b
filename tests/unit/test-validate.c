/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "engine/hostfacts.h"
#include "engine/spec-internal.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const struct cs_engine_config cfg = {.data_root = "/data"};
static char cpus[] = "0-1", mems[] = "0";
static struct cs_host_facts facts = {
	.cgroup_version = 1, .memory_limit = true, .swap_limit = true, .memory_reservation = true, .oom_kill_disable = true,
	.memory_swappiness = true, .cpu_shares = true, .cpu_cfs = true, .cpuset = true, .pids = true, .blkio_weight = true,
	.blkio_weight_device = true, .blkio_throttle = true, .cgroupns = true, .seccomp = true, .ncpu = 2, .mem_total = 1 << 30,
	.cpus = cpus, .mems = mems, .capabilities = (1ull << 41) - 1, .kernel_major = 6, .kernel_minor = 1, .arch = "amd64"};

#define WEB "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* One network "web" with a subnet of its user's, and a configuration-only one. */
static int network(void *ctx, const char *ref, struct cs_network_doc **ret, struct cs_err **err)
{
	bool web = strcmp(ref, "web") == 0 || strncmp(ref, WEB, strlen(ref)) == 0, conf = strcmp(ref, "conf") == 0;

	if (!web && !conf)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "network %s not found", ref);
	*ret = cs_xcalloc(1, sizeof(**ret));
	assert_int_equal(cs_json_decode_text(&cs_network_doc_type,
					     web ? "{\"Name\":\"web\",\"Id\":\"" WEB "\",\"Driver\":\"bridge\",\"EnableIPv4\":true,\"IPAM\":{\"Config\":[{\"Subnet\":\"10.7.0.0/16\"}]}}"
						 : "{\"Name\":\"conf\",\"Id\":\"ff\",\"ConfigOnly\":true}", *ret, err), 0);
	return 0;
}

static int container(void *ctx, const char *ref, char **ret, struct cs_err **err)
{
	if (strcmp(ref, "other") != 0)
		return cs_fail(err, CS_ERR_NOT_FOUND, 0, "No such container: %s", ref);
	*ret = cs_xstrdup("1234");
	return 0;
}
static const struct cs_container_lookup lookup = {.resolve = container, .network = network};

static int create_api(const char *json, int api, struct cs_create_request *r, char ***warnings, struct cs_err **err)
{
	if (cs_json_decode_text(&cs_create_request_type, json, r, err) < 0)
		return -1;
	return cs_validate_create(&cfg, &lookup, ID, r, api, warnings, err);
}

static int create(const char *json, struct cs_create_request *r, char ***warnings, struct cs_err **err)
{
	if (cs_json_decode_text(&cs_create_request_type, json, r, err) < 0)
		return -1;
	return cs_validate_create(&cfg, &lookup, ID, r, 144, warnings, err);
}

static void refusals(void **state)
{
	static const struct {
		const char *host, *msg;
		enum cs_code code;
	} cases[] = {
		{"\"Memory\":1000", "Minimum memory limit allowed is 6MB", CS_ERR_INVALID},
		{"\"Memory\":8388608,\"MemorySwap\":7000000", "Minimum memoryswap limit should be larger than memory limit, see usage", CS_ERR_INVALID},
		{"\"MemorySwap\":8388608", "You should always set the Memory limit when using Memoryswap limit, see usage", CS_ERR_INVALID},
		{"\"MemorySwappiness\":101", "Invalid value: 101, valid memory swappiness range is 0-100", CS_ERR_INVALID},
		{"\"MemoryReservation\":1", "Minimum memory reservation allowed is 6MB", CS_ERR_INVALID},
		{"\"Memory\":7000000,\"MemoryReservation\":8000000", "Minimum memory limit can not be less than memory reservation limit, see usage", CS_ERR_INVALID},
		{"\"NanoCpus\":3000000000", "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", CS_ERR_INVALID},
		{"\"NanoCpus\":-1", "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available", CS_ERR_INVALID},
		{"\"NanoCpus\":1000000000,\"CpuQuota\":1000", "Conflicting options: Nano CPUs and CPU Quota cannot both be set", CS_ERR_INVALID},
		{"\"CpuPeriod\":1", "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)", CS_ERR_INVALID},
		{"\"CpuQuota\":1", "CPU cfs quota can not be less than 1ms (i.e. 1000)", CS_ERR_INVALID},
		{"\"CpusetCpus\":\"7\"", "Requested CPUs are not available - requested 7, available: 0-1", CS_ERR_INVALID},
		{"\"CpusetCpus\":\"a\"", "Invalid value a for cpuset cpus", CS_ERR_INVALID},
		{"\"CpusetMems\":\"1-2\"", "Requested memory nodes are not available - requested 1-2, available: 0", CS_ERR_INVALID},
		{"\"BlkioWeight\":5", "Range of blkio weight is from 10 to 1000", CS_ERR_INVALID},
		{"\"IOMaximumIOps\":5", "Invalid QoS settings", CS_ERR_INVALID},
		{"\"CpuRealtimeRuntime\":5", "Your kernel does not support CPU real-time scheduler", CS_ERR_INVALID},
		{"\"Ulimits\":[{\"Name\":\"foo\"}]", "invalid ulimit type: foo", CS_ERR_INVALID},
		{"\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":2,\"Hard\":1}]", "ulimit soft limit must be less than or equal to hard limit: 2 > 1", CS_ERR_INVALID},
		{"\"RestartPolicy\":{\"Name\":\"foo\"}", "invalid restart policy: unknown policy 'foo'", CS_ERR_INVALID},
		{"\"RestartPolicy\":{\"Name\":\"always\",\"MaximumRetryCount\":1}", "maximum retry count can only be used with 'on-failure'", CS_ERR_INVALID},
		{"\"RestartPolicy\":{\"Name\":\"always\"},\"AutoRemove\":true", "can't create 'AutoRemove' container with restart policy", CS_ERR_INVALID},
		{"\"IpcMode\":\"foo\"", "invalid IPC mode: foo", CS_ERR_INVALID},
		{"\"PidMode\":\"container:\"", "invalid PID mode: container:", CS_ERR_INVALID},
		{"\"UTSMode\":\"foo\"", "invalid UTS mode: foo", CS_ERR_INVALID},
		{"\"UsernsMode\":\"foo\"", "invalid user namespace mode: foo", CS_ERR_INVALID},
		{"\"CgroupnsMode\":\"foo\"", "invalid cgroup namespace mode: foo", CS_ERR_INVALID},
		{"\"Isolation\":\"hyperv\"", "isolation hyperv is not available in this build", CS_ERR_UNSUPPORTED},
		{"\"Isolation\":\"foo\"", "invalid isolation 'foo' on linux", CS_ERR_INVALID},
		{"\"PortBindings\":{\"x/tcp\":[]}", "invalid port specification: \"x\"", CS_ERR_INVALID},
		{"\"PortBindings\":{\"80/foo\":[]}", "invalid port specification: \"80\"", CS_ERR_INVALID},
		{"\"PortBindings\":{\"80/tcp\":[{\"HostPort\":\"99999\"}]}", "invalid port specification: \"99999\"", CS_ERR_INVALID},
		{"\"CapAdd\":[\"foo\"]", "invalid CapAdd: unknown capability: \"CAP_FOO\"", CS_ERR_INVALID},
		{"\"CapDrop\":[\"CAP_X\"]", "invalid CapDrop: unknown capability: \"CAP_X\"", CS_ERR_INVALID},
		{"\"LogConfig\":{\"Config\":{\"tag\":\"{{.Name | upper}}\"}}", "invalid log option tag: template", CS_ERR_INVALID},
		{"\"ExtraHosts\":[\"a b:1.2.3.4\"]", "bad format for add-host: \"a b:1.2.3.4\"", CS_ERR_INVALID},
		{"\"SecurityOpt\":[\"foo\"]", "invalid --security-opt 1: \"foo\"", CS_ERR_INVALID},
		{"\"SecurityOpt\":[\"foo=bar\"]", "invalid --security-opt 2: \"foo=bar\"", CS_ERR_INVALID},
		{"\"SecurityOpt\":[\"seccomp={bad\"]", "decoding seccomp profile failed", CS_ERR_INVALID},
		{"\"SecurityOpt\":[\"seccomp={\\\"defaultAction\\\":\\\"X\\\"}\"]", "unknown action", CS_ERR_INVALID},
		{"\"SecurityOpt\":[\"apparmor=foo\"]", "AppArmor", CS_ERR_UNSUPPORTED},
		{"\"Sysctls\":{\"kernel.panic\":\"1\"}", "sysctl \"kernel.panic\" is not in a separate kernel namespace", CS_ERR_INVALID},
		{"\"Sysctls\":{\"net.x\":\"1\"},\"NetworkMode\":\"host\"", "is not in a separate kernel namespace", CS_ERR_INVALID},
		{"\"Runtime\":\"foo\"", "unknown or invalid runtime name: foo", CS_ERR_INVALID},
		{"\"ShmSize\":-1", "SHM size can not be less than 0", CS_ERR_INVALID},
		{"\"OomScoreAdj\":2000", "Invalid value 2000, range for oom score adj is [-1000, 1000]", CS_ERR_INVALID},
		{"\"ExtraHosts\":[\"foo\"]", "bad format for add-host: \"foo\"", CS_ERR_INVALID},
		{"\"ExtraHosts\":[\"foo:bar\"]", "invalid IP address in add-host: \"bar\"", CS_ERR_INVALID},
		{"\"Links\":[\"a:\"]", "bad format for links: a:", CS_ERR_INVALID},
		{"\"DeviceRequests\":[{\"Capabilities\":[[\"gpu\"]]}]", "could not select device driver \"\" with capabilities: [[gpu]]", CS_ERR_UNSUPPORTED},
		{"\"DeviceCgroupRules\":[\"x\"]", "invalid device cgroup rule format: 'x'", CS_ERR_INVALID},
		{"\"LogConfig\":{\"Type\":\"foo\"}", "plugin \"foo\" not found", CS_ERR_INVALID},
		{"\"LogConfig\":{\"Type\":\"syslog\"}", "not available in this build", CS_ERR_UNSUPPORTED},
		{"\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"foo\":\"1\"}}", "unknown log opt 'foo' for json-file log driver", CS_ERR_INVALID},
		{"\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"max-size\":\"x\"}}", "invalid size: 'x'", CS_ERR_INVALID},
		{"\"LogConfig\":{\"Type\":\"json-file\",\"Config\":{\"mode\":\"x\"}}", "logger: logging mode not supported: x", CS_ERR_INVALID},
		{"\"Tmpfs\":{\"/\":\"\"}", "destination can't be '/'", CS_ERR_INVALID},
		{"\"CgroupParent\":\"/a/../..\"", "invalid cgroup parent", CS_ERR_INVALID},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_create_request r = {0};
		cs_autoerr struct cs_err *err = NULL;
		cs_autostrv char **w = NULL;
		cs_autofree char *json = cs_xasprintf("{\"HostConfig\":{%s}}", cases[i].host);
		if (create(json, &r, &w, &err) == 0)
			fail_msg("%s: accepted", json);
		if (!strstr(err->msg, cases[i].msg) || err->code != cases[i].code)
			fail_msg("%s: %s (%s)", json, err->msg, cs_code_name(err->code));
		cs_json_release(&cs_create_request_type, &r);
	}
}

static void defaults(void **state)
{
	struct cs_create_request r = {0};
	cs_autostrv char **w = NULL;
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(create("{\"HostConfig\":{\"Memory\":8388608}}", &r, &w, &err), 0);
	assert_null(w);
	assert_string_equal(r.config.hostname, "0123456789ab");
	assert_int_equal(r.host_config->res.memory_swap, 16777216);
	assert_int_equal(r.host_config->shm_size, 67108864);
	assert_string_equal(r.host_config->network_mode, "default");
	assert_string_equal(r.host_config->ipc_mode, "private");
	assert_string_equal(r.host_config->cgroupns_mode, "host");
	assert_string_equal(r.host_config->log_config.type, "json-file");
	assert_string_equal(r.host_config->restart_policy.name, "no");
	assert_string_equal(r.host_config->port_bindings, "{}");
	assert_string_equal(r.host_config->readonly_paths[0], "/proc/bus");
	cs_json_release(&cs_create_request_type, &r);
}

static void warnings(void **state)
{
	struct cs_host_facts poor = facts;
	struct cs_create_request r = {0};
	cs_autostrv char **w = NULL;
	cs_autoerr struct cs_err *err = NULL;

	poor.swap_limit = poor.pids = poor.blkio_weight = poor.oom_kill_disable = false;
	poor.capabilities = cs_caps_default();
	cs_host_facts_override(&poor);
	assert_int_equal(create("{\"HostConfig\":{\"Memory\":8388608,\"PidsLimit\":9,\"BlkioWeight\":100,\"OomKillDisable\":true,"
				"\"CapAdd\":[\"SYS_RESOURCE\"],\"NetworkMode\":\"host\",\"PortBindings\":{\"80\":[]},\"KernelMemory\":9}}",
				&r, &w, &err),
			 0);
	assert_int_equal(cs_strv_len(w), 7);
	assert_true(cs_strv_has(w, "Published ports are discarded when using host network mode"));
	assert_true(cs_strv_has(w, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap."));
	assert_true(cs_strv_has(w, "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs limit discarded."));
	assert_int_equal(r.host_config->res.memory_swap, -1);
	assert_null(r.host_config->res.pids_limit);
	assert_string_equal(r.host_config->port_bindings, "{\"80/tcp\":[{\"HostIp\":\"\",\"HostPort\":\"\"}]}");
	cs_json_release(&cs_create_request_type, &r);
	cs_host_facts_override(&facts);
}

/* Without the firewall's tables nothing is published: said to who asks for it. */
static void unpublished(void **state)
{
	static const struct {
		const char *json;
		bool firewall, told;
	} cases[] = {
		{"{\"HostConfig\":{\"PortBindings\":{\"80\":[]}}}", false, true},
		{"{\"HostConfig\":{\"PublishAllPorts\":true,\"NetworkMode\":\"web\"}}", false, true},
		{"{\"HostConfig\":{\"PortBindings\":{\"80\":[]}}}", true, false},
		{"{\"HostConfig\":{\"PortBindings\":{\"80\":[]},\"NetworkMode\":\"host\"}}", false, false},
		{"{\"HostConfig\":{\"PortBindings\":{}}}", false, false},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		const struct cs_engine_config c = {.data_root = "/data", .network.firewall = cases[i].firewall};
		struct cs_create_request r = {0};
		cs_autostrv char **w = NULL;
		assert_int_equal(cs_json_decode_text(&cs_create_request_type, cases[i].json, &r, NULL), 0);
		assert_int_equal(cs_validate_create(&c, &lookup, ID, &r, 144, &w, NULL), 0);
		assert_int_equal(cs_strv_has(w, "Published ports are discarded: the engine runs without its firewall tables (firewall: false)"), cases[i].told);
		cs_json_release(&cs_create_request_type, &r);
	}
}

static void network_refusals(void **state)
{
	static const struct {
		const char *body, *msg;
		enum cs_code code;
		int api;
	} cases[] = {
		{"\"HostConfig\":{\"NetworkMode\":\"conf\"}", "cannot create endpoint on configuration-only network", CS_ERR_DENIED, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{},\"bridge\":{}}}", "Container cannot be connected to network endpoints: web, bridge", CS_ERR_INVALID, 143},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"bridge\":{\"IPAMConfig\":{\"IPv4Address\":\"1.2.3.4\"}}}}",
		 "invalid endpoint settings:\nuser-specified IP address is supported on user-defined networks only", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"bridge\":{\"Aliases\":[\"a\"]}}}",
		 "network-scoped aliases are only supported for user-defined networks", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"IPAMConfig\":{\"IPv4Address\":\"10.8.0.1\"}}}}",
		 "no configured subnet contains IP address 10.8.0.1", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"IPAMConfig\":{\"IPv4Address\":\"::1\"}}}}", "invalid IPv4 address: ::1", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"MacAddress\":\"02:42\"}}}", "invalid MAC address 02:42", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"DriverOpts\":{\"com.docker.network.endpoint.sysctls\":\"net.ipv4.conf.eth0.x=1\"}}}}",
		 "unrecognised network interface sysctl 'net.ipv4.conf.eth0.x=1'", CS_ERR_INVALID, 144},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"DriverOpts\":{\"com.docker.network.endpoint.sysctls\":\"net.ipv4.conf.IFNAME.a/../x=1\"}}}}",
		 "unrecognised network interface sysctl", CS_ERR_INVALID, 144},
		{"\"HostConfig\":{\"NetworkMode\":\"host\"},\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{}}}",
		 "container sharing network namespace with another container or host", CS_ERR_INVALID, 144},
		{"\"HostConfig\":{\"NetworkMode\":\"none\"},\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{}}}", "networks in private (none) mode", CS_ERR_INVALID, 144},
		{"\"HostConfig\":{\"Links\":[\"nosuch:x\"]}", "could not get container for nosuch: No such container: nosuch", CS_ERR_INVALID, 144},
		{"\"MacAddress\":\"02:42:ac:11:00:02\",\"NetworkingConfig\":{\"EndpointsConfig\":{\"bridge\":{\"MacAddress\":\"02:42:ac:11:00:03\"}}}",
		 "the container-wide MAC address must match", CS_ERR_INVALID, 144},
		{"\"MacAddress\":\"02:42:ac:11:00:02\",\"HostConfig\":{\"NetworkMode\":\"none\"}", "conflicting options: mac-address and the network mode", CS_ERR_INVALID, 144},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_create_request r = {0};
		cs_autoerr struct cs_err *err = NULL;
		cs_autostrv char **w = NULL;
		cs_autofree char *json = cs_xasprintf("{%s}", cases[i].body);
		if (create_api(json, cases[i].api, &r, &w, &err) == 0)
			fail_msg("%s: accepted", json);
		cs_autofree char *text = cs_err_text(err);
		if (!strstr(text, cases[i].msg) || cs_err_code(err) != cases[i].code)
			fail_msg("%s: %s (%s)", json, text, cs_code_name(cs_err_code(err)));
		cs_json_release(&cs_create_request_type, &r);
	}
}

/* Whatever a client wrote, afterwards the endpoints stand under their networks' names, sorted. */
static void network_endpoints(void **state)
{
	static const struct {
		const char *body, *keys, *mode;
	} cases[] = {
		{"\"HostConfig\":{}", "bridge", "default"},
		{"\"HostConfig\":{\"NetworkMode\":\"none\"}", "none", "none"},
		{"\"HostConfig\":{\"NetworkMode\":\"later\"}", "later", "later"}, /* told at the start */
		{"\"HostConfig\":{\"NetworkMode\":\"web\"}", "web", "web"},
		{"\"HostConfig\":{\"NetworkMode\":\"" WEB "\"}", "web", WEB},
		{"\"HostConfig\":{\"NetworkMode\":\"001122\"},\"NetworkingConfig\":{\"EndpointsConfig\":{\"001122\":{}}}", "web", WEB},
		{"\"HostConfig\":{\"NetworkMode\":\"web\"},\"NetworkingConfig\":{\"EndpointsConfig\":{\"default\":{}}}", "bridge web", "web"},
		{"\"NetworkingConfig\":{\"EndpointsConfig\":{\"web\":{\"IPAddress\":\"9.9.9.9\",\"IPAMConfig\":{\"IPv4Address\":\"10.7.1.2\"}}}}", "web", "default"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		struct cs_create_request r = {0};
		cs_autoerr struct cs_err *err = NULL;
		cs_autostrv char **w = NULL, **keys = NULL;
		cs_autofree char *json = cs_xasprintf("{%s}", cases[i].body);
		if (create_api(json, 144, &r, &w, &err) < 0)
			fail_msg("%s: %s", json, err->msg);
		for (size_t k = 0; k < r.networking_config->n_endpoints; k++) {
			cs_strv_push(&keys, r.networking_config->endpoints[k].key);
			assert_null(r.networking_config->endpoints[k].ip_address);
		}
		cs_autofree char *joined = cs_strv_join(keys, " ");
		assert_string_equal(joined, cases[i].keys);
		assert_string_equal(r.host_config->network_mode, cases[i].mode);
		cs_json_release(&cs_create_request_type, &r);
	}
}

static void image_merge(void **state)
{
	struct cs_config image = {0}, c = {0}, none = {0}, reset = {0};
	cs_autoerr struct cs_err *err = NULL, *e2 = NULL, *e3 = NULL;

	assert_int_equal(cs_json_decode_text(&cs_config_type,
					     "{\"Env\":[\"A=1\",\"B=2\"],\"Cmd\":[\"c\"],\"Entrypoint\":[\"e\"],\"Labels\":{\"x\":\"1\",\"y\":\"2\"},"
					     "\"WorkingDir\":\"/w/../v\",\"User\":\"u\",\"Volumes\":{\"/d\":{}},\"StopSignal\":\"INT\","
					     "\"Healthcheck\":{\"Test\":[\"CMD\",\"t\"],\"Retries\":3}}",
					     &image, NULL),
			 0);
	assert_int_equal(cs_json_decode_text(&cs_config_type, "{\"Env\":[\"A=9\"],\"Cmd\":[\"mine\"],\"Labels\":{\"x\":\"0\"},\"Healthcheck\":{\"Retries\":5}}", &c, NULL), 0);
	assert_int_equal(cs_config_merge_image(&c, &image, &err), 0);
	assert_string_equal(c.env[0], "A=9");
	assert_string_equal(c.env[1], "B=2");
	assert_string_equal(c.cmd[0], "mine");
	assert_string_equal(c.entrypoint[0], "e");
	assert_string_equal(c.working_dir, "/v");
	assert_string_equal(cs_strmap_get(c.labels, "x"), "0");
	assert_string_equal(cs_strmap_get(c.labels, "y"), "2");
	assert_int_equal(c.healthcheck->retries, 5);
	assert_string_equal(c.healthcheck->test[1], "t");
	assert_int_equal(cs_config_merge_image(&none, NULL, &e2), -1);
	assert_string_equal(e2->msg, "no command specified");
	/* [""] takes the image's entrypoint away, and its command with it */
	assert_int_equal(cs_json_decode_text(&cs_config_type, "{\"Entrypoint\":[\"\"]}", &reset, NULL), 0);
	assert_int_equal(cs_config_merge_image(&reset, &image, &e3), -1);
	cs_json_release(&cs_config_type, &image);
	cs_json_release(&cs_config_type, &c);
	cs_json_release(&cs_config_type, &none);
	cs_json_release(&cs_config_type, &reset);
}

static void small_parsers(void **state)
{
	uint8_t keys[CS_DETACH_KEYS_MAX];
	uint64_t bits[2];
	size_t n;

	assert_int_equal(cs_signal_parse("SIGTERM"), 15);
	assert_int_equal(cs_signal_parse("kill"), 9);
	assert_int_equal(cs_signal_parse("RTMIN+3"), 37);
	assert_int_equal(cs_signal_parse("9"), 9);
	assert_int_equal(cs_signal_parse("foo"), 0);
	assert_int_equal(cs_signal_parse("99"), 0);
	assert_int_equal(cs_detach_keys_parse("ctrl-p,ctrl-q", keys, &n, NULL), 0);
	assert_true(n == 2 && keys[0] == 16 && keys[1] == 17);
	assert_int_equal(cs_detach_keys_parse("ctrl-", keys, &n, NULL), -1);
	assert_int_equal(cs_detach_keys_parse("a,ctrl-@,ctrl-]", keys, &n, NULL), 0);
	assert_true(n == 3 && keys[0] == 'a' && keys[1] == 0 && keys[2] == 29);
	assert_true(cs_cpuset_parse("0-2,5", bits, 2));
	assert_int_equal(bits[0], 0x27);
	assert_false(cs_cpuset_parse("2-1", bits, 2));
	assert_false(cs_cpuset_parse("500", bits, 2));
}

static void update(void **state)
{
	struct cs_update_request u = {0};
	struct cs_host_config *h = cs_xcalloc(1, sizeof(*h));
	cs_autostrv char **w = NULL;
	cs_autoerr struct cs_err *err = NULL, *e2 = NULL;

	h->res.nano_cpus = 1000000000;
	assert_int_equal(cs_json_decode_text(&cs_update_request_type, "{\"Memory\":8388608,\"MemorySwap\":-1,\"RestartPolicy\":{\"Name\":\"always\"}}", &u, NULL), 0);
	assert_int_equal(cs_validate_update(&u, h, true, &w, &err), 0);
	assert_int_equal(h->res.memory, 8388608);
	assert_int_equal(h->res.nano_cpus, 1000000000);
	assert_string_equal(h->restart_policy.name, "always");
	assert_int_equal(cs_json_decode_text(&cs_update_request_type, "{\"CpuQuota\":5000}", &u, NULL), 0);
	assert_int_equal(cs_validate_update(&u, h, true, &w, &e2), -1);
	assert_int_equal(h->res.cpu_quota, 0);

	/* devices that lose their limit come first, with none: the second path may be the first one's device */
	cs_json_release(&cs_update_request_type, &u);
	u = (struct cs_update_request){0};
	assert_int_equal(cs_json_decode_text(&cs_update_request_type, "{\"BlkioDeviceReadBps\":[{\"Path\":\"/dev/a\",\"Rate\":1},{\"Path\":\"/dev/b\",\"Rate\":2}],"
					     "\"BlkioWeightDevice\":[{\"Path\":\"/dev/a\",\"Weight\":10}]}", &u, NULL), 0);
	struct cs_update_request to = {0};
	assert_int_equal(cs_json_decode_text(&cs_update_request_type, "{\"BlkioDeviceReadBps\":[{\"Path\":\"/dev/c\",\"Rate\":3},{\"Path\":\"/dev/b\",\"Rate\":4}]}", &to, NULL), 0);
	struct cs_resources *change = cs_resources_change(&u.res, &to.res);
	assert_int_equal(change->n_blkio_device_read_bps, 3);
	assert_string_equal(change->blkio_device_read_bps[0].path, "/dev/a");
	assert_int_equal(change->blkio_device_read_bps[0].rate, 0);
	assert_string_equal(change->blkio_device_read_bps[1].path, "/dev/c");
	assert_int_equal(change->blkio_device_read_bps[2].rate, 4);
	assert_int_equal(change->n_blkio_weight_device, 1);
	assert_int_equal(change->blkio_weight_device[0].weight, 0);
	cs_resources_free(change);
	cs_json_release(&cs_update_request_type, &to);
	cs_json_release(&cs_update_request_type, &u);
	cs_host_config_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(refusals), cmocka_unit_test(defaults),      cmocka_unit_test(warnings), cmocka_unit_test(unpublished),
					   cmocka_unit_test(network_refusals), cmocka_unit_test(network_endpoints), cmocka_unit_test(image_merge), cmocka_unit_test(small_parsers), cmocka_unit_test(update)};

	cs_host_facts_override(&facts);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
