/* SPDX-License-Identifier: Apache-2.0
 *
 * Driver of tests/network/test_firewall.py: a firewall (and reserved ports) in the network namespace it is started in, told what to do by lines of JSON
 * on standard input; each is answered by a line: {"ok":…} or {"error":text,"code":name}, with "us", how long it took. Needs root. */
#include <arpa/inet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/log.h"
#include "network/firewall.h"
#include "network/ports.h"

static struct cs_firewall *fw;
static struct cs_port_hold *holds[20000];
static size_t n_holds;

static const char *text(json_t *o, const char *key)
{
	json_t *v = json_object_get(o, key);

	return json_is_string(v) ? json_string_value(v) : NULL;
}

static bool flag(json_t *o, const char *key) { return json_is_true(json_object_get(o, key)); }
static uint16_t number(json_t *o, const char *key) { return (uint16_t)json_integer_value(json_object_get(o, key)); }

static struct cs_fw_addr addr_of(const char *s)
{
	struct cs_fw_addr a = {0};

	if (s && inet_pton(AF_INET, s, &a.v4) == 1)
		a.family = AF_INET;
	else if (s && inet_pton(AF_INET6, s, &a.v6) == 1)
		a.family = AF_INET6;
	return a;
}

static struct cs_fw_addr addr(json_t *o, const char *key) { return addr_of(text(o, key)); }

static uint8_t proto(json_t *o)
{
	const char *p = text(o, "proto");

	return !p || strcmp(p, "tcp") == 0 ? IPPROTO_TCP : strcmp(p, "udp") == 0 ? IPPROTO_UDP : strcmp(p, "sctp") == 0 ? IPPROTO_SCTP : 99;
}

static int network_add(json_t *o, struct cs_err **err)
{
	struct cs_firewall_network n = {
		.bridge = text(o, "bridge"), .internal = flag(o, "internal"), .icc = !flag(o, "no_icc"), .masquerade4 = true, .masquerade6 = true, .direct = flag(o, "direct"), .shared = flag(o, "shared"),
		.mode4 = number(o, "mode4"), .mode6 = number(o, "mode6"), .snat4 = addr(o, "snat4").v4, .snat6 = addr(o, "snat6").v6,
	};
	char *trusted[] = {(char *)(uintptr_t)text(o, "trusted"), NULL};

	n.trusted = trusted[0] ? trusted : NULL;
	return cs_firewall_network_add(fw, &n, err);
}

static int endpoint_add(json_t *o, struct cs_err **err)
{
	struct cs_firewall_acl acls[300] = {{0}};
	struct cs_fw_addr more[8];
	struct cs_firewall_endpoint e = {
		.id = text(o, "id"), .name = text(o, "name"), .ifname = text(o, "ifname"), .bridge = text(o, "bridge"), .sandbox = text(o, "sandbox"), .antispoof = flag(o, "antispoof"),
		.v4 = addr(o, "v4").v4, .v6 = addr(o, "v6").v6, .acls = acls, .more = more,
	};
	json_t *list = json_object_get(o, "acls"), *a;
	size_t i;

	e.ifindex = e.ifname && flag(o, "locked") ? if_nametoindex(e.ifname) : 0;
	if (text(o, "mac"))
		(void)sscanf(text(o, "mac"), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &e.mac[0], &e.mac[1], &e.mac[2], &e.mac[3], &e.mac[4], &e.mac[5]);
	json_array_foreach(list, i, a) {
		if (e.n_acls < CS_ARRAY_SIZE(acls))
			acls[e.n_acls++] = (struct cs_firewall_acl){
				.block = flag(a, "block"), .out = flag(a, "out"), .priority = number(a, "priority"), .protocols = text(a, "protocols"),
				.local_addresses = text(a, "local_addresses"), .remote_addresses = text(a, "remote_addresses"),
				.local_ports = text(a, "local_ports"), .remote_ports = text(a, "remote_ports")};
	}
	list = json_object_get(o, "more");
	json_array_foreach(list, i, a) {
		if (e.n_more < CS_ARRAY_SIZE(more))
			more[e.n_more++] = addr_of(json_string_value(a));
	}
	return cs_firewall_endpoint_add(fw, &e, err);
}

/* "ports": [...], or one port with "count": so many consecutive ones in one call */
static int ports(json_t *o, bool add, struct cs_err **err)
{
	json_t *list = json_object_get(o, "ports"), *p;
	size_t n = 0, max = CS_MAX(json_array_size(list), (size_t)number(o, "count")), i;
	cs_autofree struct cs_firewall_port *v = cs_xcalloc(max + 1, sizeof(*v));

	json_array_foreach(list, i, p)
		v[n++] = (struct cs_firewall_port){.proto = proto(p), .host = addr(p, "host"), .host_port = number(p, "port"), .to = addr(p, "to"), .to_port = number(p, "to_port"), .bridge = text(p, "bridge"), .by_loopback6 = flag(p, "by_loopback6")};
	for (; n < number(o, "count"); n++)
		v[n] = (struct cs_firewall_port){.proto = proto(o), .host = addr(o, "host"), .host_port = (uint16_t)(number(o, "port") + n), .to = addr(o, "to"), .to_port = number(o, "to_port"), .bridge = text(o, "bridge")};
	return add ? cs_firewall_ports_add(fw, v, n, err) : cs_firewall_ports_remove(fw, v, n, err);
}

static int links(json_t *o, bool add, struct cs_err **err)
{
	struct cs_firewall_link l = {.from = addr(o, "from"), .to = addr(o, "to"), .proto = proto(o), .port = number(o, "port")};

	return add ? cs_firewall_links_add(fw, &l, 1, err) : cs_firewall_links_remove(fw, &l, 1, err);
}

static int lb_add(json_t *o, struct cs_err **err)
{
	struct cs_firewall_lb_port p = {.proto = proto(o), .port = number(o, "port"), .to_port = number(o, "to_port")};
	struct cs_fw_addr to[16];
	struct cs_firewall_lb lb = {.id = text(o, "id"), .vip = addr(o, "vip"), .ports = &p, .n_ports = 1, .to = to, .sticky = flag(o, "sticky")};
	json_t *list = json_object_get(o, "to"), *a;
	size_t i;

	json_array_foreach(list, i, a) {
		if (lb.n_to < CS_ARRAY_SIZE(to))
			to[lb.n_to++] = addr_of(json_string_value(a));
	}
	return cs_firewall_lb_add(fw, &lb, err);
}

static int hold(json_t *o, struct cs_str *out, struct cs_err **err)
{
	struct cs_fw_addr addrs[4];
	struct cs_port_request r = {.proto = proto(o), .addrs = addrs, .first = number(o, "first"), .last = number(o, "last")};
	json_t *list = json_object_get(o, "addrs"), *a;
	struct cs_port_hold *h;
	size_t i;

	json_array_foreach(list, i, a) {
		if (r.n_addrs < CS_ARRAY_SIZE(addrs))
			addrs[r.n_addrs++] = addr_of(json_string_value(a));
	}
	if (n_holds == CS_ARRAY_SIZE(holds))
		return cs_fail(err, CS_ERR_INTERNAL, 0, "too many holds");
	if (cs_port_hold(&r, &h, err) < 0)
		return -1;
	holds[n_holds++] = h;
	cs_str_putf(out, "{\"port\":%u,\"hold\":%zu}", cs_port_hold_number(h), n_holds - 1);
	return 0;
}

static int release(json_t *o)
{
	size_t i = number(o, "hold");

	if (i < n_holds) {
		cs_port_release(holds[i]);
		holds[i] = NULL;
	}
	return 0;
}

/* "threads" at once, each publishing and withdrawing ports of its own, adding and removing endpoints, reading the report, "rounds" times. */
struct stress {
	json_t *o;
	unsigned number;
	int failed;
};

static void *stress_thread(void *arg)
{
	struct stress *s = arg;
	struct cs_firewall_port p = {.proto = IPPROTO_TCP, .host = {.family = AF_INET}, .to = addr(s->o, "to"), .to_port = 80, .bridge = text(s->o, "bridge")};
	cs_autofree char *id = cs_xasprintf("stress%u", s->number);
	const struct cs_firewall_acl acl = {.block = true, .protocols = "tcp", .local_ports = "99"};
	struct cs_firewall_endpoint e = {.id = id, .ifname = id, .bridge = p.bridge, .sandbox = "stress", .mac = {2, 0, 0, 0, 7, (uint8_t)s->number}, .antispoof = true, .acls = &acl};

	for (unsigned i = 0; i < number(s->o, "rounds"); i++) {
		cs_autostr struct cs_str report = CS_STR_INIT(64 << 20);

		e.v4.s_addr = htonl(0x0a630000 + s->number * 256 + i % 200 + 1);
		e.n_acls = i % 8 == 0;
		p.host_port = (uint16_t)(20000 + s->number * 1000 + i);
		s->failed += cs_firewall_ports_add(fw, &p, 1, NULL) < 0;
		s->failed += cs_firewall_endpoint_add(fw, &e, NULL) < 0;
		s->failed += i % 16 == 0 && cs_firewall_reachability(fw, &report, NULL) < 0;
		s->failed += i % 16 == 8 && cs_firewall_settle(fw, NULL) < 0;
		s->failed += i + 1 < number(s->o, "rounds") && cs_firewall_ports_remove(fw, &p, 1, NULL) < 0; /* the last one stays */
	}
	s->failed += cs_firewall_endpoint_remove(fw, id, NULL) < 0;
	return NULL;
}

static int stress(json_t *o, struct cs_err **err)
{
	struct stress s[16];
	pthread_t threads[16];
	unsigned n = CS_MIN(number(o, "threads"), (uint16_t)16);
	int failed = 0;

	for (unsigned i = 0; i < n; i++) {
		s[i] = (struct stress){.o = o, .number = i};
		if (pthread_create(&threads[i], NULL, stress_thread, &s[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < n; i++) {
		(void)pthread_join(threads[i], NULL);
		failed += s[i].failed;
	}
	return failed ? cs_fail(err, CS_ERR_INTERNAL, 0, "%d calls failed", failed) : 0;
}

static int run(json_t *o, struct cs_str *out, struct cs_err **err)
{
	const char *op = text(o, "op");

	if (!op)
		return cs_fail(err, CS_ERR_INVALID, 0, "no op");
	if (strcmp(op, "open") == 0) {
		struct cs_firewall_config c = {.table = text(o, "table"), .enabled = !flag(o, "disabled"), .bpf_dir = text(o, "bpf_dir")};

		return cs_firewall_open(&c, &fw, err);
	}
	if (strcmp(op, "hold") == 0)
		return hold(o, out, err);
	if (strcmp(op, "release") == 0)
		return release(o);
	if (!fw)
		return cs_fail(err, CS_ERR_INVALID, 0, "not open");
	if (strcmp(op, "close") == 0) {
		cs_firewall_close(fw);
		fw = NULL;
		return 0;
	}
	if (strcmp(op, "settle") == 0)
		return cs_firewall_settle(fw, err);
	if (strcmp(op, "delete_tables") == 0)
		return cs_firewall_delete_tables(fw, err);
	if (strcmp(op, "close_host") == 0)
		return cs_firewall_close_host(fw, AF_INET, err);
	if (strcmp(op, "network_add") == 0)
		return network_add(o, err);
	if (strcmp(op, "network_remove") == 0)
		return cs_firewall_network_remove(fw, text(o, "bridge"), err);
	if (strcmp(op, "endpoint_add") == 0)
		return endpoint_add(o, err);
	if (strcmp(op, "endpoint_remove") == 0)
		return cs_firewall_endpoint_remove(fw, text(o, "id"), err);
	if (strcmp(op, "ports_add") == 0 || strcmp(op, "ports_remove") == 0)
		return ports(o, strcmp(op, "ports_add") == 0, err);
	if (strcmp(op, "link_add") == 0 || strcmp(op, "link_remove") == 0)
		return links(o, strcmp(op, "link_add") == 0, err);
	if (strcmp(op, "lb_add") == 0)
		return lb_add(o, err);
	if (strcmp(op, "lb_remove") == 0)
		return cs_firewall_lb_remove(fw, text(o, "id"), err);
	if (strcmp(op, "stress") == 0)
		return stress(o, err);
	if (strcmp(op, "reachability") == 0)
		return cs_firewall_reachability(fw, out, err);
	return cs_fail(err, CS_ERR_INVALID, 0, "no op %s", op);
}

int main(void)
{
	cs_autofree char *line = NULL;
	size_t room = 0;
	ssize_t n;

	cs_log_set_level(CS_LOG_DEBUG);
	while ((n = getline(&line, &room, stdin)) > 0) {
		cs_autoerr struct cs_err *err = NULL;
		cs_autostr struct cs_str out = CS_STR_INIT(64 << 20), answer = CS_STR_INIT(64 << 20);
		cs_autojson json_t *o = cs_json_parse(line, (size_t)n, &err);
		struct timespec from, to;
		int r;

		clock_gettime(CLOCK_MONOTONIC, &from);
		r = o ? run(o, &out, &err) : -1;
		clock_gettime(CLOCK_MONOTONIC, &to);

		cs_str_putc(&answer, '{');
		if (r < 0) {
			cs_autofree char *why = cs_err_text(err);

			cs_json_put_kstr(&answer, "error", why);
			cs_json_put_kstr(&answer, "code", cs_code_name(cs_err_code(err)));
		} else {
			cs_json_put_key(&answer, "ok");
			cs_str_puts(&answer, out.len ? out.buf : "true");
		}
		cs_json_put_ki64(&answer, "us", (to.tv_sec - from.tv_sec) * 1000000 + (to.tv_nsec - from.tv_nsec) / 1000);
		cs_str_puts(&answer, "}\n");
		fputs(answer.buf, stdout);
		fflush(stdout);
	}
	for (size_t i = 0; i < n_holds; i++)
		cs_port_release(holds[i]);
	cs_firewall_close(fw);
	return 0;
}
