/* SPDX-License-Identifier: Apache-2.0
 *
 * OCI linux.resources to writes into cgroup files: v1 as they stand, v2 converted as runc does. A missing controller is a warning.
 * Pure; any thread. */
#include <stdarg.h>

#include "base/strv.h"
#include "compute/document/document.h"
#include "compute/document/fields.h"
#include "compute/process/plan.h"

struct ctx {
	const struct cs_host *host;
	const char *path; /* of the document, for messages */
	const char *group;
	bool v2, update;
	struct cs_settings *out;
};

void cs_settings_done(struct cs_settings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->v[i].controller);
		free(s->v[i].file);
		free(s->v[i].value);
	}
	free(s->v);
	cs_strv_free(s->warnings);
	free(s->device_bpf);
	*s = (struct cs_settings){0};
}

static void put(struct ctx *c, const char *controller, const char *file, unsigned required, const char *fmt, ...) CS_PRINTF(5, 6);
static void put(struct ctx *c, const char *controller, const char *file, unsigned required, const char *fmt, ...)
{
	const char *mount = cs_host_controller_mount(c->host, controller);
	cs_autostr struct cs_str value = CS_STR_INIT(65536);
	va_list ap;

	if (!mount) {
		cs_warnf(&c->out->warnings, "cgroup controller %s is missing on this host: %s is not applied", controller, file);
		return;
	}
	va_start(ap, fmt);
	cs_str_vputf(&value, fmt, ap);
	va_end(ap);
	c->out->v = cs_xreallocarray(c->out->v, c->out->n + 1, sizeof(*c->out->v));
	c->out->v[c->out->n++] = (struct cs_setting){.controller = cs_xstrdup(controller),
						     .file = cs_xasprintf("%s%s/%s", mount, c->group, file),
						     .value = cs_xstrdup(value.buf ? value.buf : ""),
						     .required = required};
}

/* v2's "max" */
static const char *or_max(int64_t n, char buf[24])
{
	if (n < 0)
		return "max";
	(void)snprintf(buf, 24, "%lld", (long long)n);
	return buf;
}

/* ---- memory ---- */

static int v1_memory(struct ctx *c, int64_t limit, int64_t swap, int64_t reservation, int64_t swappiness, bool has_swappiness, bool no_oom, bool has_oom)
{
	if (limit)
		put(c, "memory", "memory.limit_in_bytes", true, "%lld", (long long)limit);
	if (swap && c->host->swap_accounting)
		put(c, "memory", "memory.memsw.limit_in_bytes", true, "%lld", (long long)swap);
	else if (swap > 0)
		cs_warnf(&c->out->warnings, "this kernel does not account for swap: the swap limit is not applied");
	if (reservation)
		put(c, "memory", "memory.soft_limit_in_bytes", true, "%lld", (long long)reservation);
	if (has_swappiness)
		put(c, "memory", "memory.swappiness", false, "%lld", (long long)swappiness);
	if (has_oom && (no_oom || c->update))
		put(c, "memory", "memory.oom_control", true, "%d", no_oom);
	return 0;
}

static int v2_memory(struct ctx *c, int64_t limit, int64_t swap, int64_t reservation, bool has_swappiness, bool no_oom, struct cs_err **err)
{
	char buf[24];

	/* the document's swap is memory and swap together */
	if (swap > 0) {
		if (limit <= 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.memory.swap: needs memory.limit", c->path);
		if (swap < limit)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.memory.swap: is below memory.limit", c->path);
		put(c, "memory", "memory.swap.max", false, "%lld", (long long)(swap - limit));
	} else if (swap < 0) {
		put(c, "memory", "memory.swap.max", false, "max");
	}
	if (limit)
		put(c, "memory", "memory.max", true, "%s", or_max(limit, buf));
	if (reservation)
		put(c, "memory", "memory.low", true, "%s", reservation < 0 ? "0" : or_max(reservation, buf));
	if (has_swappiness)
		cs_warnf(&c->out->warnings, "memory swappiness does not exist on cgroup v2: it is not applied");
	if (no_oom)
		cs_warnf(&c->out->warnings, "the OOM killer cannot be disabled on cgroup v2: it stays enabled");
	return 0;
}

static int memory(struct ctx *c, json_t *o, struct cs_err **err)
{
	int64_t limit = 0, swap = 0, reservation = 0, swappiness = 0, kernel = 0, tcp = 0;
	bool no_oom = false, has_swappiness = false;
	cs_autofree char *at = cs_xasprintf("%s.memory", c->path);

	if (cs_field_i64(o, at, "limit", -1, INT64_MAX, &limit, err) < 0 || cs_field_i64(o, at, "swap", -1, INT64_MAX, &swap, err) < 0 ||
	    cs_field_i64(o, at, "reservation", -1, INT64_MAX, &reservation, err) < 0 || cs_field_i64(o, at, "kernel", -1, INT64_MAX, &kernel, err) < 0 ||
	    cs_field_i64(o, at, "kernelTCP", -1, INT64_MAX, &tcp, err) < 0 ||
	    cs_field_opt_i64(o, at, "swappiness", 0, 200, &swappiness, &has_swappiness, err) < 0 ||
	    cs_field_bool(o, at, "disableOOMKiller", &no_oom, err) < 0)
		return -1;
	if (kernel > 0)
		cs_warnf(&c->out->warnings, "kernel memory limits are gone from the kernel: it is not applied");
	if (tcp > 0 && c->v2)
		cs_warnf(&c->out->warnings, "kernel TCP memory limits do not exist on cgroup v2: it is not applied");
	else if (tcp)
		put(c, "memory", "memory.kmem.tcp.limit_in_bytes", true, "%lld", (long long)tcp);
	if (c->v2)
		return v2_memory(c, limit, swap, reservation, has_swappiness, no_oom, err);
	json_t *oom = json_object_get(o, "disableOOMKiller");
	return v1_memory(c, limit, swap, reservation, swappiness, has_swappiness, no_oom, oom && !json_is_null(oom));
}

/* ---- cpu ---- */

static int cpu(struct ctx *c, json_t *o, struct cs_err **err)
{
	int64_t shares = 0, quota = 0, period = 0, burst = 0, rt_runtime = 0, rt_period = 0, idle = 0;
	const char *cpus = "", *mems = "";
	cs_autofree char *at = cs_xasprintf("%s.cpu", c->path);
	char buf[24];
	bool has_idle = false;

	if (cs_field_i64(o, at, "shares", 0, INT64_MAX, &shares, err) < 0 || cs_field_i64(o, at, "quota", -1, INT64_MAX, &quota, err) < 0 ||
	    cs_field_i64(o, at, "period", 0, INT64_MAX, &period, err) < 0 || cs_field_i64(o, at, "burst", 0, INT64_MAX, &burst, err) < 0 ||
	    cs_field_i64(o, at, "realtimeRuntime", -1, INT64_MAX, &rt_runtime, err) < 0 ||
	    cs_field_i64(o, at, "realtimePeriod", 0, INT64_MAX, &rt_period, err) < 0 || cs_field_opt_i64(o, at, "idle", 0, 1, &idle, &has_idle, err) < 0 ||
	    cs_field_str(o, at, "cpus", 0, &cpus, err) < 0 || cs_field_str(o, at, "mems", 0, &mems, err) < 0)
		return -1;
	if (*cpus)
		put(c, "cpuset", "cpuset.cpus", true, "%s", cpus);
	if (*mems)
		put(c, "cpuset", "cpuset.mems", true, "%s", mems);
	if (c->v2) {
		if (shares) { /* [2, 262144] -> [1, 10000] */
			int64_t s = CS_MIN(CS_MAX(shares, 2), 262144);
			put(c, "cpu", "cpu.weight", true, "%lld", (long long)(1 + ((s - 2) * 9999) / 262142));
		}
		if (quota || period)
			put(c, "cpu", "cpu.max", true, "%s %lld", or_max(quota > 0 ? quota : -1, buf), (long long)(period ? period : 100000));
		if (burst)
			put(c, "cpu", "cpu.max.burst", true, "%lld", (long long)burst);
		if (rt_runtime || rt_period)
			cs_warnf(&c->out->warnings, "real-time CPU limits do not exist on cgroup v2: they are not applied");
	} else {
		if (shares)
			put(c, "cpu", "cpu.shares", true, "%lld", (long long)shares);
		if (period)
			put(c, "cpu", "cpu.cfs_period_us", true, "%lld", (long long)period);
		if (quota)
			put(c, "cpu", "cpu.cfs_quota_us", true, "%lld", (long long)quota);
		if (burst)
			put(c, "cpu", "cpu.cfs_burst_us", true, "%lld", (long long)burst);
		if (rt_period)
			put(c, "cpu", "cpu.rt_period_us", true, "%lld", (long long)rt_period);
		if (rt_runtime)
			put(c, "cpu", "cpu.rt_runtime_us", true, "%lld", (long long)rt_runtime);
	}
	if (has_idle)
		put(c, "cpu", "cpu.idle", true, "%lld", (long long)idle);
	return 0;
}

/* ---- block I/O ---- */

static int throttle(struct ctx *c, json_t *o, const char *key, const char *v1_file, const char *v2_key, struct cs_err **err)
{
	json_t *list = NULL, *v;
	size_t i;
	cs_autofree char *parent = cs_xasprintf("%s.blockIO", c->path);

	if (cs_field_arr(o, parent, key, 0, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.%s[%zu]", parent, key, i);
		int64_t major = 0, minor = 0, rate = 0;
		if (cs_field_is_obj(v, at, err) < 0 || cs_field_i64(v, at, "major", 0, 0xfff, &major, err) < 0 ||
		    cs_field_i64(v, at, "minor", 0, 0xfffff, &minor, err) < 0 || cs_field_i64(v, at, "rate", 0, INT64_MAX, &rate, err) < 0)
			return -1;
		if (!c->v2)
			put(c, "blkio", v1_file, true, "%lld:%lld %lld", (long long)major, (long long)minor, (long long)rate);
		else if (rate)
			put(c, "io", "io.max", true, "%lld:%lld %s=%lld", (long long)major, (long long)minor, v2_key, (long long)rate);
		else
			put(c, "io", "io.max", true, "%lld:%lld %s=max", (long long)major, (long long)minor, v2_key);
	}
	return 0;
}

static long long io_weight(int64_t w) { return 1 + (w - 10) * 9999 / 990; } /* [10, 1000] -> [1, 10000] */

static int weight_devices(struct ctx *c, json_t *o, struct cs_err **err)
{
	cs_autofree char *parent = cs_xasprintf("%s.blockIO", c->path);
	json_t *list = NULL, *v;
	size_t i;

	if (cs_field_arr(o, parent, "weightDevice", 0, &list, err) < 0)
		return -1;
	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.weightDevice[%zu]", parent, i);
		int64_t major = 0, minor = 0, weight = 0;
		if (cs_field_is_obj(v, at, err) < 0 || cs_field_i64(v, at, "major", 0, 0xfff, &major, err) < 0 ||
		    cs_field_i64(v, at, "minor", 0, 0xfffff, &minor, err) < 0 || cs_field_i64(v, at, "weight", 0, 1000, &weight, err) < 0)
			return -1;
		if (!weight && !c->update)
			continue;
		if (!weight)
			put(c, c->v2 ? "io" : "blkio", c->v2 ? "io.bfq.weight" : "blkio.bfq.weight_device", false, "%lld:%lld default", (long long)major, (long long)minor);
		else if (c->v2) /* needs the BFQ or io.cost controller on that device */
			put(c, "io", "io.bfq.weight", false, "%lld:%lld %lld", (long long)major, (long long)minor, (long long)weight);
		else
			put(c, "blkio", "blkio.bfq.weight_device", false, "%lld:%lld %lld", (long long)major, (long long)minor, (long long)weight);
	}
	return 0;
}

static int block_io(struct ctx *c, json_t *o, struct cs_err **err)
{
	cs_autofree char *at = cs_xasprintf("%s.blockIO", c->path);
	int64_t weight = 0;

	if (cs_field_i64(o, at, "weight", 0, 1000, &weight, err) < 0)
		return -1;
	if (weight && weight < 10)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.weight: 10 to 1000 is possible", at);
	if (weight && c->v2) { /* whichever of the two policies the kernel has; BFQ is often a module */
		put(c, "io", "io.bfq.weight", CS_CGROUP_SET_IF_THERE, "%lld", (long long)weight);
		put(c, "io", "io.weight", CS_CGROUP_SET_IF_THERE, "%lld", io_weight(weight));
	}
	if (weight && !c->v2) /* blkio.weight went with the CFQ scheduler in Linux 5.0 */
		put(c, "blkio", "blkio.bfq.weight", false, "%lld", (long long)weight);
	if (weight_devices(c, o, err) < 0 || throttle(c, o, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", err) < 0 ||
	    throttle(c, o, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", err) < 0 ||
	    throttle(c, o, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", err) < 0)
		return -1;
	return throttle(c, o, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", err);
}

/* ---- the others ---- */

static int pids(struct ctx *c, json_t *o, struct cs_err **err)
{
	cs_autofree char *at = cs_xasprintf("%s.pids", c->path);
	int64_t limit = 0;
	bool has = false;
	char buf[24];

	if (cs_field_opt_i64(o, at, "limit", INT64_MIN, INT64_MAX, &limit, &has, err) < 0)
		return -1;
	if (limit > 0 || (has && c->update))
		put(c, "pids", "pids.max", true, "%s", or_max(limit > 0 ? limit : -1, buf));
	return 0;
}

static int hugepages(struct ctx *c, json_t *list, struct cs_err **err)
{
	json_t *v;
	size_t i;

	json_array_foreach(list, i, v)
	{
		cs_autofree char *at = cs_xasprintf("%s.hugepageLimits[%zu]", c->path, i), *file = NULL;
		const char *size = NULL;
		int64_t limit = 0;
		if (cs_field_is_obj(v, at, err) < 0 || cs_field_str(v, at, "pageSize", CS_F_REQUIRED, &size, err) < 0 ||
		    cs_field_i64(v, at, "limit", 0, INT64_MAX, &limit, err) < 0)
			return -1;
		if (!*size || strspn(size, "0123456789KMGB") != strlen(size))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.pageSize: %s is no page size", at, size);
		file = cs_xasprintf(c->v2 ? "hugetlb.%s.max" : "hugetlb.%s.limit_in_bytes", size);
		put(c, "hugetlb", file, true, "%lld", (long long)limit);
	}
	return 0;
}

static int unified(struct ctx *c, json_t *o, struct cs_err **err)
{
	const char *key;
	json_t *v;

	if (json_object_size(o) && !c->v2)
		return cs_fail(err, CS_ERR_INVALID, 0, "%s.unified: this host has cgroup v1", c->path);
	json_object_foreach(o, key, v)
	{
		const char *dot = strchr(key, '.');
		if (!json_is_string(v))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.unified.%s: expected string", c->path, key);
		if (!dot || strchr(key, '/'))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.unified: %s is no cgroup file", c->path, key);
		cs_autofree char *controller = cs_xstrndup(key, (size_t)(dot - key));
		if (strcmp(controller, "cgroup") == 0) /* cgroup.kill, cgroup.procs … are not limits */
			return cs_fail(err, CS_ERR_INVALID, 0, "%s.unified: %s cannot be set", c->path, key);
		put(c, controller, key, true, "%s", json_string_value(v));
	}
	return 0;
}

static int networks(struct ctx *c, json_t *o, struct cs_err **err)
{
	cs_autofree char *at = cs_xasprintf("%s.network", c->path);
	int64_t class_id = 0;

	if (cs_field_i64(o, at, "classID", 0, UINT32_MAX, &class_id, err) < 0)
		return -1;
	if (class_id && !c->v2)
		put(c, "net_cls", "net_cls.classid", true, "%lld", (long long)class_id);
	else if (class_id)
		cs_warnf(&c->out->warnings, "network class ids do not exist on cgroup v2: it is not applied");
	if (json_array_size(json_object_get(o, "priorities")))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.priorities: is not available in this build", at);
	return 0;
}

int cs_resources_compile(json_t *res, const char *path, const struct cs_host *host, const char *cgroups_path, bool update, struct cs_settings *ret,
			 struct cs_err **err)
{
	struct ctx c = {.host = host, .path = path, .group = cgroups_path, .v2 = host->cgroup_version == 2, .update = update, .out = ret};
	json_t *mem = NULL, *cpu_o = NULL, *io = NULL, *pid = NULL, *huge = NULL, *uni = NULL, *net = NULL, *dev = NULL;

	if (res && (cs_field_obj(res, path, "memory", 0, &mem, err) < 0 || cs_field_obj(res, path, "cpu", 0, &cpu_o, err) < 0 ||
		    cs_field_obj(res, path, "blockIO", 0, &io, err) < 0 || cs_field_obj(res, path, "pids", 0, &pid, err) < 0 ||
		    cs_field_arr(res, path, "hugepageLimits", 0, &huge, err) < 0 || cs_field_obj(res, path, "unified", 0, &uni, err) < 0 ||
		    cs_field_obj(res, path, "network", 0, &net, err) < 0 || cs_field_arr(res, path, "devices", 0, &dev, err) < 0))
		return -1;
	if (res && json_object_size(json_object_get(res, "rdma")))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.rdma: is not available in this build", path);
	if (host->cgroup_version == 0) {
		if (res && json_object_size(res))
			cs_warnf(&ret->warnings, "this host has no cgroups: no limit is applied");
		return 0;
	}
	if ((mem && memory(&c, mem, err) < 0) || (cpu_o && cpu(&c, cpu_o, err) < 0) || (io && block_io(&c, io, err) < 0) ||
	    (pid && pids(&c, pid, err) < 0) || (huge && hugepages(&c, huge, err) < 0) || (net && networks(&c, net, err) < 0) ||
	    (uni && unified(&c, uni, err) < 0))
		return -1;
	if (update && json_array_size(dev))
		return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "%s.devices: cannot be changed while the container runs", path);
	return update ? 0 : cs_device_rules(dev, path, host, cgroups_path, ret, err);
}
