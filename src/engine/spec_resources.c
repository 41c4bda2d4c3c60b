/* SPDX-License-Identifier: Apache-2.0
 *
 * HostConfig's resources as OCI linux.resources (without devices), and ulimit names. Pure but for stat of block devices. */
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "engine/spec-internal.h"

const char *cs_ulimit_oci_name(const char *name)
{
	static const char *const map[][2] = {
		{"core", "RLIMIT_CORE"},         {"cpu", "RLIMIT_CPU"},           {"data", "RLIMIT_DATA"},
		{"fsize", "RLIMIT_FSIZE"},       {"locks", "RLIMIT_LOCKS"},       {"memlock", "RLIMIT_MEMLOCK"},
		{"msgqueue", "RLIMIT_MSGQUEUE"}, {"nice", "RLIMIT_NICE"},         {"nofile", "RLIMIT_NOFILE"},
		{"nproc", "RLIMIT_NPROC"},       {"rss", "RLIMIT_RSS"},           {"rtprio", "RLIMIT_RTPRIO"},
		{"rttime", "RLIMIT_RTTIME"},     {"sigpending", "RLIMIT_SIGPENDING"}, {"stack", "RLIMIT_STACK"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(map); i++)
		if (cs_streq(map[i][0], name))
			return map[i][1];
	return NULL;
}

static void put_nonzero(struct cs_str *out, const char *key, int64_t v)
{
	if (v)
		cs_json_put_ki64(out, key, v);
}

static void put_memory(const struct cs_resources *r, struct cs_str *out)
{
	if (!r->memory && !r->memory_reservation && !r->memory_swap && !r->memory_swappiness && r->oom_kill_disable != CS_TRUE)
		return;
	cs_json_put_key(out, "memory");
	cs_str_putc(out, '{');
	put_nonzero(out, "limit", r->memory);
	put_nonzero(out, "reservation", r->memory_reservation);
	put_nonzero(out, "swap", r->memory_swap);
	if (r->memory_swappiness && *r->memory_swappiness >= 0)
		cs_json_put_ki64(out, "swappiness", *r->memory_swappiness);
	if (r->oom_kill_disable == CS_TRUE)
		cs_json_put_kbool(out, "disableOOMKiller", true);
	cs_str_putc(out, '}');
}

static void put_cpu(const struct cs_resources *r, struct cs_str *out)
{
	int64_t period = r->cpu_period, quota = r->cpu_quota;

	if (r->nano_cpus > 0) {
		period = 100000;
		quota = r->nano_cpus / 10000; /* cpus × 100 ms, in µs */
	}
	if (!r->cpu_shares && !period && !quota && !r->cpu_realtime_period && !r->cpu_realtime_runtime && cs_empty(r->cpuset_cpus) &&
	    cs_empty(r->cpuset_mems))
		return;
	cs_json_put_key(out, "cpu");
	cs_str_putc(out, '{');
	put_nonzero(out, "shares", r->cpu_shares);
	put_nonzero(out, "quota", CS_MAX(quota, -1)); /* each negative one is none */
	put_nonzero(out, "period", period);
	put_nonzero(out, "realtimeRuntime", r->cpu_realtime_runtime);
	put_nonzero(out, "realtimePeriod", r->cpu_realtime_period);
	if (!cs_empty(r->cpuset_cpus))
		cs_json_put_kstr(out, "cpus", r->cpuset_cpus);
	if (!cs_empty(r->cpuset_mems))
		cs_json_put_kstr(out, "mems", r->cpuset_mems);
	cs_str_putc(out, '}');
}

/* Opens a list member for a block device; false when it has vanished since the container was created. */
static bool open_device(struct cs_str *out, const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISBLK(st.st_mode))
		return false;
	cs_str_puts(out, out->len && out->buf[out->len - 1] == '[' ? "{" : ",{");
	cs_json_put_ki64(out, "major", major(st.st_rdev));
	cs_json_put_ki64(out, "minor", minor(st.st_rdev));
	return true;
}

static void put_throttle(struct cs_str *out, const char *key, const struct cs_throttle_device *v, size_t n)
{
	if (!n)
		return;
	cs_json_put_key(out, key);
	cs_str_putc(out, '[');
	for (size_t i = 0; i < n; i++) {
		if (!open_device(out, v[i].path))
			continue;
		cs_json_put_key(out, "rate");
		cs_str_put_u64(out, v[i].rate);
		cs_str_putc(out, '}');
	}
	cs_str_putc(out, ']');
}

static void put_blkio(const struct cs_resources *r, struct cs_str *out)
{
	if (!r->blkio_weight && !r->n_blkio_weight_device && !r->n_blkio_device_read_bps && !r->n_blkio_device_write_bps &&
	    !r->n_blkio_device_read_iops && !r->n_blkio_device_write_iops)
		return;
	cs_json_put_key(out, "blockIO");
	cs_str_putc(out, '{');
	put_nonzero(out, "weight", r->blkio_weight);
	if (r->n_blkio_weight_device) {
		cs_json_put_key(out, "weightDevice");
		cs_str_putc(out, '[');
		for (size_t i = 0; i < r->n_blkio_weight_device; i++) {
			if (!open_device(out, r->blkio_weight_device[i].path))
				continue;
			cs_json_put_ki64(out, "weight", r->blkio_weight_device[i].weight);
			cs_str_putc(out, '}');
		}
		cs_str_putc(out, ']');
	}
	put_throttle(out, "throttleReadBpsDevice", r->blkio_device_read_bps, r->n_blkio_device_read_bps);
	put_throttle(out, "throttleWriteBpsDevice", r->blkio_device_write_bps, r->n_blkio_device_write_bps);
	put_throttle(out, "throttleReadIOPSDevice", r->blkio_device_read_iops, r->n_blkio_device_read_iops);
	put_throttle(out, "throttleWriteIOPSDevice", r->blkio_device_write_iops, r->n_blkio_device_write_iops);
	cs_str_putc(out, '}');
}

void cs_resources_put_members(const struct cs_resources *r, struct cs_str *out)
{
	put_memory(r, out);
	put_cpu(r, out);
	if (r->pids_limit) {
		cs_json_put_key(out, "pids");
		cs_str_putc(out, '{');
		cs_json_put_ki64(out, "limit", *r->pids_limit > 0 ? *r->pids_limit : -1);
		cs_str_putc(out, '}');
	}
	put_blkio(r, out);
}

void cs_spec_resources(const struct cs_resources *r, struct cs_str *out)
{
	cs_str_putc(out, '{');
	cs_resources_put_members(r, out);
	cs_str_putc(out, '}');
}
