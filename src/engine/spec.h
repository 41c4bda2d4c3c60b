/* SPDX-License-Identifier: Apache-2.0
 *
 * From a container's configuration to the HCS document with its OCI specification (docs/compute-documents.md), written straight
 * into a buffer since it is built at every start. Pure but for reading /dev (privileged, devices), host facts and the seccomp cache. */
#pragma once

#include "base/error.h"
#include "base/str.h"
#include "engine/engine.h"
#include "engine/types.h"

struct cs_spec_input { /* all borrowed */
	const struct cs_engine_config *cfg;
	const char *id, *name;               /* name without slash (log tags) */
	const char *image_id, *image_name;   /* log tags */
	int64_t created;                     /* log tags */
	const struct cs_config *config;      /* merged with the image's; names are those of the container whose network is joined */
	const struct cs_host_config *host;   /* validated */
	const struct cs_mount_point *mounts; /* cs_mounts_resolve; sources exist */
	size_t n_mounts;
	char *const *const *mount_layers;    /* of each mount of type image: directories, top-most first; NULL when there is none */
	char *const *layer_ids, *const *layer_dirs; /* cs_image_info, top-most first */
	const char *snapshot_dir;            /* upper/ work/ */
	const char *marks_dir;               /* above the layers; NULL: none */
	const char *container_dir;           /* hostname, hosts, resolv.conf (cs_names_write) */
	const char *network_dir;             /* NULL, or container_dir of the container whose network is joined */
	const char *log_path;                /* NULL for driver none */
	const char *net_ns;                  /* id at the network service of a network namespace that was made for it, or NULL */
	const char *net_path, *pid_path, *ipc_path, *ipc_mounts; /* how to open what it joins: that one, or those of the containers named in "container:" modes
	                                        (ipc_mounts: the mount namespace of who shares IPC); or NULL */
	char *const *link_env;               /* variables of legacy links, or NULL */
	uint16_t rows, cols;                 /* console, 0 = HostConfig.ConsoleSize */
	struct cs_profile_entry **use;       /* cs_seccomp_unref when the document has been handed over */
};
#define CS_SPEC_MAX ((size_t)4 << 20)
CS_MUST_CHECK int cs_spec_build(const struct cs_spec_input *in, struct cs_str *out, struct cs_err **err);

/* The OCI process of an exec. */
CS_MUST_CHECK int cs_spec_exec_process(const struct cs_engine_config *cfg, const char *id, const struct cs_config *config,
				       const struct cs_host_config *host, const struct cs_exec_config *exec, struct cs_str *out,
				       struct cs_err **err);

/* OCI linux.resources without devices, for HcsModifyComputeSystem "Container/Resources". */
void cs_spec_resources(const struct cs_resources *res, struct cs_str *out);

/* Environment of a process in the container: PATH, HOSTNAME, TERM, Config.Env (dockerd's order and precedence), then extra. */
char **cs_spec_env(const struct cs_config *config, bool tty, char *const *extra);

/* Defaults for HostConfig.MaskedPaths and ReadonlyPaths (validation stores them in the container). NULL-terminated, constant. */
char *const *cs_default_masked_paths(void);
char *const *cs_default_readonly_paths(void);

/* The container's ulimits, then the engine's defaults that it does not name: what counts at a start, and what inspect shows. Caller frees the array only. */
struct cs_ulimit *cs_ulimits_merged(const struct cs_engine_config *cfg, const struct cs_resources *r, size_t *ret_n);

/* ---- names_file.c: what stands in <container_dir>/{hostname,hosts,resolv.conf} ---- */
struct cs_names_extra { /* borrowed; of networks */
	char *const *own, *const *links; /* lines of the hosts file */
	char *const *gateways;           /* what host-gateway stands for */
	bool resolver;                   /* the embedded resolver is asked */
};
/* Writes the three files (replaced, not durable). Called before each start of a container that does not join another's network. x may be NULL. */
CS_MUST_CHECK int cs_names_write(const struct cs_engine_config *cfg, const char *container_dir, const struct cs_config *config,
				 const struct cs_host_config *host, const struct cs_names_extra *x, struct cs_err **err);
/* --sysctl net.ipv6.conf.all.disable_ipv6=1 */
bool cs_host_without_ipv6(const struct cs_host_config *h);
CS_MUST_CHECK int cs_names_hosts(const struct cs_host_config *host, const struct cs_names_extra *x, const char *base, struct cs_str *out, struct cs_err **err);
void cs_names_resolv_conf(const struct cs_engine_config *cfg, const struct cs_host_config *host, const char *base, bool resolver, struct cs_str *out);
char *cs_names_resolv_text(const struct cs_engine_config *cfg, const struct cs_host_config *host, bool resolver); /* whole; caller frees; NULL: too large */

/* ---- capabilities.c ---- */
#define CS_CAP_NET_ADMIN 12
#define CS_CAP_DEFAULT_SET cs_caps_default()
uint64_t cs_caps_default(void);
/* The set for CapAdd/CapDrop/Privileged, limited to what the engine has. INVALID names the unknown capability. */
CS_MUST_CHECK int cs_caps_effective(char *const *add, char *const *drop, bool privileged, uint64_t *ret, struct cs_err **err);
void cs_caps_put(uint64_t set, struct cs_str *out); /* JSON array of names */

/* ---- seccomp_profile.c ---- */
/* Appends a Docker-format profile (JSON text; NULL = built-in) for a capability set, as OCI linux.seccomp. Results are kept: the built-in
 * profile's for good, a few of the clients' own. */
CS_MUST_CHECK int cs_seccomp_put(const char *profile, uint64_t caps, struct cs_str *out, struct cs_err **err);
/* The same by its name in the compute service ("sha256:…"), if that has it: then the name is good until cs_seccomp_unref(ret_use). */
struct cs_profile_entry;
CS_MUST_CHECK int cs_seccomp_ref(const char *profile, uint64_t caps, struct cs_profile_entry **ret_use, struct cs_str *out, struct cs_err **err);
void cs_seccomp_unref(struct cs_profile_entry **use); /* *use may be NULL */
/* A container with these options is gone: at the compute service its profile is kept for those only that run. */
void cs_seccomp_forget(char *const *security_opt);

/* ---- security options ---- */
struct cs_security_opts {
	bool no_new_privileges, no_new_privileges_set, seccomp_unconfined, seccomp_builtin, writable_cgroups;
	char *seccomp; /* profile text, owned */
	char *apparmor, *label; /* joined, owned; informational */
};
CS_MUST_CHECK int cs_security_opts_parse(char *const *opts, struct cs_security_opts *ret, struct cs_err **err);
void cs_security_opts_done(struct cs_security_opts *s);
