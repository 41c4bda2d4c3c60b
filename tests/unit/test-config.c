/* SPDX-License-Identifier: Apache-2.0
 *
 * daemon/config.c: flags, daemon.json, conflicts, reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>

#include "base/io.h"
#include "base/log.h"
#include "daemon/config.h"
#include "daemon/options.h"

static char *path;

static int load(const char *json, struct cs_daemon_config *c, struct cs_err **err, const char *const *flags)
{
	char *argv[16] = { (char *)"caissond", (char *)"--config-file", path };
	int argc = 3;

	assert_int_equal(cs_replace_file_at(AT_FDCWD, path, json, strlen(json), 0600, false), 0);
	while (flags && *flags)
		argv[argc++] = (char *)*flags++;
	return cs_daemon_config_load(argc, argv, c, err);
}
#define FLAGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void expect_error(const char *json, const char *const *flags, const char *want)
{
	struct cs_daemon_config c = { 0 };
	cs_autoerr struct cs_err *err = NULL;

	assert_int_equal(load(json, &c, &err, flags), -1);
	cs_autofree char *text = cs_err_text(err);
	if (!strstr(text, want))
		fail_msg("got: %s\nwant: %s", text, want);
}

static void test_no_cgroup_parent(void **state)
{
	struct cs_daemon_config c = { 0 };

	assert_int_equal(load("{\"cgroup-parent\":\"\"}", &c, NULL, NULL), 0);
	assert_string_equal(c.cgroup_parent, "/caisson");
	cs_daemon_config_done(&c);
}

static void test_defaults(void **state)
{
	struct cs_daemon_config c = { 0 };
	struct cs_engine_config e;

	assert_int_equal(load("", &c, NULL, NULL), 0);
	assert_string_equal(c.data_root, "/var/lib/caisson");
	assert_string_equal(c.exec_root, "/run/caisson");
	assert_string_equal(c.pidfile, "/run/caisson.pid");
	assert_string_equal(c.hosts[0], "unix:///run/caisson.sock");
	assert_null(c.hosts[1]);
	assert_true(c.live_restore);
	assert_int_equal(c.default_shm_size, 64 << 20);
	cs_daemon_config_engine(&c, &e);
	assert_int_equal(e.default_stop_timeout, 10);
	assert_int_equal(e.shutdown_timeout, 15);
	cs_daemon_config_engine_done(&e);
	cs_daemon_config_done(&c);
}

static void test_flags_and_file(void **state)
{
	struct cs_daemon_config c = { 0 };
	struct cs_engine_config e;

	assert_int_equal(load("{\"labels\":[\"a=b\"],\"log-opts\":{\"max-size\":\"1m\"},\"iptables\":false,\"default-shm-size\":\"1g\","
			      "\"default-ulimits\":{\"nofile\":{\"Name\":\"nofile\",\"Soft\":1,\"Hard\":2}},\"features\":{\"buildkit\":true}}",
			      &c, NULL, FLAGS("-D", "-Hunix:///a", "-H", "tcp://:1", "--host=/b", "-l=warn", "--cgroup-parent=machine.slice", "--live-restore=false", "-G", "adm")), 0);
	assert_true(c.debug && !c.live_restore);
	assert_string_equal(c.hosts[0], "unix:///a");
	assert_string_equal(c.hosts[1], "tcp://:1");
	assert_string_equal(c.hosts[2], "unix:///b");
	assert_string_equal(c.log_level, "warn");
	assert_string_equal(c.group, "adm");
	assert_string_equal(c.cgroup_parent, "/machine.slice");
	assert_string_equal(cs_strmap_get(c.log_opts, "max-size"), "1m");
	assert_int_equal(c.default_shm_size, 1 << 30);
	assert_int_equal(cs_strv_len(c.warnings), 1);
	cs_daemon_config_engine(&c, &e);
	assert_int_equal(e.n_default_ulimits, 1);
	assert_true(e.default_ulimits[0].soft == 1 && e.default_ulimits[0].hard == 2);
	assert_false(e.network.firewall);
	cs_daemon_config_engine_done(&e);
	cs_daemon_config_done(&c);
}

static void test_refused(void **state)
{
	expect_error("{\"foo\":1,\"bar\":2}", NULL, "the following directives don't match any configuration option: foo, bar");
	expect_error("{\"debug\":true,\"labels\":[]}", FLAGS("-D", "--label=x=y"),
		     "specified both as a flag and in the configuration file: debug: (from flag: true, from file: true), labels: (from flag: x=y, from file: [])");
	expect_error("{\"labels\":3}", NULL, "labels: expected an array of strings");
	expect_error("{\"debug\":\"yes\"}", NULL, "debug: expected true or false");
	expect_error("{\"debug\":", NULL, "unable to configure the Docker daemon with file");
	expect_error("[]", NULL, "expected an object");
	expect_error("{\"validate\":true}", NULL, "don't match any configuration option: validate");
	expect_error("{\"userns-remap\":\"default\"}", NULL, "\"userns-remap\" is not available");
	expect_error("", FLAGS("--nope"), "unknown flag: --nope");
	expect_error("", FLAGS("--nope=1"), "unknown flag: --nope\n");
	expect_error("", FLAGS("-Z"), "unknown shorthand flag: 'Z' in -Z");
	expect_error("", FLAGS("-H"), "flag needs an argument: -H");
	expect_error("", FLAGS("--debug=maybe"), "invalid argument \"maybe\" for \"--debug\" flag");
	expect_error("", FLAGS("what"), "accepts no arguments");
	expect_error("", FLAGS("-H", "foo://x"), "invalid bind address format: foo://x");
	expect_error("", FLAGS("-H", "tcp://x:99999"), "invalid bind address");
	expect_error("", FLAGS("-l", "loud"), "invalid logging level: loud");
	expect_error("", FLAGS("--label", "x"), "bad attribute format: x");
	expect_error("{\"cgroup-parent\":\"/a/../b\"}", NULL, "invalid cgroup parent: /a/../b");
	expect_error("{\"log-driver\":\"syslog\"}", NULL, "log driver syslog is not available");
}

static void test_network(void **state)
{
	struct cs_daemon_config c = { 0 };
	struct cs_engine_config e;

	assert_int_equal(load("", &c, NULL, NULL), 0);
	cs_daemon_config_engine(&c, &e);
	assert_true(e.network.enabled && e.network.firewall && e.network.icc && e.network.ip_forward && e.network.ip_masq && !e.network.ipv6);
	assert_null(e.network.bridge);
	assert_string_equal(e.network.ip, "0.0.0.0");
	cs_daemon_config_engine_done(&e);
	cs_daemon_config_done(&c);

	assert_int_equal(load("{\"bip\":\"10.9.0.1/24\",\"fixed-cidr\":\"10.9.0.128/25\",\"default-address-pools\":[{\"base\":\"10.0.0.0/8\",\"size\":24}],"
			      "\"default-network-opts\":{\"bridge\":{\"com.docker.network.driver.mtu\":\"1400\"}},\"host-gateway-ip\":\"10.9.0.9\",\"icc\":false,"
			      "\"ipv6\":true,\"mtu\":1300,\"userland-proxy\":false,\"ip-forward-no-drop\":true,\"firewall-backend\":\"nftables\"}",
			      &c, NULL, FLAGS("-b", "br7", "--ip=127.0.0.1", "--ip-masq=false", "--firewall=false", "--dns=1.1.1.1")), 0);
	cs_daemon_config_engine(&c, &e);
	assert_string_equal(e.network.bridge, "br7");
	assert_string_equal(e.network.bip, "10.9.0.1/24");
	assert_string_equal(e.network.address_pools[0], "10.0.0.0/8 24");
	assert_string_equal(cs_strmap_get(e.network.network_opts, "bridge=com.docker.network.driver.mtu"), "1400");
	assert_string_equal(e.network.host_gateway_ips[0], "10.9.0.9");
	assert_int_equal(e.network.mtu, 1300);
	assert_true(!e.network.icc && e.network.ipv6 && !e.network.ip_masq && !e.network.firewall);
	cs_daemon_config_engine_done(&e);
	cs_daemon_config_done(&c);
	assert_int_equal(load("", &c, NULL, FLAGS("--default-address-pool=base=fd00::/40,size=64", "--default-network-opt", "bridge=a=b=c", "--host-gateway-ip=::1")), 0);
	assert_string_equal(c.address_pools[0], "fd00::/40 64");
	assert_string_equal(cs_strmap_get(c.network_opts, "bridge=a"), "b=c");
	cs_daemon_config_done(&c);

	expect_error("{\"bip\":\"10.9.0.1\"}", NULL, "invalid bip: 10.9.0.1");
	expect_error("{\"bip\":\"fd00::1/64\"}", NULL, "invalid bip: fd00::1/64");
	expect_error("{\"bip6\":\"10.0.0.1/8\"}", NULL, "invalid bip6: 10.0.0.1/8");
	expect_error("{\"bip\":\"10.9.0.0/24\"}", NULL, "invalid bip: 10.9.0.0/24 is the subnet's own address");
	expect_error("{\"bip\":\"10.9.0.1/24\",\"fixed-cidr\":\"10.8.0.0/25\"}", NULL, "invalid fixed-cidr: 10.8.0.0/25 is not in the subnet of bip 10.9.0.1/24");
	expect_error("{\"bip\":\"10.9.0.1/24\",\"fixed-cidr\":\"10.9.0.0/16\"}", NULL, "invalid fixed-cidr: 10.9.0.0/16");
	expect_error("{\"bip6\":\"fd00::1/64\",\"fixed-cidr-v6\":\"fd00:0:0:1::/80\"}", NULL, "invalid fixed-cidr-v6: fd00:0:0:1::/80 is not in");
	expect_error("{\"default-gateway\":\"x\"}", NULL, "invalid default-gateway: x");
	expect_error("{\"ip\":\"localhost\"}", NULL, "invalid ip: localhost");
	expect_error("{\"mtu\":10}", NULL, "invalid mtu: 10");
	expect_error("{\"bridge\":\"a-name-that-is-too-long\"}", NULL, "is not a name of an interface");
	expect_error("{\"bridge\":\"none\",\"bip\":\"10.9.0.1/24\"}", NULL, "bip needs a default bridge");
	expect_error("{\"default-address-pools\":[{\"base\":\"10.0.0.0/16\",\"size\":8}]}", NULL, "invalid default address pool: base 10.0.0.0/16, size 8");
	expect_error("{\"default-address-pools\":[{\"base\":\"10.0.0.0/16\"}]}", NULL, "expected objects with base and size");
	expect_error("", FLAGS("--default-address-pool=base=10.0.0.0/8"), "base and size are needed");
	expect_error("", FLAGS("--default-network-opt=bridge=x"), "must be driver=key=value");
	expect_error("{\"firewall-backend\":\"iptables\"}", NULL, "firewall-backend iptables is not available");
	expect_error("{\"ip6tables\":false}", NULL, "ip6tables=false is available together with iptables=false only");
	expect_error("{\"bridge-accept-fwmark\":\"1\"}", NULL, "\"bridge-accept-fwmark\" is not available");
	expect_error("{\"host-gateway-ip\":\"1.1.1.1\",\"host-gateway-ips\":[\"2.2.2.2\"]}", NULL, "both host-gateway-ip and host-gateway-ips");
}

static void test_empty_refusals_pass(void **state)
{
	struct cs_daemon_config c = { 0 };

	assert_int_equal(load("{\"userns-remap\":\"\",\"selinux-enabled\":false,\"authorization-plugins\":[]}", &c, NULL, NULL), 0);
	cs_daemon_config_done(&c);
}

/* What dockerd knows and we do not keep: accepted and told, or refused; its type counts in both cases. */
static void test_unkept(void **state)
{
	struct cs_daemon_config c = { 0 };

	assert_int_equal(load("{\"containerd\":\"/run/c.sock\",\"userland-proxy\":false,\"builder\":{\"gc\":{\"enabled\":true}},\"node-generic-resources\":[\"a=1\"],"
			      "\"network-control-plane-mtu\":1500,\"swarm-raft-heartbeat-tick\":1,\"containerd-plugin-namespace\":\"x\",\"deprecated-key-path\":null}",
			      &c, NULL, FLAGS("--raw-logs", "--containerd-namespace=moby")), 0);
	assert_int_equal(cs_strv_len(c.warnings), 9);
	assert_true(cs_strv_has(c.warnings, "option \"containerd\": No effect: there is no containerd"));
	cs_daemon_config_done(&c);
	assert_int_equal(load("{\"runtimes\":{},\"cdi-spec-dirs\":[],\"cpu-rt-period\":0,\"metrics-addr\":\"\",\"rootless\":false,\"containerd\":\"\"}", &c, NULL, FLAGS("--cri-containerd=false")), 0);
	assert_int_equal(cs_strv_len(c.warnings), 0);
	cs_daemon_config_done(&c);

	expect_error("{\"runtimes\":{\"runsc\":{\"path\":\"/runsc\"}}}", NULL, "\"runtimes\" is not available");
	expect_error("", FLAGS("--add-runtime", "runsc=/runsc"), "\"runtimes\" is not available");
	expect_error("", FLAGS("--cpu-rt-runtime=95000"), "\"cpu-rt-runtime\" is not available");
	expect_error("", FLAGS("--cpu-rt-runtime=x"), "invalid argument \"x\" for \"--cpu-rt-runtime\"");
	expect_error("", FLAGS("--rootless"), "\"rootless\" is not available");
	expect_error("", FLAGS("--selinux-enabled=maybe"), "invalid argument \"maybe\"");
	expect_error("{\"metrics-addr\":\":9323\"}", NULL, "\"metrics-addr\" is not available");
	expect_error("{\"authorization-plugins\":[\"x\"]}", NULL, "\"authorization-plugins\" is not available");
	expect_error("{\"graph\":\"/x\"}", NULL, "\"graph\" is not available in this build of Caisson: The old name of data-root");
	expect_error("{\"containerd\":5}", NULL, "containerd: expected a string");
	expect_error("{\"userland-proxy\":\"no\"}", NULL, "userland-proxy: expected true or false");
	expect_error("{\"builder\":[]}", NULL, "builder: expected an object");
	expect_error("{\"cpu-rt-period\":\"1\"}", NULL, "cpu-rt-period: expected a number");
}

static void test_values(void **state)
{
	struct cs_daemon_config c = { 0 };
	struct cs_engine_config e;

	assert_int_equal(load("{\"min-api-version\":\"1.40\",\"experimental\":true,\"exec-opts\":[\" Native.CgroupDriver = cgroupfs\"],"
			      "\"storage-opts\":[\"overlay2.size=20G\",\"overlay2.override_kernel_check=true\"],\"default-init\":\"/bin/sh\",\"resolv-conf\":\"/dev/null\"}",
			      &c, NULL, FLAGS("--feature", "buildkit", "--feature=cdi=false", "--api-cors-header=*", "--oom-score-adjust=-10")), 0);
	assert_int_equal(cs_strv_len(c.warnings), 2);
	assert_int_equal(c.oom_score_adjust, -10);
	cs_daemon_config_engine(&c, &e);
	assert_true(e.min_api == 140 && e.experimental && e.container_size == 20ll << 30);
	assert_string_equal(e.init_path, "/bin/sh");
	assert_string_equal(e.resolv_conf, "/dev/null");
	assert_string_equal(e.api_cors_header, "*");
	cs_daemon_config_engine_done(&e);
	cs_daemon_config_done(&c);

	assert_int_equal(setenv("DOCKER_MIN_API_VERSION", "1.30", 1), 0);
	assert_int_equal(load("", &c, NULL, NULL), 0);
	assert_int_equal(c.min_api, 130);
	cs_daemon_config_done(&c);
	expect_error("{\"min-api-version\":\"1.99\"}", NULL, "invalid min-api-version: maximum supported API version is 1.55: 1.99");
	assert_int_equal(setenv("DOCKER_MIN_API_VERSION", "1.12", 1), 0);
	expect_error("", NULL, "invalid DOCKER_MIN_API_VERSION: minimum supported API version is 1.24: 1.12");
	assert_int_equal(unsetenv("DOCKER_MIN_API_VERSION"), 0);
	expect_error("", FLAGS("--min-api-version=v1.40"), "invalid min-api-version: v1.40");
	expect_error("", FLAGS("--exec-opt=x"), "invalid exec-opt (x): must be formatted 'opt=value'");
	expect_error("", FLAGS("--exec-opt=a=b"), "invalid exec-opt (a=b): unknown option: 'a'");
	expect_error("", FLAGS("--exec-opt=isolation=hyperv"), "only supported on windows");
	expect_error("", FLAGS("--exec-opt=native.cgroupdriver=systemd"), "exec-opt native.cgroupdriver=systemd is not available");
	expect_error("", FLAGS("--exec-opt=native.cgroupdriver=x"), "must be cgroupfs");
	expect_error("", FLAGS("--storage-opt=overlay2.foo=1"), "overlay2: Unknown option overlay2.foo");
	expect_error("", FLAGS("--storage-opt=overlay2.size=lots"), "invalid size: 'lots'");
	expect_error("", FLAGS("--storage-opt=x"), "Unable to parse key/value option: x");
	expect_error("{\"features\":{\"cdi\":false}}", FLAGS("--feature=buildkit"), "specified both as a flag and in the configuration file: features");
	expect_error("", FLAGS("--feature=foo"), "unknown feature: foo");
	expect_error("", FLAGS("--feature=cdi"), "feature cdi is not available");
	expect_error("", FLAGS("--feature=cdi=x"), "invalid argument \"cdi=x\"");
	expect_error("{\"features\":{\"cdi\":1}}", NULL, "features: expected an object of true or false");
	expect_error("", FLAGS("--init-path=/nosuch"), "invalid init-path: /nosuch: No such file or directory");
	expect_error("", FLAGS("--init-path=tini"), "invalid init-path: must be an absolute path: tini");
	expect_error("", FLAGS("--resolv-conf=/nosuch"), "invalid resolv-conf: /nosuch");
	expect_error("", FLAGS("--oom-score-adjust=-2000"), "invalid oom-score-adjust: -2000");
	expect_error("{\"default-stop-timeout\":-2}", NULL, "invalid default-stop-timeout: -2");
}

static void test_live(void **state)
{
	struct cs_daemon_config a = { 0 }, b = { 0 };

	assert_int_equal(load("{\"labels\":[\"a=1\"],\"log-driver\":\"local\"}", &a, NULL, NULL), 0);
	assert_int_equal(load("{\"labels\":[\"b=2\"],\"debug\":true,\"log-driver\":\"none\",\"shutdown-timeout\":3}", &b, NULL, NULL), 0);
	cs_daemon_config_take_live(&a, &b);
	assert_string_equal(a.labels[0], "b=2");
	assert_string_equal(b.labels[0], "a=1");
	assert_true(a.debug && a.shutdown_timeout == 3);
	assert_string_equal(a.log_driver, "local"); /* not a live key */
	cs_daemon_config_done(&a);
	cs_daemon_config_done(&b);
}

static void test_registries(void **state)
{
	struct cs_daemon_config c = { 0 }, b = { 0 };
	struct cs_engine_config e;

	assert_int_equal(load("{\"registry-mirrors\":[\"https://m.example\"],\"insecure-registries\":[\"10.0.0.0/8\",\"http://h:5000\"],"
			      "\"proxies\":{\"http-proxy\":\"http://p:1\",\"no-proxy\":\"a,b\"},\"registry-hosts-dirs\":[\"/x\"],\"max-download-attempts\":2}",
			      &c, NULL, FLAGS("--https-proxy", "http://q:2", "--max-concurrent-uploads=0")), 0);
	assert_string_equal(c.registry_mirrors[0], "https://m.example/");
	assert_int_equal(cs_strv_len(c.warnings), 0);
	cs_daemon_config_engine(&c, &e);
	assert_string_equal(e.http_proxy, "http://p:1");
	assert_string_equal(e.https_proxy, "http://q:2");
	assert_string_equal(e.no_proxy, "a,b");
	assert_string_equal(e.registry_hosts_dirs[0], "/x");
	assert_true(e.max_concurrent_downloads == 3 && e.max_concurrent_uploads == 0 && e.max_download_attempts == 2);
	assert_int_equal(load("{\"registry-mirrors\":[\"http://n.example/\"]}", &b, NULL, NULL), 0);
	cs_daemon_config_take_live(&c, &b);
	assert_string_equal(c.registry_mirrors[0], "http://n.example/");
	assert_null(c.insecure_registries);
	cs_daemon_config_engine(&c, &e);
	assert_null(e.http_proxy);
	cs_daemon_config_done(&b);
	cs_daemon_config_done(&c);

	expect_error("{\"registry-mirrors\":[\"m.example\"]}", NULL, "invalid mirror: no scheme specified for \"m.example\": must use either 'https://' or 'http://'");
	expect_error("{\"registry-mirrors\":[\"https://u:secret@m.example\"]}", NULL, "invalid mirror: username/password not allowed in URI \"https://u:xxxxx@m.example\"");
	expect_error("", FLAGS("--insecure-registry", "ftp://x"), "insecure registry ftp://x should not contain '://'");
	expect_error("{\"max-concurrent-downloads\":-1}", NULL, "invalid max concurrent downloads: -1");
	expect_error("{\"max-download-attempts\":0}", NULL, "invalid max download attempts: 0");
	expect_error("{\"proxies\":{\"ftp-proxy\":\"x\"}}", NULL, "don't match any configuration option: ftp-proxy");
	expect_error("{\"proxies\":{\"no-proxy\":\"x\"}}", FLAGS("--no-proxy=y"), "specified both as a flag and in the configuration file: no-proxy");
	expect_error("{\"registry-hosts-dirs\":[\"x\"]}", NULL, "registry-hosts-dir must be an absolute path: x");
}

static void test_table(void **state)
{
	cs_autostr struct cs_str help = CS_STR_INIT(1 << 16);

	for (size_t i = 0; i < cs_daemon_n_options; i++)
		for (size_t j = 0; j < i; j++) {
			const struct opt *a = &cs_daemon_options[i], *b = &cs_daemon_options[j];
			assert_string_not_equal(a->flag, b->flag);
			assert_false(a->letter && a->letter == b->letter);
			assert_false(a->key && b->key && !strcmp(a->key, b->key));
		}
	cs_daemon_config_help(&help);
	assert_non_null(strstr(help.buf, "--data-root string"));
}

int main(void)
{
	char name[] = "/tmp/caisson-test-config-XXXXXX";
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_defaults), cmocka_unit_test(test_no_cgroup_parent), cmocka_unit_test(test_flags_and_file), cmocka_unit_test(test_refused),
					    cmocka_unit_test(test_network), cmocka_unit_test(test_empty_refusals_pass), cmocka_unit_test(test_unkept), cmocka_unit_test(test_values), cmocka_unit_test(test_live), cmocka_unit_test(test_registries), cmocka_unit_test(test_table) };
	int fd = mkstemp(name), r;

	if (fd < 0)
		return 1;
	close(fd);
	path = name;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(name);
	return r;
}
