/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/time.h"
#include "engine/hostfacts.h"
#include "engine/spec-internal.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
static const struct cs_engine_config cfg = {.data_root = "/data"};
static char cpus[] = "0-1", mems[] = "0";
static struct cs_host_facts facts = {
	.cgroup_version = 1, .memory_limit = true, .swap_limit = true, .memory_reservation = true, .oom_kill_disable = true,
	.cpu_shares = true, .cpu_cfs = true, .cpuset = true, .pids = true, .cgroupns = true, .ncpu = 2, .cpus = cpus, .mems = mems,
	.capabilities = (1ull << 41) - 1, .kernel_major = 6, .kernel_minor = 1, .arch = "amd64"};

static json_t *build(const char *request, const char *joined)
{
	static char dir0[] = "/l/1/diff", id0[] = "sha256:1";
	char *dirs[] = {dir0, NULL}, *ids[] = {id0, NULL};
	struct cs_create_request r = {0};
	cs_autoerr struct cs_err *err = NULL;
	cs_autostrv char **w = NULL;
	struct cs_mount_point *m = NULL;
	size_t n = 0;
	struct cs_str out = CS_STR_INIT(CS_SPEC_MAX);

	if (cs_json_decode_text(&cs_create_request_type, request, &r, &err) < 0 || cs_validate_create(&cfg, NULL, ID, &r, 144, &w, &err) < 0 ||
	    cs_config_merge_image(&r.config, NULL, &err) < 0 || cs_mounts_resolve(&cfg, NULL, &r.config, r.host_config, 144, &m, &n, &err) < 0)
		fail_msg("%s", err->msg);
	struct cs_spec_input in = {.cfg = &cfg, .id = ID, .name = "web", .image_name = "img", .config = &r.config, .host = r.host_config,
				   .mounts = m, .n_mounts = n, .layer_ids = ids, .layer_dirs = dirs, .snapshot_dir = "/s", .container_dir = "/c",
				   .log_path = "/c/log", .net_path = joined, .pid_path = joined, .ipc_path = joined, .ipc_mounts = joined};
	if (cs_spec_build(&in, &out, &err) < 0)
		fail_msg("%s", err->msg);
	json_t *j = cs_json_parse(out.buf, out.len, &err);
	if (!j)
		fail_msg("%s in %s", err->msg, out.buf);
	/* the profile travels as text */
	json_t *lnx = json_object_get(json_object_get(j, "OciSpecification"), "linux"), *sec = json_object_get(lnx, "seccomp");
	if (json_is_string(sec))
		(void)json_object_set_new(lnx, "seccomp", cs_json_parse(json_string_value(sec), json_string_length(sec), &err));
	cs_str_done(&out);
	cs_mount_points_free(m, n);
	cs_json_release(&cs_create_request_type, &r);
	return j;
}

/* json_unpack path helper: compact text of the value at a dotted path. Caller frees. */
static char *at(json_t *j, const char *path)
{
	cs_autostrv char **parts = cs_strv_split(path, '.');

	for (size_t i = 0; parts[i] && j; i++)
		j = json_is_array(j) ? json_array_get(j, (size_t)(parts[i][0] - '0')) : json_object_get(j, parts[i]);
	return j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : cs_xstrdup("(absent)");
}

static void expect(json_t *j, const char *path, const char *want)
{
	cs_autofree char *got = at(j, path);

	if (strcmp(got, want) != 0)
		fail_msg("%s: got %s, want %s", path, got, want);
}

static json_t *mount_at(json_t *j, const char *dest)
{
	size_t i;
	json_t *m;

	json_array_foreach(json_object_get(json_object_get(j, "OciSpecification"), "mounts"), i, m) if (cs_streq(
		json_string_value(json_object_get(m, "destination")), dest)) return m;
	return NULL;
}

static void plain(void **state)
{
	json_t *j = build("{\"Cmd\":[\"ls\",\"a \\\"b\"],\"Entrypoint\":[\"sh\"],\"Env\":[\"A=1\",\"PATH=/x\"],\"Tty\":true,\"User\":\"app:1\","
			  "\"HostConfig\":{\"ConsoleSize\":[24,80],\"GroupAdd\":[\"7\",\"wheel\"]}}", NULL);

	expect(j, "Owner", "\"caisson\"");
	expect(j, "Container.Storage", "{\"Layers\":[{\"Id\":\"sha256:1\",\"Path\":\"/l/1/diff\"}],\"Path\":\"/s\"}");
	expect(j, "Container.Stdio.ConsoleSize", "[24,80]");
	expect(j, "Container.Logging", "{\"Driver\":\"json-file\",\"Path\":\"/c/log\",\"MaxSize\":100000000,\"MaxFile\":5,\"Compress\":false}");
	expect(j, "OciSpecification.process.args", "[\"sh\",\"ls\",\"a \\\"b\"]");
	expect(j, "OciSpecification.process.env", "[\"PATH=/x\",\"HOSTNAME=0123456789ab\",\"TERM=xterm\",\"A=1\"]");
	expect(j, "OciSpecification.process.user",
	       "{\"uid\":0,\"gid\":0,\"username\":\"app:1\",\"additionalGids\":[7],\"additionalGroups\":[\"wheel\"]}");
	expect(j, "OciSpecification.process.capabilities.bounding",
	       "[\"CAP_CHOWN\",\"CAP_DAC_OVERRIDE\",\"CAP_FOWNER\",\"CAP_FSETID\",\"CAP_KILL\",\"CAP_SETGID\",\"CAP_SETUID\",\"CAP_SETPCAP\","
	       "\"CAP_NET_BIND_SERVICE\",\"CAP_NET_RAW\",\"CAP_SYS_CHROOT\",\"CAP_MKNOD\",\"CAP_AUDIT_WRITE\",\"CAP_SETFCAP\"]");
	expect(j, "OciSpecification.process.capabilities.inheritable", "(absent)");
	expect(j, "OciSpecification.linux.namespaces",
	       "[{\"type\":\"mount\"},{\"type\":\"network\"},{\"type\":\"uts\"},{\"type\":\"pid\"},{\"type\":\"ipc\"}]");
	expect(j, "OciSpecification.linux.cgroupsPath", "\"/caisson/" ID "\"");
	expect(j, "OciSpecification.linux.readonlyPaths.0", "\"/proc/bus\"");
	expect(j, "OciSpecification.linux.resources.devices.0", "{\"allow\":false,\"access\":\"rwm\"}");
	expect(j, "OciSpecification.linux.seccomp.architectures", "[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"]");
	expect(mount_at(j, "/dev/shm"), "options", "[\"nosuid\",\"noexec\",\"nodev\",\"mode=1777\",\"size=67108864\"]");
	expect(mount_at(j, "/sys"), "options", "[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]");
	expect(mount_at(j, "/etc/hosts"), "source", "\"/c/hosts\"");
	json_decref(j);
}

static void modes_and_limits(void **state)
{
	json_t *j = build("{\"Cmd\":[\"x\"],\"HostConfig\":{\"NetworkMode\":\"container:a\",\"PidMode\":\"container:b\",\"IpcMode\":\"container:c\","
			  "\"UTSMode\":\"host\",\"CgroupnsMode\":\"private\",\"NanoCpus\":1500000000,\"Memory\":8388608,\"PidsLimit\":-1,"
			  "\"CapDrop\":[\"ALL\"],\"CapAdd\":[\"net_raw\"],\"ReadonlyRootfs\":true,\"SecurityOpt\":[\"no-new-privileges\",\"seccomp=unconfined\"],"
			  "\"Ulimits\":[{\"Name\":\"nofile\",\"Soft\":5,\"Hard\":-1}],\"Tmpfs\":{\"/run\":\"size=1m\",\"/dev/shm\":\"\"},\"Binds\":[\"/tmp:/a/b:ro\",\"/tmp:/a\"],"
			  "\"MaskedPaths\":[],\"LogConfig\":{\"Type\":\"none\"},\"DeviceCgroupRules\":[\"c 13:* rw\"]}}",
			  "/proc/42/fd/7");

	expect(j, "OciSpecification.linux.namespaces",
	       "[{\"type\":\"mount\"},{\"type\":\"network\",\"path\":\"/proc/42/fd/7\"},{\"type\":\"pid\",\"path\":\"/proc/42/fd/7\"},"
	       "{\"type\":\"ipc\",\"path\":\"/proc/42/fd/7\"},{\"type\":\"cgroup\"}]");
	expect(j, "OciSpecification.hostname", "(absent)");
	expect(j, "OciSpecification.linux.resources.cpu", "{\"quota\":150000,\"period\":100000}");
	expect(j, "OciSpecification.linux.resources.memory", "{\"limit\":8388608,\"swap\":16777216}");
	expect(j, "OciSpecification.linux.resources.pids", "(absent)"); /* -1 and 0 mean no limit */
	expect(j, "OciSpecification.linux.sysctl", "(absent)");
	expect(j, "OciSpecification.linux.seccomp", "(absent)");
	expect(j, "OciSpecification.linux.maskedPaths", "[]");
	expect(j, "OciSpecification.process.capabilities.effective", "[\"CAP_NET_RAW\"]");
	expect(j, "OciSpecification.process.noNewPrivileges", "true");
	expect(j, "OciSpecification.process.rlimits", "[{\"type\":\"RLIMIT_NOFILE\",\"hard\":-1,\"soft\":5}]");
	expect(j, "OciSpecification.root.readonly", "true");
	expect(j, "Container.Logging", "{\"Driver\":\"none\"}");
	expect(mount_at(j, "/run"), "options", "[\"noexec\",\"nosuid\",\"nodev\",\"size=1m\"]");
	expect(mount_at(j, "/dev/shm"), "source", "\"tmpfs\"");
	expect(mount_at(j, "/a/b"), "options", "[\"rbind\",\"rro\",\"rprivate\"]");
	cs_autofree char *all = at(j, "OciSpecification.mounts");
	assert_true(strstr(all, "\"/a\"") < strstr(all, "\"/a/b\""));
	cs_autofree char *rules = at(j, "OciSpecification.linux.resources.devices");
	assert_non_null(strstr(rules, "{\"allow\":true,\"type\":\"c\",\"major\":13,\"access\":\"rw\"}"));
	json_decref(j);
}

static void privileged(void **state)
{
	json_t *j = build("{\"Cmd\":[\"x\"],\"HostConfig\":{\"Privileged\":true,\"NetworkMode\":\"host\"}}", NULL);

	expect(j, "OciSpecification.linux.seccomp", "(absent)");
	expect(j, "OciSpecification.linux.maskedPaths", "[]");
	expect(j, "OciSpecification.linux.resources.devices", "[{\"allow\":true,\"access\":\"rwm\"}]");
	expect(mount_at(j, "/sys"), "options", "[\"nosuid\",\"noexec\",\"nodev\",\"rw\"]");
	cs_autofree char *caps = at(j, "OciSpecification.process.capabilities.bounding"), *dev = at(j, "OciSpecification.linux.devices");
	assert_non_null(strstr(caps, "CAP_SYS_ADMIN"));
	assert_non_null(strstr(dev, "\"/dev/null\""));
	json_decref(j);
}

/* Every rule of the built-in profile that names socket(2) must leave AF_ALG (38) out; socketcall stays. */
static void seccomp(void **state)
{
	struct cs_str s cs_autostr = CS_STR_INIT(1 << 20), t cs_autostr = CS_STR_INIT(1 << 20);
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(cs_seccomp_put(NULL, cs_caps_default(), &s, &err), 0);
	cs_autojson json_t *j = cs_json_parse(s.buf, s.len, &err);
	assert_non_null(j);
	size_t i, k;
	json_t *rule, *name;
	bool socketcall = false, ptrace = false;
	json_array_foreach(json_object_get(j, "syscalls"), i, rule) json_array_foreach(json_object_get(rule, "names"), k, name)
	{
		const char *n = json_string_value(name);
		socketcall = socketcall || strcmp(n, "socketcall") == 0;
		ptrace = ptrace || strcmp(n, "ptrace") == 0;
		assert_string_not_equal(n, "mount");
		assert_string_not_equal(n, "bpf");
		if (strcmp(n, "socket") != 0)
			continue;
		json_t *arg = json_array_get(json_object_get(rule, "args"), 0);
		const char *op = json_string_value(json_object_get(arg, "op"));
		json_int_t v = json_integer_value(json_object_get(arg, "value"));
		bool passes = strcmp(op, "SCMP_CMP_LT") == 0 ? 38 < v : strcmp(op, "SCMP_CMP_EQ") == 0 ? v == 38 : 38 > v;
		assert_false(passes);
	}
	assert_true(socketcall && ptrace);
	assert_int_equal(cs_seccomp_put(NULL, cs_caps_default() | 1ull << 21, &t, &err), 0); /* CAP_SYS_ADMIN */
	assert_non_null(strstr(t.buf, "\"mount\""));
	/* own profiles */
	struct cs_str o cs_autostr = CS_STR_INIT(1 << 20);
	assert_int_equal(cs_seccomp_put("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"mkdir\",\"action\":\"SCMP_ACT_ERRNO\"}]}", 0, &o, &err), 0);
	assert_string_equal(o.buf, "{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"architectures\":[],\"syscalls\":[{\"names\":[\"mkdir\"],\"action\":\"SCMP_ACT_ERRNO\"}]}");
	/* masks are unsigned */
	struct cs_str m cs_autostr = CS_STR_INIT(1 << 20);
	assert_int_equal(cs_seccomp_put("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"mkdir\",\"action\":\"SCMP_ACT_ERRNO\",\"args\":"
					"[{\"index\":1,\"value\":18446744073709551615,\"valueTwo\":9223372036854775808,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}", 0, &m, &err), 0);
	assert_non_null(strstr(m.buf, "{\"index\":1,\"value\":18446744073709551615,\"valueTwo\":9223372036854775808,\"op\":\"SCMP_CMP_MASKED_EQ\"}"));
	static const char *const no_masks[] = {"-1", "18446744073709551616", "1.5", "\"1\"", "[]"};
	for (i = 0; i < CS_ARRAY_SIZE(no_masks); i++) {
		cs_autoerr struct cs_err *e = NULL;
		cs_autofree char *p = cs_xasprintf("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"name\":\"mkdir\",\"action\":\"SCMP_ACT_ERRNO\",\"args\":"
						   "[{\"index\":1,\"value\":%s,\"op\":\"SCMP_CMP_EQ\"}]}]}", no_masks[i]);
		assert_int_equal(cs_seccomp_put(p, 0, &m, &e), -1);
	}
}

static void exec_process(void **state)
{
	struct cs_config c = {0};
	struct cs_host_config h = {0};
	struct cs_exec_config e = {0};
	struct cs_str s cs_autostr = CS_STR_INIT(1 << 20);

	assert_int_equal(cs_json_decode_text(&cs_config_type, "{\"Hostname\":\"h\",\"Env\":[\"A=1\",\"B=2\"],\"User\":\"u\",\"WorkingDir\":\"/w\"}", &c, NULL), 0);
	assert_int_equal(cs_json_decode_text(&cs_exec_config_type, "{\"Cmd\":[\"id\"],\"Env\":[\"A=3\",\"B\"],\"Tty\":true,\"Privileged\":true}", &e, NULL), 0);
	assert_int_equal(cs_spec_exec_process(&cfg, ID, &c, &h, &e, &s, NULL), 0);
	cs_autojson json_t *j = cs_json_parse(s.buf, s.len, NULL);
	expect(j, "env", "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\",\"HOSTNAME=h\",\"TERM=xterm\",\"A=3\"]");
	expect(j, "user.username", "\"u\"");
	expect(j, "cwd", "\"/w\"");
	cs_autofree char *caps = at(j, "capabilities.effective");
	assert_non_null(strstr(caps, "CAP_SYS_ADMIN"));
	cs_json_release(&cs_config_type, &c);
	cs_json_release(&cs_exec_config_type, &e);
}

static void names(void **state)
{
	struct cs_host_config h = {0};
	struct cs_str s cs_autostr = CS_STR_INIT(65536);

	cs_strv_push(&h.extra_hosts, "db:10.0.0.1");
	cs_strv_push(&h.extra_hosts, "six=[::2]");
	char *own[] = {(char[]){"10.1.1.1\tweb.x.org web"}, NULL}, *links[] = {(char[]){"10.1.1.2\tdb2"}, NULL}, *gateways[] = {(char[]){"172.17.0.1"}, (char[]){"fd00::1"}, NULL};
	struct cs_names_extra x = {.own = own, .links = links};
	cs_autoerr struct cs_err *err = NULL;
	assert_int_equal(cs_names_hosts(&h, &x, NULL, &s, NULL), 0);
	assert_non_null(strstr(s.buf, "127.0.0.1\tlocalhost\n"));
	assert_non_null(strstr(s.buf, "\n10.0.0.1\tdb\n::2\tsix\n10.1.1.2\tdb2\n10.1.1.1\tweb.x.org web\n"));
	cs_str_clear(&s);
	cs_strv_push(&h.extra_hosts, "up:host-gateway");
	assert_int_equal(cs_names_hosts(&h, &x, NULL, &s, &err), -1);
	assert_string_equal(err->msg, "unable to derive the IP value for host-gateway");
	cs_str_clear(&s);
	x.gateways = gateways;
	assert_int_equal(cs_names_hosts(&h, &x, NULL, &s, NULL), 0);
	assert_non_null(strstr(s.buf, "\n172.17.0.1\tup\nfd00::1\tup\n"));
	cs_str_clear(&s);
	cs_names_resolv_conf(&cfg, &h, "search a b\nnameserver 127.0.0.1\noptions timeout:1\n", true, &s);
	assert_non_null(strstr(s.buf, "\nnameserver 127.0.0.11\nsearch a b\noptions timeout:1 ndots:0\n\n"));
	assert_non_null(strstr(s.buf, "\n# ExtServers: [127.0.0.1]\n# Overrides: []\n# Option ndots from: internal\n"));
	cs_str_clear(&s);
	cs_names_resolv_conf(&cfg, &h, "# x\nsearch a b\nnameserver 127.0.0.1\nnameserver 9.9.9.9\noptions ndots:1\n", false, &s);
	assert_string_equal(s.buf, "search a b\nnameserver 9.9.9.9\noptions ndots:1\n");
	cs_str_clear(&s);
	/* one server in each line, and addresses only; without IPv6 on the default bridge none that needs it */
	static const char mixed[] = "nameserver nonsense\nnameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver 9.9.9.9 extra\n";
	cs_names_resolv_conf(&cfg, &h, mixed, false, &s);
	assert_string_equal(s.buf, "nameserver 9.9.9.9\n");
	cs_str_clear(&s);
	cs_names_resolv_conf(&cfg, &h, "nameserver 2001:db8::53\n", false, &s);
	assert_string_equal(s.buf, "nameserver 8.8.8.8\nnameserver 8.8.4.4\n");
	cs_str_clear(&s);
	const struct cs_engine_config six = {.network.ipv6 = true};
	cs_names_resolv_conf(&six, &h, mixed, false, &s);
	assert_string_equal(s.buf, "nameserver 2001:db8::53\nnameserver fe80::1%eth0\nnameserver 9.9.9.9\n");
	cs_str_clear(&s);
	cs_names_resolv_conf(&six, &h, "nameserver ::1\n", false, &s);
	assert_string_equal(s.buf, "nameserver 8.8.8.8\nnameserver 8.8.4.4\nnameserver 2001:4860:4860::8888\nnameserver 2001:4860:4860::8844\n");
	cs_str_clear(&s);
	cs_strv_push(&h.dns, "1.1.1.1");
	cs_strv_push(&h.dns_search, ".");
	cs_names_resolv_conf(&cfg, &h, "search a\nnameserver 127.0.0.1\n", false, &s);
	assert_string_equal(s.buf, "nameserver 1.1.1.1\n");
	cs_strv_free(h.dns);
	cs_strv_free(h.dns_search);
	cs_strv_free(h.extra_hosts);
}

static void log_attrs(void **state)
{
	json_t *j = build("{\"Cmd\":[\"x\"],\"Env\":[\"A=1\",\"B=2\"],\"Labels\":{\"l1\":\"v\",\"m\":\"w\"},\"HostConfig\":{\"LogConfig\":{\"Type\":\"local\","
			  "\"Config\":{\"max-size\":\"10k\",\"max-file\":\"3\",\"labels-regex\":\"^l\",\"env\":\"B\",\"tag\":\"{{.Name}}/{{.ID}}\"}}}}", NULL);

	expect(j, "Container.Logging",
	       "{\"Driver\":\"local\",\"Path\":\"/c/log\",\"MaxSize\":10000,\"MaxFile\":3,\"Compress\":true,\"Attrs\":{\"l1\":\"v\",\"B\":\"2\","
	       "\"tag\":\"web/0123456789ab\"}}");
	json_decref(j);
}

static void budget(void **state)
{
	int64_t t0 = cs_monotonic_ns(), n = 200;

	for (int64_t i = 0; i < n; i++)
		json_decref(build("{\"Cmd\":[\"x\"]}", NULL));
	print_message("request to parsed document: %lld us\n", (long long)((cs_monotonic_ns() - t0) / n / 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(plain), cmocka_unit_test(modes_and_limits), cmocka_unit_test(privileged),
					   cmocka_unit_test(seccomp), cmocka_unit_test(exec_process), cmocka_unit_test(names),
					   cmocka_unit_test(log_attrs), cmocka_unit_test(budget)};

	cs_host_facts_override(&facts);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
