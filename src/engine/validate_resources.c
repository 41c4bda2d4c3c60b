/* SPDX-License-Identifier: Apache-2.0
 *
 * Limits: dockerd's checks and messages; what this host cannot limit is dropped with a warning. Used by create and update. Pure but for stat of
 * block devices. */
#include <string.h>
#include <sys/stat.h>

#include "base/num.h"
#include "engine/hostfacts.h"
#include "engine/spec-internal.h"

#define MIN_MEMORY (6 << 20)
#define CPUSET_WORDS 16
#define WARN_NO(what, discarded) "Your kernel does not support " what " or the cgroup is not mounted. " discarded " discarded."

void cs_warn(char ***warnings, const char *text)
{
	if (!cs_strv_has(*warnings, text))
		cs_strv_push(warnings, text);
}

static int invalid(struct cs_err **err, const char *text) { return cs_fail(err, CS_ERR_INVALID, 0, "%s", text); }

static int check_memory(struct cs_resources *r, const struct cs_host_facts *f, bool update, char ***w, struct cs_err **err)
{
	if (r->memory != 0 && r->memory < MIN_MEMORY)
		return invalid(err, "Minimum memory limit allowed is 6MB");
	if (r->memory > 0 && !f->memory_limit) {
		cs_warn(w, WARN_NO("memory limit capabilities", "Limitation"));
		r->memory = 0;
		r->memory_swap = -1;
	}
	if (r->memory > 0 && r->memory_swap != -1 && !f->swap_limit) {
		cs_warn(w, "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory limited without swap.");
		r->memory_swap = -1;
	}
	if (r->memory_swap < -1)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid memory swap limit %lld: must be -1, 0 or a size", (long long)r->memory_swap);
	if (r->memory > 0 && r->memory_swap > 0 && r->memory_swap < r->memory)
		return invalid(err, "Minimum memoryswap limit should be larger than memory limit, see usage");
	if (r->memory == 0 && r->memory_swap > 0 && !update)
		return invalid(err, "You should always set the Memory limit when using Memoryswap limit, see usage");
	if (r->memory_swappiness && *r->memory_swappiness == -1) {
		free(r->memory_swappiness);
		r->memory_swappiness = NULL;
	}
	if (r->memory_swappiness && (*r->memory_swappiness < 0 || *r->memory_swappiness > 100))
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid value: %lld, valid memory swappiness range is 0-100",
			       (long long)*r->memory_swappiness);
	if (r->memory_swappiness && !f->memory_swappiness) {
		cs_warn(w, WARN_NO("memory swappiness capabilities", "Memory swappiness"));
		free(r->memory_swappiness);
		r->memory_swappiness = NULL;
	}
	if (r->memory_reservation > 0 && !f->memory_reservation) {
		cs_warn(w, WARN_NO("memory soft limit capabilities", "Limitation"));
		r->memory_reservation = 0;
	}
	if (r->memory_reservation != 0 && r->memory_reservation < MIN_MEMORY)
		return invalid(err, "Minimum memory reservation allowed is 6MB");
	if (r->memory > 0 && r->memory < r->memory_reservation)
		return invalid(err, "Minimum memory limit can not be less than memory reservation limit, see usage");
	return 0;
}

static void drop_unsupported_memory(struct cs_resources *r, const struct cs_host_facts *f, char ***w)
{
	if (r->kernel_memory || r->kernel_memory_tcp) {
		cs_warn(w, "Specifying a kernel memory limit is deprecated and has no effect. Limitation discarded.");
		r->kernel_memory = r->kernel_memory_tcp = 0;
	}
	if (r->oom_kill_disable == CS_TRUE && !f->oom_kill_disable) {
		cs_warn(w, "Your kernel does not support OomKillDisable. OomKillDisable discarded.");
		r->oom_kill_disable = CS_NULL;
	}
	if (r->oom_kill_disable == CS_TRUE && r->memory == 0)
		cs_warn(w, "OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out "
			   "of resources.");
	if (r->pids_limit && *r->pids_limit > 0 && !f->pids) {
		cs_warn(w, WARN_NO("PIDs limit capabilities", "PIDs limit"));
		free(r->pids_limit);
		r->pids_limit = NULL;
	}
}

static int check_realtime(struct cs_resources *r, const struct cs_host_facts *f, struct cs_err **err)
{
	if (!r->cpu_realtime_period && !r->cpu_realtime_runtime)
		return 0;
	if (!f->cpu_realtime)
		return invalid(err, "Your kernel does not support CPU real-time scheduler");
	if (r->cpu_realtime_period < 0 || r->cpu_realtime_runtime < 0)
		return invalid(err, "cpu real-time period and runtime cannot be negative");
	if (r->cpu_realtime_period && r->cpu_realtime_runtime > r->cpu_realtime_period)
		return invalid(err, "cpu real-time runtime cannot be higher than cpu real-time period");
	return 0;
}

static int check_cpu(struct cs_resources *r, const struct cs_host_facts *f, char ***w, struct cs_err **err)
{
	if (r->nano_cpus > 0 && r->cpu_period > 0)
		return invalid(err, "Conflicting options: Nano CPUs and CPU Period cannot both be set");
	if (r->nano_cpus > 0 && r->cpu_quota > 0)
		return invalid(err, "Conflicting options: Nano CPUs and CPU Quota cannot both be set");
	if (r->nano_cpus > 0 && !f->cpu_cfs)
		return invalid(err, "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted");
	if (r->nano_cpus < 0 || r->nano_cpus > f->ncpu * 1000000000ll || (r->nano_cpus > 0 && r->nano_cpus < 10000000))
		return cs_fail(err, CS_ERR_INVALID, 0, "Range of CPUs is from 0.01 to %lld.00, as there are only %lld CPUs available",
			       (long long)f->ncpu, (long long)f->ncpu);
	if (r->cpu_shares < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "invalid CPU shares (%lld): value must be a positive integer", (long long)r->cpu_shares);
	if (r->cpu_shares > 0 && !f->cpu_shares) {
		cs_warn(w, WARN_NO("CPU shares", "Shares"));
		r->cpu_shares = 0;
	}
	if ((r->cpu_period || r->cpu_quota) && !f->cpu_cfs) {
		cs_warn(w, "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.");
		r->cpu_period = r->cpu_quota = 0;
	}
	if (r->cpu_period && (r->cpu_period < 1000 || r->cpu_period > 1000000))
		return invalid(err, "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)");
	if (r->cpu_quota > 0 && r->cpu_quota < 1000)
		return invalid(err, "CPU cfs quota can not be less than 1ms (i.e. 1000)");
	if (r->cpu_percent > 0) {
		cs_warn(w, "linux does not support CPU percent. Percent discarded.");
		r->cpu_percent = 0;
	}
	if (r->cpu_count > 0) {
		cs_warn(w, "linux does not support CPU count. Count discarded.");
		r->cpu_count = 0;
	}
	return check_realtime(r, f, err);
}

bool cs_cpuset_parse(const char *text, uint64_t *bits, size_t words)
{
	cs_autostrv char **parts = cs_strv_split(text, ',');

	memset(bits, 0, words * sizeof(*bits));
	for (size_t i = 0; parts[i]; i++) {
		size_t len = strlen(parts[i]), n = strcspn(parts[i], "-");
		uint64_t a, b;
		while (len && parts[i][len - 1] == ' ')
			parts[i][--len] = 0;
		if (!cs_parse_u64n(parts[i], n < len ? n : len, 0, words * 64 - 1, &a))
			return false;
		b = a;
		if (n < len && !cs_parse_u64(parts[i] + n + 1, a, words * 64 - 1, &b))
			return false;
		for (uint64_t k = a; k <= b; k++)
			bits[k / 64] |= 1ull << (k % 64);
	}
	return true;
}

/* Numbers beyond what any host has are well-formed, too: no CPU of that number is a better answer than "invalid". */
static bool well_formed(const char *text)
{
	cs_autostrv char **parts = cs_strv_split(text, ',');
	uint64_t a, b;

	for (size_t i = 0; parts[i]; i++) {
		size_t len = strlen(parts[i]), n = strcspn(parts[i], "-");
		if (!cs_parse_u64n(parts[i], n, 0, INT32_MAX, &a) || (n < len && !cs_parse_u64(parts[i] + n + 1, a, INT32_MAX, &b)))
			return false;
	}
	return true;
}

static int check_set(const char *want, const char *have, const char *kind, const char *what, struct cs_err **err)
{
	uint64_t w[CPUSET_WORDS], h[CPUSET_WORDS];

	if (cs_empty(want))
		return 0;
	if (!cs_cpuset_parse(want, w, CPUSET_WORDS) && well_formed(want))
		return cs_fail(err, CS_ERR_INVALID, 0, "Requested %s are not available - requested %s, available: %s", what, want, have);
	if (!cs_cpuset_parse(want, w, CPUSET_WORDS))
		return cs_fail(err, CS_ERR_INVALID, 0, "Invalid value %s for cpuset %s: invalid format: %s", want, kind, want);
	if (!cs_cpuset_parse(have, h, CPUSET_WORDS))
		return 0;
	for (size_t i = 0; i < CPUSET_WORDS; i++)
		if (w[i] & ~h[i])
			return cs_fail(err, CS_ERR_INVALID, 0, "Requested %s are not available - requested %s, available: %s", what, want, have);
	return 0;
}

static int check_cpuset(struct cs_resources *r, const struct cs_host_facts *f, char ***w, struct cs_err **err)
{
	if ((!cs_empty(r->cpuset_cpus) || !cs_empty(r->cpuset_mems)) && !f->cpuset) {
		cs_warn(w, WARN_NO("cpuset", "Cpuset"));
		free(r->cpuset_cpus);
		free(r->cpuset_mems);
		r->cpuset_cpus = r->cpuset_mems = NULL;
	}
	if (check_set(r->cpuset_cpus, f->cpus, "cpus", "CPUs", err) < 0)
		return -1;
	return check_set(r->cpuset_mems, f->mems, "mems", "memory nodes", err);
}

static int check_block_device(const char *path, struct cs_err **err)
{
	struct stat st;

	if (cs_empty(path) || stat(path, &st) < 0)
		return cs_fail(err, CS_ERR_INVALID, 0, "block device %s: no such file or directory", path ? path : "\"\"");
	return S_ISBLK(st.st_mode) ? 0 : cs_fail(err, CS_ERR_INVALID, 0, "%s is not a block device", path);
}

static int check_throttle(struct cs_throttle_device **v, size_t *n, bool supported, const char *warning, char ***w, struct cs_err **err)
{
	if (*n && !supported) {
		cs_warn(w, warning);
		for (size_t i = 0; i < *n; i++)
			cs_json_release(&cs_throttle_device_type, &(*v)[i]);
		*n = 0;
	}
	for (size_t i = 0; i < *n; i++)
		if (check_block_device((*v)[i].path, err) < 0)
			return -1;
	return 0;
}

static int check_blkio(struct cs_resources *r, const struct cs_host_facts *f, char ***w, struct cs_err **err)
{
	if (r->blkio_weight && (r->blkio_weight < 10 || r->blkio_weight > 1000))
		return invalid(err, "Range of blkio weight is from 10 to 1000");
	if (r->blkio_weight && !f->blkio_weight) {
		cs_warn(w, WARN_NO("Block I/O weight", "Weight"));
		r->blkio_weight = 0;
	}
	if (r->io_maximum_bandwidth || r->io_maximum_iops)
		return invalid(err, "Invalid QoS settings: linux does not support Maximum IO Bandwidth or Maximum IO IOps");
	for (size_t i = 0; i < r->n_blkio_weight_device; i++)
		if (r->blkio_weight_device[i].weight < 10 || r->blkio_weight_device[i].weight > 1000)
			return invalid(err, "Range of blkio weight is from 10 to 1000");
	if (r->n_blkio_weight_device && !f->blkio_weight_device) {
		cs_warn(w, WARN_NO("Block I/O weight_device", "Weight-device"));
		for (size_t i = 0; i < r->n_blkio_weight_device; i++)
			cs_json_release(&cs_weight_device_type, &r->blkio_weight_device[i]);
		r->n_blkio_weight_device = 0;
	}
	for (size_t i = 0; i < r->n_blkio_weight_device; i++)
		if (check_block_device(r->blkio_weight_device[i].path, err) < 0)
			return -1;
	bool t = f->blkio_throttle;
	if (check_throttle(&r->blkio_device_read_bps, &r->n_blkio_device_read_bps, t,
			   WARN_NO("BPS Block I/O read limit", "Block I/O BPS read limit"), w, err) < 0 ||
	    check_throttle(&r->blkio_device_write_bps, &r->n_blkio_device_write_bps, t,
			   WARN_NO("BPS Block I/O write limit", "Block I/O BPS write limit"), w, err) < 0 ||
	    check_throttle(&r->blkio_device_read_iops, &r->n_blkio_device_read_iops, t,
			   WARN_NO("IOPS Block read limit", "Block I/O IOPS read limit"), w, err) < 0)
		return -1;
	return check_throttle(&r->blkio_device_write_iops, &r->n_blkio_device_write_iops, t,
			      WARN_NO("IOPS Block write limit", "Block I/O IOPS write limit"), w, err);
}

static int check_devices(const struct cs_resources *r, struct cs_err **err)
{
	struct cs_device_rule rule;

	for (size_t i = 0; i < r->n_devices; i++) {
		const struct cs_device_mapping *m = &r->devices[i];
		if (cs_empty(m->path_on_host) || m->path_on_host[0] != '/' || (!cs_empty(m->path_in_container) && m->path_in_container[0] != '/'))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid device: \"%s:%s\": paths must be absolute",
				       m->path_on_host ? m->path_on_host : "", m->path_in_container ? m->path_in_container : "");
		if (m->cgroup_permissions && !cs_device_access_valid(m->cgroup_permissions))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid device mode: %s", m->cgroup_permissions);
	}
	for (size_t i = 0; r->device_cgroup_rules && r->device_cgroup_rules[i]; i++)
		if (!cs_device_rule_parse(r->device_cgroup_rules[i], &rule))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid device cgroup rule format: '%s'", r->device_cgroup_rules[i]);
	if (!r->n_device_requests)
		return 0;
	cs_autofree char *caps = cs_xstrdup(r->device_requests[0].capabilities ? r->device_requests[0].capabilities : "[]");
	size_t n = 0;
	for (const char *p = caps; *p; p++) /* [["gpu","x"]] as Go writes it, since scripts look for "[[gpu]]" */
		if (*p != '"')
			caps[n++] = *p == ',' ? ' ' : *p;
	caps[n] = 0;
	return cs_fail(err, CS_ERR_UNSUPPORTED, 0, "could not select device driver \"%s\" with capabilities: %s",
		       r->device_requests[0].driver ? r->device_requests[0].driver : "", caps);
}

int cs_ulimits_check(const struct cs_ulimit *v, size_t n, char ***warnings, struct cs_err **err)
{
	for (size_t i = 0; i < n; i++) {
		const struct cs_ulimit *u = &v[i];
		if (!cs_ulimit_oci_name(u->name))
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid ulimit type: %s", u->name ? u->name : "");
		if (u->soft < -1 || u->hard < -1)
			return cs_fail(err, CS_ERR_INVALID, 0, "invalid ulimit %s: limits must be -1 or more", u->name);
		if (u->hard != -1 && (u->soft == -1 || u->soft > u->hard))
			return cs_fail(err, CS_ERR_INVALID, 0, "ulimit soft limit must be less than or equal to hard limit: %lld > %lld",
				       (long long)u->soft, (long long)u->hard);
		uint64_t most = cs_host_ulimit_max(u->name);
		if ((u->hard == -1 ? UINT64_MAX : (uint64_t)u->hard) > most) {
			cs_autofree char *text = cs_xasprintf("The engine itself lacks CAP_SYS_RESOURCE. Ulimit %s is limited to %llu.", u->name, (unsigned long long)most);
			cs_warn(warnings, text);
		}
	}
	return 0;
}

int cs_resources_check(struct cs_resources *r, bool update, char ***w, struct cs_err **err)
{
	const struct cs_host_facts *f = cs_host_facts();

	if (check_memory(r, f, update, w, err) < 0)
		return -1;
	drop_unsupported_memory(r, f, w);
	if (!update && r->pids_limit && *r->pids_limit <= 0) { /* at create, "unlimited" is the same as nothing */
		free(r->pids_limit);
		r->pids_limit = NULL;
	}
	if (check_cpu(r, f, w, err) < 0 || check_cpuset(r, f, w, err) < 0 || check_blkio(r, f, w, err) < 0 || check_devices(r, err) < 0)
		return -1;
	return cs_ulimits_check(r->ulimits, r->n_ulimits, w, err);
}

int cs_restart_policy_check(const struct cs_restart_policy *p, struct cs_err **err)
{
	const char *name = p->name ? p->name : "";

	if (!*name)
		return 0;
	if (strcmp(name, "always") == 0 || strcmp(name, "unless-stopped") == 0 || strcmp(name, "no") == 0) {
		if (p->maximum_retry_count != 0)
			return cs_fail(err, CS_ERR_INVALID, 0,
				       "invalid restart policy: maximum retry count can only be used with 'on-failure'%s",
				       p->maximum_retry_count < 0 ? " and cannot be negative" : "");
		return 0;
	}
	if (strcmp(name, "on-failure") == 0)
		return p->maximum_retry_count < 0 ? invalid(err, "invalid restart policy: maximum retry count cannot be negative") : 0;
	return cs_fail(err, CS_ERR_INVALID, 0,
		       "invalid restart policy: unknown policy '%s'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'", name);
}

/* ---- update ---- */

#define TAKE_NUM(m)                                                                                                    \
	do {                                                                                                           \
		if (u->m)                                                                                              \
			r->m = u->m;                                                                                   \
	} while (0)
#define TAKE_STR(m)                                                                                                    \
	do {                                                                                                           \
		if (!cs_empty(u->m)) {                                                                                 \
			free(r->m);                                                                                    \
			r->m = cs_xstrdup(u->m);                                                                       \
		}                                                                                                      \
	} while (0)

#define conflict(err, ...) cs_fail(err, CS_ERR_CONFLICT, 0, __VA_ARGS__)

/* A list of devices that is there replaces the one before, also by nothing. */
#define TAKE_LIST(m, t)                                                                                                \
	do {                                                                                                           \
		if (u->m) {                                                                                            \
			for (size_t i = 0; i < r->n_##m; i++)                                                          \
				cs_json_release(&cs_##t##_type, &r->m[i]);                                             \
			free(r->m);                                                                                    \
			r->m = TAKE_PTR(u->m);                                                                         \
			r->n_##m = u->n_##m;                                                                           \
			u->n_##m = 0;                                                                                  \
		}                                                                                                      \
	} while (0)

/* The members that a running container's cgroup can take; zero means unchanged. What speaks against them is in the container: a conflict, not a bad request. */
static int merge_resources(struct cs_resources *r, struct cs_resources *u, bool io_devices, struct cs_err **err)
{
	if ((u->cpu_period || u->cpu_quota) && r->nano_cpus)
		return conflict(err, "Conflicting options: CPU %s cannot be updated as NanoCPUs has already been set", u->cpu_period ? "Period" : "Quota");
	if (u->nano_cpus && (r->cpu_period || r->cpu_quota))
		return conflict(err, "Conflicting options: Nano CPUs cannot be updated as CPU %s has already been set", r->cpu_period ? "Period" : "Quota");
	if (u->memory && !u->memory_swap && r->memory_swap > 0 && u->memory > r->memory_swap)
		return conflict(err, "Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time");
	TAKE_NUM(blkio_weight);
	TAKE_NUM(cpu_shares);
	TAKE_NUM(nano_cpus);
	TAKE_NUM(cpu_period);
	TAKE_NUM(cpu_quota);
	TAKE_NUM(cpu_realtime_period);
	TAKE_NUM(cpu_realtime_runtime);
	TAKE_STR(cpuset_cpus);
	TAKE_STR(cpuset_mems);
	TAKE_NUM(memory);
	TAKE_NUM(memory_swap);
	TAKE_NUM(memory_reservation);
	if (u->pids_limit) {
		if (!r->pids_limit)
			r->pids_limit = cs_xmalloc(sizeof(*r->pids_limit));
		*r->pids_limit = CS_MAX(*u->pids_limit, 0); /* any negative number is unlimited, and shown as 0 */
	}
	if (!io_devices)
		return 0;
	TAKE_LIST(blkio_weight_device, weight_device);
	TAKE_LIST(blkio_device_read_bps, throttle_device);
	TAKE_LIST(blkio_device_write_bps, throttle_device);
	TAKE_LIST(blkio_device_read_iops, throttle_device);
	TAKE_LIST(blkio_device_write_iops, throttle_device);
	return 0;
}

/* The API has all resources in an update, and Docker changes some of them; the others are not passed over in silence. */
static void warn_fixed(const struct cs_resources *u, bool io_devices, char ***warnings)
{
	const struct {
		const char *key;
		bool given;
	} fixed[] = {
		{"BlkioWeightDevice", u->n_blkio_weight_device && !io_devices},
		{"BlkioDeviceReadBps", u->n_blkio_device_read_bps && !io_devices},
		{"BlkioDeviceWriteBps", u->n_blkio_device_write_bps && !io_devices},
		{"BlkioDeviceReadIOps", u->n_blkio_device_read_iops && !io_devices},
		{"BlkioDeviceWriteIOps", u->n_blkio_device_write_iops && !io_devices},
		{"CgroupParent", !cs_empty(u->cgroup_parent)},
		{"DeviceCgroupRules", u->device_cgroup_rules && u->device_cgroup_rules[0]},
		{"Devices", u->n_devices},
		{"MemorySwappiness", u->memory_swappiness},
		{"OomKillDisable", u->oom_kill_disable == CS_TRUE},
		{"Ulimits", u->n_ulimits},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(fixed); i++) {
		cs_autofree char *text = fixed[i].given ? cs_xasprintf("%s cannot be updated. Discarded.", fixed[i].key) : NULL;
		if (text)
			cs_warn(warnings, text);
	}
}

static void autohost_done(struct cs_host_config **h) { cs_host_config_free(*h); }
static void autoresources_done(struct cs_resources **r) { cs_resources_free(*r); }

int cs_validate_update(const struct cs_update_request *req, struct cs_host_config *host, bool running, char ***warnings, struct cs_err **err)
{
	cs_auto(autohost_done) struct cs_host_config *h = cs_host_config_copy(host);
	cs_auto(autoresources_done) struct cs_resources *u = cs_resources_copy(&req->res);
	const struct cs_restart_policy *p = &req->restart_policy;

	if (cs_resources_check(u, true, warnings, err) < 0 || cs_restart_policy_check(p, err) < 0)
		return -1;
	if (!cs_empty(p->name) && strcmp(p->name, "no") != 0 && h->auto_remove)
		return conflict(err, "Restart policy cannot be updated because AutoRemove is enabled for the container");
	if (running && u->n_devices)
		return conflict(err, "devices cannot be updated");
	warn_fixed(u, req->io_devices, warnings);
	if (merge_resources(&h->res, u, req->io_devices, err) < 0)
		return -1;
	if (h->res.memory > 0 && h->res.memory_swap > 0 && h->res.memory_swap < h->res.memory)
		return invalid(err, "Minimum memoryswap limit should be larger than memory limit, see usage");
	if (h->res.memory > 0 && h->res.memory < h->res.memory_reservation)
		return invalid(err, "Minimum memory limit can not be less than memory reservation limit, see usage");
	if (!cs_empty(p->name)) {
		cs_json_release(&cs_restart_policy_type, &h->restart_policy);
		cs_json_copy(&cs_restart_policy_type, &h->restart_policy, p);
	}
	CS_SWAP(*host, *h);
	return 0;
}

/* from's devices that to has not, with 0, in front of to's: two paths may be one device. */
#define LIFT(m, t)                                                                                                     \
	do {                                                                                                           \
		struct t *all = cs_xcalloc(from->n_##m + r->n_##m, sizeof(*all));                                      \
		size_t n = 0;                                                                                          \
		for (size_t i = 0; i < from->n_##m; i++) {                                                             \
			bool stays = false;                                                                            \
			for (size_t k = 0; k < r->n_##m && !stays; k++)                                                \
				stays = cs_streq(from->m[i].path, r->m[k].path);                                       \
			if (!stays)                                                                                    \
				all[n++] = (struct t){.path = cs_xstrdup(from->m[i].path)};                            \
		}                                                                                                      \
		if (r->n_##m)                                                                                          \
			memcpy(all + n, r->m, r->n_##m * sizeof(*all));                                                \
		free(r->m);                                                                                            \
		r->m = all;                                                                                            \
		r->n_##m += n;                                                                                         \
	} while (0)

struct cs_resources *cs_resources_change(const struct cs_resources *from, const struct cs_resources *to)
{
	struct cs_resources *r = cs_resources_copy(to);

	LIFT(blkio_weight_device, cs_weight_device);
	LIFT(blkio_device_read_bps, cs_throttle_device);
	LIFT(blkio_device_write_bps, cs_throttle_device);
	LIFT(blkio_device_read_iops, cs_throttle_device);
	LIFT(blkio_device_write_iops, cs_throttle_device);
	return r;
}
