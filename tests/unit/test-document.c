/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents to plans, compared as text; without root, for made-up hosts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/json.h"
#include "compute/document/document.h"
#include "compute/process/plan.h"

static char *v1_ctl[] = {(char *)"memory", (char *)"cpu", (char *)"pids", (char *)"devices", (char *)"blkio", (char *)"cpuset", NULL};
static char *v2_ctl[] = {(char *)"memory", (char *)"cpu", (char *)"pids", (char *)"devices", (char *)"io", (char *)"freezer", NULL};
static const struct cs_host v1 = {.cgroup_version = 1,
				  .hierarchy = {{(char *)"memory", (char *)"/cg/memory", 1, false}, {(char *)"cpu,cpuacct", (char *)"/cg/cpu", 1, false}, {(char *)"pids", (char *)"/cg/pids", 1, false},
						{(char *)"devices", (char *)"/cg/devices", 1, false}, {(char *)"blkio", (char *)"/cg/blkio", 1, false},
						{(char *)"name=unified", (char *)"/cg/unified", 2, true}},
				  .n_hierarchies = 6, .controllers = v1_ctl, .caps = 0x1ffffffffffull, .swap_accounting = true, .seccomp = true};
static const struct cs_host v2 = {.cgroup_version = 2, .hierarchy = {{(char *)"", (char *)"/cg", 2, false}}, .n_hierarchies = 1, .controllers = v2_ctl,
				  .caps = 0x1ffffffffffull & ~(1ull << 24), .rlimit_max = {[7] = 4096}, .swap_accounting = true, .cgroupns = true, .seccomp = true};

#define DOC(resources, more, process)                                                                                   \
	"{\"Owner\":\"o\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"Container\":{\"Storage\":{\"Layers\":[{\"Id\":\"b\",\"Path\":\"/l/b/diff\"},{\"Id\":\"a\",\"Path\":\"/l/a/diff\"}]," \
	"\"Path\":\"/s/x\"}},\"OciSpecification\":{\"process\":{\"args\":[\"sh\"]" process "},\"hostname\":\"web\",\"linux\":{\"cgroupsPath\":\"/caisson/x\",\"resources\":{" resources "}," \
	"\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"uts\"},{\"type\":\"ipc\"},{\"type\":\"network\",\"path\":\"/proc/7/ns/net\"}]" more "}}}"

/* Dump of the plan, or the error's text. */
static char *compile(const char *text, const struct cs_host *host, char **ret_warnings)
{
	cs_autojson json_t *doc = cs_json_parse_u64(text, strlen(text), NULL);
	cs_autostr struct cs_str plan = CS_STR_INIT(1 << 20), out = CS_STR_INIT(1 << 20);
	cs_auto(cs_document_done) struct cs_document d = {0};
	cs_autoerr struct cs_err *err = NULL;
	struct cs_compile_env env = {.host = host, .id = "x"};

	assert_non_null(doc);
	if (cs_document_compile(doc, &env, &d, &plan, &err) < 0)
		return cs_err_text(err);
	struct cs_plan p = {plan.buf, plan.len};
	cs_plan_dump(&p, &out);
	if (ret_warnings)
		*ret_warnings = d.warnings ? cs_strv_join(d.warnings, "\n") : cs_xstrdup("");
	return cs_str_steal(&out);
}

static void has(const char *plan, const char *line)
{
	if (!strstr(plan, line))
		fail_msg("no `%s` in:\n%s", line, plan);
}

static void v1_plan(void **unused)
{
	cs_autofree char *p = compile(DOC("\"memory\":{\"limit\":1000,\"swap\":2000},\"cpu\":{\"shares\":512},\"pids\":{\"limit\":5},"
					  "\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\",\"major\":10,\"minor\":229,\"access\":\"rw\"}]", "", ""), &v1, NULL);
	has(p, "CGROUP memory /cg/memory/caisson/x 1\n");
	has(p, "CGROUP_SET /cg/memory/caisson/x/memory.limit_in_bytes 1000 1\n");
	has(p, "CGROUP_SET /cg/memory/caisson/x/memory.memsw.limit_in_bytes 2000 1\n");
	has(p, "CGROUP_SET /cg/cpu/caisson/x/cpu.shares 512 1\n");
	has(p, "CGROUP_SET /cg/pids/caisson/x/pids.max 5 1\n");
	has(p, "CGROUP_SET /cg/devices/caisson/x/devices.deny a 1\n");
	has(p, "devices.allow \"c 10:229 rw\" 1\n");
	has(p, "devices.allow \"c 136:* rwm\" 1\n");
	has(p, "SETNS 0x40000000 /proc/7/ns/net\n");
	has(p, "HOSTNAME web\n");
	assert_null(strstr(p, "LOOPBACK"));
	(void)unused;
}

static void limits_are_unsigned(void **unused)
{
	static const char *const cases[][2] = {{"18446744073709551615", "RLIMIT 4 0 18446744073709551615\n"}, {"-1", "RLIMIT 4 0 18446744073709551615\n"},
					       {"9223372036854775808", "RLIMIT 4 0 9223372036854775808\n"}, {"7", "RLIMIT 4 0 7\n"},
					       {"18446744073709551616", "rlimits[0].hard: expected integer"}, {"-2", "rlimits[0].hard: -2 is out of range"},
					       {"\"7\"", "rlimits[0].hard: expected integer"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *doc = cs_xasprintf(DOC("", "", ",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":%s}]"), cases[i][0]);
		cs_autofree char *p = compile(doc, &v1, NULL);
		has(p, cases[i][1]);
	}
	(void)unused;
}

static void v2_plan(void **unused)
{
	cs_autofree char *w = NULL;
	cs_autofree char *p = compile(DOC("\"memory\":{\"limit\":1000,\"swap\":3000,\"reservation\":500,\"swappiness\":3},\"cpu\":{\"shares\":1024,\"quota\":5000,\"cpus\":\"0\"},"
					  "\"blockIO\":{\"weight\":500,\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0,\"rate\":77}]}", "",
					  ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":8192,\"hard\":8192}],\"capabilities\":{\"bounding\":[\"CAP_SYS_RESOURCE\",\"CAP_CHOWN\"]}"), &v2, &w);
	has(p, "CGROUP_SET /cg/caisson/x/memory.swap.max 2000 0\n");
	has(p, "CGROUP_SET /cg/caisson/x/memory.max 1000 1\n");
	has(p, "CGROUP_SET /cg/caisson/x/memory.low 500 1\n");
	has(p, "cpu.weight 39 1\n");
	has(p, "cpu.max \"5000 100000\" 1\n");
	has(p, "io.bfq.weight 500 2\n");
	has(p, "io.weight 4950 2\n");
	has(p, "io.max \"8:0 rbps=77\" 1\n");
	has(p, "CGROUP_DEVICE_BPF /cg/caisson/x");
	has(p, "RLIMIT 7 4096 4096\n");
	has(w, "CAP_SYS_RESOURCE is missing: RLIMIT_NOFILE is limited to 4096");
	has(w, "CAP_SYS_RESOURCE is missing on this host");
	has(w, "controller cpuset is missing on this host");
	has(w, "swappiness");
	(void)unused;
}

static void mounts(void **unused)
{
	const char *head = "{\"SchemaVersion\":{\"Major\":2},\"Container\":{\"Storage\":{\"Layers\":[{\"Path\":\"/l/b\"}],\"Path\":\"/s/x\"}},\"OciSpecification\":{\"process\":{\"args\":[\"sh\"]},"
			   "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]},\"mounts\":[%s]}}";
	static const char *const cases[][2] = {
		{"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/src\",\"options\":[\"rbind\",\"ro\",\"rslave\"]}", "BIND /src /d 1 0x1 0 0x84000\n"},
		{"{\"destination\":\"/d/../e\",\"type\":\"bind\",\"source\":\"/src\"}", "\"..\" is not possible"},
		{"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/src\",\"options\":[\"rro\"]}", "BIND /src /d 0 0x1 1 0"},
		{"{\"destination\":\"/t\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"nodev\",\"size=64m\",\"mode=1777\"]}", "MOUNT tmpfs tmpfs /t 0x6 size=64m,mode=1777 0\n"},
		{"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"rel\"}", "mounts[0].source: must be an absolute path"},
		{"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/s\",\"options\":[\"idmap\"]}", "idmap is not available"},
		{"{\"destination\":\"/d\",\"type\":\"bind\",\"source\":\"/s\",\"options\":[\"size=3\"]}", "is not an option of a bind mount"},
		{"{\"destination\":\"/\",\"type\":\"tmpfs\"}", "cannot be mounted over"},
		{"{\"destination\":\"/c\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]}", "CGROUP_MOUNT /c 1\n"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *doc = cs_xasprintf(head, cases[i][0]);
		cs_autofree char *p = compile(doc, &v1, NULL);
		has(p, cases[i][1]);
	}
	(void)unused;
}

/* A hierarchy without controllers is for containers that may make groups of their own. */
static void bare_hierarchies(void **unused)
{
	static const struct {
		const char *mount, *process;
		bool joined;
	} cases[] = {
		{"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"ro\"]}", "", false},
		{"{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\",\"options\":[\"rw\"]}", "", true},
		{"{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/sys/fs/cgroup\",\"options\":[\"rbind\",\"ro\"]}", "", true},
		{"{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/\",\"options\":[\"rbind\",\"ro\"]}", "", true},
		{"{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/sys/fs/cgroup/systemd/a\",\"options\":[\"rbind\"]}", "", true},
		{"{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/sys/fs/cgroups\",\"options\":[\"rbind\"]}", "", false},
		{"{\"destination\":\"/x\",\"type\":\"bind\",\"source\":\"/srv\",\"options\":[\"rbind\"]}", "", false},
		{"{\"destination\":\"/x\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}", ",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_SYS_ADMIN\"]}", true},
		{"{\"destination\":\"/x\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}", ",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"]}", false},
	};

	(void)unused;
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *end = cs_xasprintf("},\"mounts\":[%s", cases[i].mount);
		cs_autofree char *head = cs_xasprintf("{\"Owner\":\"o\",\"SchemaVersion\":{\"Major\":2,\"Minor\":1},\"Container\":{\"Storage\":{\"Layers\":[{\"Id\":\"b\",\"Path\":\"/l\"}],"
			"\"Path\":\"/s/x\"}},\"OciSpecification\":{\"process\":{\"args\":[\"sh\"]%s},\"linux\":{\"cgroupsPath\":\"/caisson/x\",\"namespaces\":[{\"type\":\"mount\"}]%s]}}",
			cases[i].process, end);
		cs_autofree char *p = compile(head, &v1, NULL);
		has(p, "CGROUP memory /cg/memory/caisson/x 1\n");
		bool joined = strstr(p, "CGROUP name=unified /cg/unified/caisson/x 2\n");
		if (joined != cases[i].joined)
			fail_msg("case %zu:\n%s", i, p);
	}
}

static void bad(void **unused)
{
	static const char *const cases[][2] = {
		{"{}", "SchemaVersion: is required"},
		{"{\"Surprise\":1}", "Surprise: unknown member"},
		{"{\"VirtualMachine\":{}}", "isolation hyperv is not available in this build"},
		{DOC("", ",\"sysctl\":{\"vm.swappiness\":\"1\"}", ""), "sysctl \"vm.swappiness\" is not in a separate kernel namespace"},
		{DOC("", ",\"sysctl\":{\"net.ipv4.ip_forward\":\"1\"}", ""), "is not in a separate kernel namespace"},
		{DOC("", "", ",\"user\":{\"uid\":-1}"), "OciSpecification.process.user.uid: -1 is out of range"},
		{DOC("", "", ",\"apparmorProfile\":\"docker-default\""), "AppArmor is not available"},
		{DOC("", "", ",\"rlimits\":[{\"type\":\"RLIMIT_X\",\"soft\":1,\"hard\":1}]"), "RLIMIT_X is not known"},
		{DOC("", "", ",\"capabilities\":{\"bounding\":[\"CAP_FLY\"]}"), "unknown capability CAP_FLY"},
		{DOC("\"memory\":{\"limit\":\"64m\"}", "", ""), "memory.limit: expected integer, got string"},
		{DOC("", ",\"uidMappings\":[{\"containerID\":0}]", ""), "user namespaces are not available"},
		{DOC("", ",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"q\"}]", ""), "devices[0].type"},
	};
	for (size_t i = 0; i < CS_ARRAY_SIZE(cases); i++) {
		cs_autofree char *p = compile(cases[i][0], &v1, NULL);
		has(p, cases[i][1]);
	}
	(void)unused;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(v1_plan), cmocka_unit_test(v2_plan), cmocka_unit_test(limits_are_unsigned), cmocka_unit_test(mounts), cmocka_unit_test(bare_hierarchies), cmocka_unit_test(bad)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
