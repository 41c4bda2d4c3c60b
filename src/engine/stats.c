/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /containers/x/stats: the compute service's figures in dockerd's shape, once or every second. A stream is used by one thread. */
#include <jansson.h>

#include "base/io.h"
#include "base/json.h"
#include "base/num.h"
#include "base/time.h"
#include "engine/container.h"
#include "engine/hostfacts.h"

#include <fcntl.h>

struct stats {
	struct cs_stream stream;
	struct cs_container *c; /* reference */
	bool once, prime;       /* prime: a single answer is the second sample, so that its precpu_stats means something */
	int api;
	int64_t next;           /* monotonic ns of the next sample */
	json_t *pre_cpu;        /* cpu_stats of the previous sample, or NULL */
	int64_t pre_read;
	struct cs_str out;
	size_t pos;
	bool ended;
};

/* Sum of the first line of /proc/stat without guest times (they are part of user), in ns. */
static json_int_t system_cpu_ns(void)
{
	cs_autostr struct cs_str s = CS_STR_INIT(1u << 20);
	long hz = sysconf(_SC_CLK_TCK);
	uint64_t sum = 0;

	if (cs_read_file_at(AT_FDCWD, "/proc/stat", &s) < 0 || !cs_prefix(s.buf, "cpu "))
		return 0;
	char *p = s.buf + 4;
	for (int i = 0; i < 8; i++) {
		p += strspn(p, " ");
		size_t n = strcspn(p, " \n");
		uint64_t v;
		if (cs_parse_u64n(p, n, 0, UINT64_MAX, &v))
			sum += v;
		p += n;
	}
	return (json_int_t)(sum * (uint64_t)(CS_NS_PER_SEC / (hz > 0 ? hz : 100)));
}

static json_int_t num(json_t *o, const char *key) { return json_integer_value(json_object_get(o, key)); }

static json_t *cpu_stats(json_t *cpu)
{
	json_t *usage = json_pack("{s:I,s:I,s:I}", "total_usage", num(cpu, "usage"), "usage_in_kernelmode", num(cpu, "system"), "usage_in_usermode", num(cpu, "user"));
	json_t *per = json_object_get(cpu, "percpu");

	if (json_array_size(per))
		json_object_set(usage, "percpu_usage", per);
	json_t *j = json_pack("{s:o}", "cpu_usage", usage);
	if (cpu) {
		json_object_set_new(j, "system_cpu_usage", json_integer(system_cpu_ns()));
		json_object_set_new(j, "online_cpus", json_integer((json_int_t)cs_host_facts()->ncpu));
	}
	json_object_set_new(j, "throttling_data", json_pack("{s:I,s:I,s:I}", "periods", num(cpu, "periods"), "throttled_periods", num(cpu, "throttled_periods"),
							    "throttled_time", num(cpu, "throttled_time")));
	return j;
}

static json_t *memory_stats(json_t *mem, bool v1)
{
	json_t *j = json_object();
	json_int_t limit = num(mem, "limit"), total = (json_int_t)cs_host_facts()->mem_total;

	if (!mem)
		return j;
	json_object_set_new(j, "usage", json_integer(num(mem, "usage")));
	if (v1) {
		json_object_set_new(j, "max_usage", json_integer(num(mem, "max_usage")));
		if (num(mem, "failcnt"))
			json_object_set_new(j, "failcnt", json_integer(num(mem, "failcnt")));
	}
	json_t *stats = json_object_get(mem, "stats");
	json_object_set_new(j, "stats", stats ? json_incref(stats) : json_object());
	/* no limit is shown as the host's memory */
	json_object_set_new(j, "limit", json_integer(limit <= 0 || limit > total ? total : limit));
	return j;
}

static json_t *blkio_stats(json_t *blkio)
{
	static const char *const keys[] = {"io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive", "io_service_time_recursive",
					   "io_wait_time_recursive", "io_merged_recursive", "io_time_recursive", "sectors_recursive"};
	json_t *j = json_object();

	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++) {
		json_t *v = json_object_get(blkio, keys[i]);
		json_object_set_new(j, keys[i], v ? json_incref(v) : cs_host_facts()->cgroup_version == 2 ? json_null() : json_array());
	}
	return j;
}

static json_t *pids_stats(json_t *pids)
{
	json_t *j = json_object();

	if (num(pids, "current"))
		json_object_set_new(j, "current", json_integer(num(pids, "current")));
	/* dockerd shows "no limit" as the greatest uint64; jansson has no unsigned, so it is left out, as omitempty would a zero */
	if (num(pids, "limit") > 0)
		json_object_set_new(j, "limit", json_integer(num(pids, "limit")));
	return j;
}

static json_t *metrics(struct cs_container *c)
{
	cs_autosystem struct cs_system *s = cs_container_system(c);
	char *text = NULL;

	if (!s || cs_hcs_properties(s->h, "{\"PropertyTypes\":[\"Statistics\"]}", &text, NULL) < 0)
		return NULL;
	cs_autojson json_t *j = text ? cs_json_parse(text, strlen(text), NULL) : NULL;
	HcsFree(text);
	json_t *m = json_object_get(j, "Metrics");
	if (!m)
		m = json_object_get(json_object_get(j, "Statistics"), "Metrics");
	return json_incref(m);
}

/* One sample, without and with a running container. */
static json_t *sample(struct stats *s)
{
	cs_autojson json_t *m = metrics(s->c);
	char now[CS_TIME_BUF], before[CS_TIME_BUF];
	int64_t read = m ? cs_now_ns() : CS_TIME_ZERO;
	json_t *cpu = cpu_stats(json_object_get(m, "cpu"));

	pthread_mutex_lock(&s->c->lock);
	cs_autofree char *name = cs_xasprintf("/%s", s->c->name);
	pthread_mutex_unlock(&s->c->lock);
	json_t *j = json_pack("{s:s,s:s,s:s,s:s,s:i,s:{}}", "id", s->c->id, "name", name, "read", cs_time_format(read, now), "preread",
			      cs_time_format(s->pre_read, before), "num_procs", 0, "storage_stats");
	if (!s->api || s->api >= 152)
		json_object_set_new(j, "os_type", json_string("linux"));
	json_object_set_new(j, "pids_stats", pids_stats(json_object_get(m, "pids")));
	json_object_set_new(j, "blkio_stats", blkio_stats(json_object_get(m, "blkio")));
	json_object_set_new(j, "memory_stats", memory_stats(json_object_get(m, "memory"), num(m, "cgroup") != 2));
	json_object_set_new(j, "precpu_stats", s->pre_cpu ? json_incref(s->pre_cpu) : cpu_stats(NULL));
	json_object_set(j, "cpu_stats", cpu);
	json_t *net = json_object_get(m, "networks");
	if (json_object_size(net))
		json_object_set(j, "networks", net);
	json_decref(s->pre_cpu);
	s->pre_cpu = m ? cpu : (json_decref(cpu), NULL);
	s->pre_read = read;
	return j;
}

static bool still_there(struct cs_container *c)
{
	cs_autocontainer struct cs_container *again = NULL;
	return cs_container_get(c->e, c->id, &again, NULL) == 0;
}

static ssize_t stats_read(struct cs_stream *st, void *buf, size_t max)
{
	struct stats *s = cs_container_of(st, struct stats, stream);

	if (s->pos == s->out.len && !s->ended) {
		if (cs_monotonic_ns() < s->next)
			return -EAGAIN;
		if (!still_there(s->c))
			return 0;
		json_t *j = sample(s);
		s->next = cs_monotonic_ns() + CS_NS_PER_SEC;
		if (s->prime && s->pre_cpu) {
			s->prime = false;
			json_decref(j);
			return -EAGAIN;
		}
		cs_autofree char *text = json_dumps(j, JSON_COMPACT);
		json_decref(j);
		cs_str_clear(&s->out);
		s->pos = 0;
		cs_str_puts(&s->out, text ? text : "{}");
		cs_str_putc(&s->out, '\n');
		s->ended = s->once;
	}
	size_t n = CS_MIN(max, s->out.len - s->pos);
	memcpy(buf, s->out.buf + s->pos, n);
	s->pos += n;
	return (ssize_t)n;
}

static int stats_poll_fd(struct cs_stream *st) { return -1; }
static int64_t stats_deadline(struct cs_stream *st) { return cs_container_of(st, struct stats, stream)->next; }

static void stats_free(struct cs_stream *st)
{
	struct stats *s = cs_container_of(st, struct stats, stream);

	json_decref(s->pre_cpu);
	cs_str_done(&s->out);
	cs_container_unref(s->c);
	free(s);
}

static const struct cs_stream_ops stats_ops = {.read = stats_read, .poll_fd = stats_poll_fd, .deadline = stats_deadline, .free = stats_free};

int cs_container_stats(struct cs_engine *e, const char *ref, bool stream, bool one_shot, int api, struct cs_stream **ret, struct cs_err **err)
{
	struct cs_container *c;

	if (stream && one_shot)
		return cs_fail(err, CS_ERR_INVALID, 0, "cannot have stream=true and one-shot=true");
	if (cs_container_get(e, ref, &c, err) < 0)
		return -1;
	struct stats *s = cs_xcalloc(1, sizeof(*s));
	s->stream.ops = &stats_ops;
	s->c = c;
	s->api = api;
	s->once = !stream;
	s->prime = !stream && !one_shot; /* a stopped container has no first sample to wait for: sample() then leaves pre_cpu NULL */
	s->pre_read = CS_TIME_ZERO;
	cs_str_init(&s->out, 1u << 20);
	*ret = &s->stream;
	return 0;
}
