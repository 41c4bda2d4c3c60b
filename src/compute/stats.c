/* SPDX-License-Identifier: Apache-2.0
 *
 * Statistics straight from the cgroup files and from init's /proc/net/dev. A counter that the kernel does not offer is left out or zero,
 * never invented. Any thread. */
#include <fcntl.h>
#include <unistd.h>
#include <utlist.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "base/time.h"
#include "compute/internal.h"

#define TEXT_MAX (1u << 20)

static int read_at(const char *dir, const char *file, struct cs_str *out)
{
	cs_autofree char *path = cs_xasprintf("%s/%s", dir, file);

	cs_str_clear(out);
	int r = dir ? cs_read_file_at(AT_FDCWD, path, out) : -ENOENT;
	if (r == 0 && !out->buf)
		r = -ENODATA;
	return r;
}

/* "max" is UINT64_MAX. */
static bool number_at(const char *dir, const char *file, uint64_t *ret)
{
	cs_autostr struct cs_str t = CS_STR_INIT(4096);

	if (!dir || read_at(dir, file, &t) < 0)
		return false;
	t.buf[strcspn(t.buf, "\n")] = 0;
	if (strcmp(t.buf, "max") == 0) {
		*ret = UINT64_MAX;
		return true;
	}
	return cs_parse_u64(t.buf, 0, UINT64_MAX, ret);
}

static uint64_t number_or(const char *dir, const char *file, uint64_t otherwise)
{
	uint64_t n;
	return number_at(dir, file, &n) ? n : otherwise;
}

/* "key value\n" lines */
static uint64_t keyed(const char *text, const char *key)
{
	size_t n = strlen(key);
	uint64_t v;

	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL)
		if (strncmp(p, key, n) == 0 && p[n] == ' ' && cs_parse_u64n(p + n + 1, strcspn(p + n + 1, "\n"), 0, UINT64_MAX, &v))
			return v;
	return 0;
}

static void put_u64(struct cs_str *out, const char *key, uint64_t v)
{
	cs_json_put_key(out, key);
	cs_str_put_u64(out, v);
}

/* ---- cpu ---- */

struct cpu {
	uint64_t usage, user, system, periods, throttled, throttled_time; /* ns */
};

static void v1_percpu(const char *dir, struct cs_str *out)
{
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	uint64_t v;

	cs_json_put_key(out, "percpu");
	cs_str_putc(out, '[');
	bool first = true;
	if (dir && read_at(dir, "cpuacct.usage_percpu", &t) == 0) {
		for (char *rest = t.buf, *word; (word = strsep(&rest, " \n"));) {
			if (!cs_parse_u64(word, 0, UINT64_MAX, &v))
				continue;
			if (!first)
				cs_str_putc(out, ',');
			first = false;
			cs_str_put_u64(out, v);
		}
	}
	cs_str_putc(out, ']');
}

static struct cpu v1_cpu(struct cs_system *s, const char *acct)
{
	cs_autofree char *dir = cs_system_cgroup(s, "cpu");
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	struct cpu c = {.usage = number_or(acct, "cpuacct.usage", 0)};
	uint64_t tick = CS_NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK);

	c.user = number_or(acct, "cpuacct.usage_user", 0);
	c.system = number_or(acct, "cpuacct.usage_sys", 0);
	if (!c.user && !c.system && acct && read_at(acct, "cpuacct.stat", &t) == 0) { /* before Linux 4.7; in ticks */
		c.user = keyed(t.buf, "user") * tick;
		c.system = keyed(t.buf, "system") * tick;
	}
	if (dir && read_at(dir, "cpu.stat", &t) == 0) {
		c.periods = keyed(t.buf, "nr_periods");
		c.throttled = keyed(t.buf, "nr_throttled");
		c.throttled_time = keyed(t.buf, "throttled_time");
	}
	return c;
}

static struct cpu v2_cpu(const char *dir)
{
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	struct cpu c = {0};

	if (!dir || read_at(dir, "cpu.stat", &t) < 0)
		return c;
	c.usage = keyed(t.buf, "usage_usec") * 1000;
	c.user = keyed(t.buf, "user_usec") * 1000;
	c.system = keyed(t.buf, "system_usec") * 1000;
	c.periods = keyed(t.buf, "nr_periods");
	c.throttled = keyed(t.buf, "nr_throttled");
	c.throttled_time = keyed(t.buf, "throttled_usec") * 1000;
	return c;
}

static struct cpu put_cpu(struct cs_system *s, bool v2, struct cs_str *out)
{
	cs_autofree char *acct = cs_system_cgroup(s, "cpuacct");
	struct cpu c = v2 ? v2_cpu(acct) : v1_cpu(s, acct);

	cs_json_put_key(out, "cpu");
	cs_str_putc(out, '{');
	put_u64(out, "usage", c.usage);
	put_u64(out, "user", c.user);
	put_u64(out, "system", c.system);
	if (!v2)
		v1_percpu(acct, out);
	put_u64(out, "periods", c.periods);
	put_u64(out, "throttled_periods", c.throttled);
	put_u64(out, "throttled_time", c.throttled_time);
	cs_str_putc(out, '}');
	return c;
}

/* ---- memory ---- */

static void put_keyed(const char *text, struct cs_str *out)
{
	uint64_t v;

	cs_str_putc(out, '{');
	for (const char *p = text; p && *p; p = strchr(p, '\n') ? strchr(p, '\n') + 1 : NULL) {
		size_t k = strcspn(p, " \n");
		if (p[k] != ' ' || !cs_parse_u64n(p + k + 1, strcspn(p + k + 1, "\n"), 0, UINT64_MAX, &v))
			continue;
		cs_autofree char *key = cs_xstrndup(p, k);
		put_u64(out, key, v);
	}
	cs_str_putc(out, '}');
}

static uint64_t host_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_MAX;
}

static uint64_t put_memory(struct cs_system *s, bool v2, uint64_t *peak, struct cs_str *out)
{
	cs_autofree char *dir = cs_system_cgroup(s, "memory");
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	uint64_t usage = number_or(dir, v2 ? "memory.current" : "memory.usage_in_bytes", 0);
	uint64_t limit = number_or(dir, v2 ? "memory.max" : "memory.limit_in_bytes", UINT64_MAX);
	uint64_t failcnt = 0;

	*peak = number_or(dir, v2 ? "memory.peak" : "memory.max_usage_in_bytes", 0);
	if (!v2)
		failcnt = number_or(dir, "memory.failcnt", 0);
	else if (dir && read_at(dir, "memory.events", &t) == 0)
		failcnt = keyed(t.buf, "max");
	cs_json_put_key(out, "memory");
	cs_str_putc(out, '{');
	put_u64(out, "usage", usage);
	put_u64(out, "max_usage", *peak);
	put_u64(out, "limit", CS_MIN(limit, host_memory())); /* no limit: what the host has, as Docker says */
	put_u64(out, "failcnt", failcnt);
	cs_json_put_key(out, "stats");
	put_keyed(dir && read_at(dir, "memory.stat", &t) == 0 ? t.buf : NULL, out);
	cs_str_putc(out, '}');
	return usage;
}

/* ---- pids ---- */

static void put_pids(struct cs_system *s, struct cs_str *out)
{
	cs_autofree char *dir = cs_system_cgroup(s, "pids");
	uint64_t limit = number_or(dir, "pids.max", UINT64_MAX);

	cs_json_put_key(out, "pids");
	cs_str_putc(out, '{');
	put_u64(out, "current", number_or(dir, "pids.current", 0));
	put_u64(out, "limit", limit == UINT64_MAX ? 0 : limit); /* not every reader of JSON has 64 bits without a sign */
	cs_str_putc(out, '}');
}

/* ---- block I/O ---- */

struct io_total {
	uint64_t read_bytes, write_bytes, reads, writes;
};

static void io_entry(struct cs_str *out, uint64_t major, uint64_t minor, const char *op, uint64_t value)
{
	if (out->buf[out->len - 1] == '}')
		cs_str_putc(out, ',');
	cs_str_putc(out, '{');
	put_u64(out, "major", major);
	put_u64(out, "minor", minor);
	cs_json_put_kstr(out, "op", op);
	put_u64(out, "value", value);
	cs_str_putc(out, '}');
}

static bool device_of(const char *word, uint64_t *major, uint64_t *minor)
{
	const char *colon = strchr(word, ':');
	return colon && cs_parse_u64n(word, (size_t)(colon - word), 0, UINT32_MAX, major) && cs_parse_u64(colon + 1, 0, UINT32_MAX, minor);
}

/* v1: "8:0 Read 4096\n" … "Total 4096\n"; shown as the kernel writes it, as Docker does (with v2 it is "read") */
static void v1_io(const char *dir, const char *const *files, const char *key, uint64_t *reads, uint64_t *writes, struct cs_str *out)
{
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	uint64_t major, minor, v;
	int r = -ENOENT;

	for (; dir && *files; files++) { /* BFQ's when it is the scheduler, else the throttling layer's */
		r = read_at(dir, *files, &t);
		if (r == 0 && strchr(t.buf, ':'))
			break;
	}
	cs_json_put_key(out, key);
	cs_str_putc(out, '[');
	for (char *rest = r == 0 ? t.buf : NULL, *line; rest && (line = strsep(&rest, "\n"));) {
		char *dev = strsep(&line, " "), *op = strsep(&line, " ");
		if (!line || !device_of(dev, &major, &minor) || !cs_parse_u64(line, 0, UINT64_MAX, &v))
			continue;
		if (strcmp(op, "Read") == 0)
			*reads += v;
		if (strcmp(op, "Write") == 0)
			*writes += v;
		io_entry(out, major, minor, op, v);
	}
	cs_str_putc(out, ']');
}

/* v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static void v2_io(const char *text, const char *key, const char *r_key, const char *w_key, uint64_t *reads, uint64_t *writes, struct cs_str *out)
{
	cs_autofree char *copy = cs_xstrdup(text);
	uint64_t major, minor, v;

	cs_json_put_key(out, key);
	cs_str_putc(out, '[');
	for (char *rest = copy, *line; rest && (line = strsep(&rest, "\n"));) {
		char *dev = strsep(&line, " "), *word;
		if (!line || !device_of(dev, &major, &minor))
			continue;
		while ((word = strsep(&line, " "))) {
			const char *r = cs_prefix(word, r_key), *w = cs_prefix(word, w_key);
			if ((!r && !w) || !cs_parse_u64(r ? r : w, 0, UINT64_MAX, &v))
				continue;
			*(r ? reads : writes) += v;
			io_entry(out, major, minor, r ? "read" : "write", v);
		}
	}
	cs_str_putc(out, ']');
}

static struct io_total put_io(struct cs_system *s, bool v2, struct cs_str *out)
{
	static const char *const bytes[] = {"blkio.bfq.io_service_bytes_recursive", "blkio.throttle.io_service_bytes_recursive",
					    "blkio.throttle.io_service_bytes", NULL};
	static const char *const counts[] = {"blkio.bfq.io_serviced_recursive", "blkio.throttle.io_serviced_recursive", "blkio.throttle.io_serviced", NULL};
	cs_autofree char *dir = cs_system_cgroup(s, v2 ? "io" : "blkio");
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	struct io_total n = {0};

	cs_json_put_key(out, "blkio");
	cs_str_putc(out, '{');
	if (v2) {
		const char *text = dir && read_at(dir, "io.stat", &t) == 0 ? t.buf : NULL;
		v2_io(text, "io_service_bytes_recursive", "rbytes=", "wbytes=", &n.read_bytes, &n.write_bytes, out);
		v2_io(text, "io_serviced_recursive", "rios=", "wios=", &n.reads, &n.writes, out);
	} else {
		v1_io(dir, bytes, "io_service_bytes_recursive", &n.read_bytes, &n.write_bytes, out);
		v1_io(dir, counts, "io_serviced_recursive", &n.reads, &n.writes, out);
	}
	cs_str_putc(out, '}');
	return n;
}

/* ---- network ---- */

static void put_interface(char *line, struct cs_str *out)
{
	static const struct {
		const char *name;
		int column;
	} shown[] = {{"rx_bytes", 0}, {"rx_packets", 1}, {"rx_errors", 2}, {"rx_dropped", 3}, {"tx_bytes", 8}, {"tx_packets", 9}, {"tx_errors", 10}, {"tx_dropped", 11}};
	uint64_t col[16] = {0};
	char *colon = strchr(line, ':'), *word;
	int n = 0;

	if (!colon)
		return;
	*colon = 0;
	const char *name = line + strspn(line, " ");
	if (strcmp(name, "lo") == 0)
		return;
	for (char *rest = colon + 1; n < 16 && (word = strsep(&rest, " "));)
		if (*word && !cs_parse_u64(word, 0, UINT64_MAX, &col[n++]))
			return;
	cs_json_put_key(out, name);
	cs_str_putc(out, '{');
	for (size_t i = 0; i < CS_ARRAY_SIZE(shown); i++)
		put_u64(out, shown[i].name, col[shown[i].column]);
	cs_str_putc(out, '}');
}

static void put_networks(struct cs_system *s, pid_t pid, struct cs_str *out)
{
	cs_autostr struct cs_str t = CS_STR_INIT(TEXT_MAX);
	cs_autofree char *path = cs_xasprintf("/proc/%d/net/dev", (int)pid);

	/* a network that is shared is not this container's traffic */
	if (pid <= 0 || !s->document.own_network || cs_read_file_at(AT_FDCWD, path, &t) < 0 || !t.buf)
		return;
	cs_json_put_key(out, "networks");
	cs_str_putc(out, '{');
	for (char *rest = t.buf, *line; (line = strsep(&rest, "\n"));)
		put_interface(line, out);
	cs_str_putc(out, '}');
}

/* ---- the documents ---- */

int cs_stats_statistics(struct cs_system *s, struct cs_str *out, struct cs_err **err)
{
	char now_text[CS_TIME_BUF], start_text[CS_TIME_BUF];
	cs_autostr struct cs_str metrics = CS_STR_INIT(1 << 20);
	bool v2 = cs_service.host.cgroup_version == 2;
	uint64_t peak = 0;

	pthread_mutex_lock(&s->lock);
	pid_t pid = s->exit.valid ? 0 : s->init->pid;
	int64_t started = s->init->started_at;
	pthread_mutex_unlock(&s->lock);
	if (!pid)
		return cs_fail(err, CS_ERR_CONFLICT, 0, "system %s is not running", s->id);
	int64_t now = cs_now_ns();
	cs_str_putc(&metrics, '{');
	put_u64(&metrics, "cgroup", v2 ? 2 : 1);
	struct cpu c = put_cpu(s, v2, &metrics);
	uint64_t usage = put_memory(s, v2, &peak, &metrics);
	put_pids(s, &metrics);
	struct io_total io = put_io(s, v2, &metrics);
	put_networks(s, pid, &metrics);
	cs_str_putc(&metrics, '}');

	cs_str_putc(out, '{');
	cs_json_put_kstr(out, "Timestamp", cs_time_format(now, now_text));
	cs_json_put_kstr(out, "ContainerStartTime", cs_time_format(started, start_text));
	put_u64(out, "Uptime100ns", (uint64_t)CS_MAX(now - started, 0) / 100);
	cs_str_puts(out, ",\"Processor\":{");
	put_u64(out, "TotalRuntime100ns", c.usage / 100);
	put_u64(out, "RuntimeUser100ns", c.user / 100);
	put_u64(out, "RuntimeKernel100ns", c.system / 100);
	cs_str_puts(out, "},\"Memory\":{");
	put_u64(out, "MemoryUsageCommitBytes", usage);
	put_u64(out, "MemoryUsageCommitPeakBytes", peak);
	cs_str_puts(out, "},\"Storage\":{");
	put_u64(out, "ReadCountNormalized", io.reads);
	put_u64(out, "ReadSizeBytes", io.read_bytes);
	put_u64(out, "WriteCountNormalized", io.writes);
	put_u64(out, "WriteSizeBytes", io.write_bytes);
	cs_str_puts(out, "},\"Metrics\":");
	cs_str_put(out, metrics.buf, metrics.len);
	cs_str_putc(out, '}');
	return 0;
}

static const char *known_process(struct cs_system *s, pid_t pid, char buf[CS_W_ID_MAX])
{
	struct cs_process *p;
	const char *id = NULL;

	pthread_mutex_lock(&s->lock);
	if (s->init->pid == pid)
		id = "init";
	DL_FOREACH(s->processes, p)
	if (p->pid == pid && !p->exited) {
		(void)snprintf(buf, CS_W_ID_MAX, "%s", p->id);
		id = buf;
	}
	pthread_mutex_unlock(&s->lock);
	return id;
}

int cs_stats_process_list(struct cs_system *s, struct cs_str *out, struct cs_err **err)
{
	static const char *const controllers[] = {"pids", "memory", "freezer", "cpuacct", "devices", NULL};
	cs_autofree char *dir = NULL;
	cs_autofree pid_t *list = NULL;
	char id_buf[CS_W_ID_MAX];
	size_t n = 0;

	for (const char *const *c = controllers; *c && !dir; c++)
		dir = cs_system_cgroup(s, *c);
	if (!dir)
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "this host has no cgroups: processes cannot be listed");
	int r = cs_cgroup_tree_pids(dir, &list, &n);
	if (r < 0 && r != -ENOENT)
		return cs_fail(err, CS_ERR_INTERNAL, -r, "list the processes of %s", s->id);
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++) {
		cs_autofree char *path = cs_xasprintf("/proc/%d/comm", (int)list[i]);
		cs_autostr struct cs_str comm = CS_STR_INIT(256);
		if (cs_read_file_at(AT_FDCWD, path, &comm) < 0 || !comm.buf)
			continue; /* gone meanwhile */
		comm.buf[strcspn(comm.buf, "\n")] = 0;
		const char *id = known_process(s, list[i], id_buf);
		if (out->buf[out->len - 1] == '}')
			cs_str_putc(out, ',');
		cs_str_putc(out, '{');
		cs_json_put_ki64(out, "ProcessId", list[i]);
		cs_json_put_kstr(out, "ImageName", comm.buf);
		if (id)
			cs_json_put_kstr(out, "Id", id);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, ']');
	return 0;
}
