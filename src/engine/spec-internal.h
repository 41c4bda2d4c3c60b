/* SPDX-License-Identifier: Apache-2.0
 *
 * Shared by validate*.c, mounts.c, devices.c and spec*.c only. */
#pragma once

#include "engine/spec.h"
#include "engine/validate.h"

/* devices.c */
struct cs_device_rule { /* major, minor -1 = any */
	char type;
	int64_t major, minor;
	char access[4];
};
CS_MUST_CHECK bool cs_device_rule_parse(const char *text, struct cs_device_rule *ret);
CS_MUST_CHECK bool cs_device_access_valid(const char *access); /* "" or one to three of r, w, m */
/* Contents of linux.devices and of linux.resources.devices, without brackets. */
CS_MUST_CHECK int cs_devices_put(const struct cs_host_config *host, struct cs_str *devices, struct cs_str *rules, struct cs_err **err);

/* mounts.c */
struct cs_bind_spec { /* one of HostConfig.Binds */
	char *source, *target, *mode, *propagation;
	bool read_only, no_copy, is_volume;
};
void cs_bind_spec_done(struct cs_bind_spec *b);
CS_MUST_CHECK int cs_bind_spec_parse(const char *raw, struct cs_bind_spec *ret, struct cs_err **err);
/* "container[:mode]"; *ref is the caller's to free. */
CS_MUST_CHECK int cs_volumes_from_parse(const char *text, char **ref, const char **mode, struct cs_err **err);
CS_MUST_CHECK int cs_mount_check(const struct cs_mount *m, struct cs_err **err);
/* User's tmpfs options over the defaults noexec,nosuid,nodev; result comma separated. Caller frees. */
CS_MUST_CHECK int cs_tmpfs_options(const char *user, char **ret, struct cs_err **err);
CS_MUST_CHECK int cs_tmpfs_target_check(const char *target, struct cs_err **err);
bool cs_volume_name_valid(const char *name);

/* spec_log.c: "Logging" of the document; the checks of LogConfig are the same code. */
CS_MUST_CHECK int cs_log_config_check(const struct cs_log_config *log, struct cs_err **err);
CS_MUST_CHECK int cs_log_put(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err);

/* spec_process.c: the "process" member of the specification */
enum cs_init { CS_INIT_NONE, CS_INIT_BUILT_IN, CS_INIT_FILE /* init-path, bound to CS_INIT_PLACE */ };
#define CS_INIT_PLACE "/sbin/docker-init"
enum cs_init cs_spec_init(const struct cs_engine_config *cfg, const struct cs_host_config *h);
void cs_process_put(const struct cs_engine_config *cfg, const struct cs_config *c, const struct cs_host_config *h,
		    const struct cs_security_opts *sec, uint64_t caps, uint16_t rows, uint16_t cols, struct cs_str *out);

/* spec_resources.c */
void cs_resources_put_members(const struct cs_resources *res, struct cs_str *out);

/* validate_resources.c */
CS_MUST_CHECK int cs_resources_check(struct cs_resources *r, bool update, char ***warnings, struct cs_err **err);
CS_MUST_CHECK int cs_ulimits_check(const struct cs_ulimit *v, size_t n, char ***warnings, struct cs_err **err);
CS_MUST_CHECK int cs_restart_policy_check(const struct cs_restart_policy *p, struct cs_err **err);
void cs_warn(char ***warnings, const char *text);
/* "0-2,4": every number present in `available` ("0-7"). */
CS_MUST_CHECK bool cs_cpuset_parse(const char *text, uint64_t *bits, size_t words);

/* ulimits: number of RLIMIT_* for "nofile", -1 unknown; OCI name "RLIMIT_NOFILE" */
const char *cs_ulimit_oci_name(const char *name);

/* config_merge.c */
CS_MUST_CHECK int cs_health_check(const struct cs_health_config *h, struct cs_err **err);
/* validate_network.c */
CS_MUST_CHECK int cs_network_check(const struct cs_container_lookup *lookup, struct cs_create_request *req, int api, char ***warnings, struct cs_err **err);
