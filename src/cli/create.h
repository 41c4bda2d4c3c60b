/* SPDX-License-Identifier: Apache-2.0
 *
 * What `run` and `create` make of their flags: the engine's create request. Texts of errors are Docker's (docker/cli, opts and cli/command/container). */
#pragma once

#include <jansson.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/cmd.h"
#include "cli/run_opts.h"

/* The body of POST /containers/create. operands: image, command. attach: which of stdin, stdout, stderr (ATTACH_*) the client will hold.
 * NULL with an error of code INVALID. */
#define ATTACH_STDIN 1u
#define ATTACH_STDOUT 2u
#define ATTACH_STDERR 4u
json_t *create_body(const struct call *c, const struct run_opts *o, char *const *operands, unsigned attach, struct cs_err **err);

/* Environment of -e and --env-file in Docker's order (files first), for run, create and exec. *ret is NULL-terminated, or NULL when empty. */
CS_MUST_CHECK int create_env(char *const *env, char *const *env_files, char ***ret, struct cs_err **err);

/* Parsers of one value each: NULL and *ret (NULL ret: only looked at), or what is wrong with it (caller frees). */
char *create_mount(const char *text, json_t **ret);   /* --mount: API Mount */
char *create_network(const char *text, json_t **ret); /* --network: {"name", "settings": EndpointSettings, "long": bool} */
char *create_gpus(const char *text, json_t **ret);    /* --gpus: API DeviceRequest */
char *create_ulimit(const char *text, json_t **ret);  /* --ulimit: API Ulimit */
char *create_rate(const char *text, bool bytes, json_t **ret);  /* --device-*-bps, --device-*-iops: API ThrottleDevice */
char *create_weight(const char *text, json_t **ret);  /* --blkio-weight-device: API WeightDevice */

/* -p, --expose: both into {"80/tcp": …} maps. */
CS_MUST_CHECK int create_ports(char *const *publish, char *const *expose, json_t *exposed, json_t *bindings, struct cs_err **err);
/* --device: DeviceMapping objects, or names of the Container Device Interface into requests. */
CS_MUST_CHECK int create_devices(char *const *devices, json_t *mappings, json_t *requests, struct cs_err **err);
/* NetworkMode and EndpointsConfig. */
CS_MUST_CHECK int create_networks(const struct run_opts *o, json_t *host, json_t *endpoints, struct cs_err **err);

/* Checks for flag tables. */
char *check_env(char **v);
char *check_label(char **v);
char *check_attach(char **v);
char *check_add_host(char **v);
char *check_dns(char **v);
char *check_dns_search(char **v);
char *check_link(char **v);
char *check_sysctl(char **v);
char *check_cgroup_rule(char **v);
char *check_mount(char **v);
char *check_network(char **v);
char *check_gpus(char **v);
char *check_ulimit(char **v);
char *check_bps(char **v);
char *check_iops(char **v);
char *check_weight(char **v);

/* Go's strconv.ParseInt(s, 10, 64) in words: NULL or "invalid syntax", "value out of range". */
const char *create_int(const char *s, int64_t *ret);
/* The path from the root, without "." and ".."; caller frees, NULL when the current directory is gone. */
char *path_absolute(const char *path);
/* "open PATH: no such file or directory", as Go says it. Returns -1. */
int create_open_failed(const char *path, int sys, struct cs_err **err);
