/* SPDX-License-Identifier: Apache-2.0
 *
 * Contexts: named engines, stored as docker stores them below the configuration's folder (contexts/meta/<sha256 of the name>/meta.json, and
 * contexts/tls/<sha256>/docker/{ca,cert,key}.pem), so that both clients see the same ones. */
#pragma once

#include <jansson.h>

#include "base/error.h"

struct context {
	char *name, *host;
	bool skip_verify;
	char *ca, *cert, *key; /* paths of what is there, else NULL */
	json_t *meta;          /* the whole document */
};

/* Reads a stored context (not "default"); `context "x": context not found: …` if there is none. */
CS_MUST_CHECK int context_load(const char *name, struct context *ret, struct cs_err **err);
/* The same of any name: "default" is made of the environment, and has no certificates of ours. */
CS_MUST_CHECK int context_get(const char *name, struct context *ret, struct cs_err **err);
void context_done(struct context *c);
#define auto_context cs_auto(context_done)
/* Whether a stored context has the name. */
bool context_exists(const char *name);
/* Where its metadata or (tls) its certificates are. Caller frees; NULL with an error. */
char *context_dir(const char *name, bool tls, struct cs_err **err);
/* Names of all stored contexts, sorted. Caller frees. */
char **context_names(void);
/* Writes the document under this name ("Name" in it is set). */
CS_MUST_CHECK int context_save(const char *name, json_t *meta, struct cs_err **err);
/* Its TLS files: {endpoint: [names of files]}, sorted; a folder without files is null, as docker shows it. Caller decrefs. */
json_t *context_tls_files(const char *name);
/* The same of any context; "default" has those that the environment says. */
json_t *context_files(const struct context *c);
CS_MUST_CHECK int context_read_tls(const struct context *c, const char *endpoint, const char *file, struct cs_str *text, struct cs_err **err);
extern const char *const context_pem_files[3]; /* ca, cert, key: of "docker" */
#define CONTEXT_FILE_MAX ((size_t)10 << 20)    /* docker's limit of an archive */
/* Puts a file (ca.pem, cert.pem, key.pem of "docker") of an endpoint; or removes all that it has. Names are plain ones, without '/'. */
CS_MUST_CHECK int context_put_tls(const char *name, const char *endpoint, const char *file, const char *data, size_t len, struct cs_err **err);
CS_MUST_CHECK int context_remove_tls(const char *name, const char *endpoint, struct cs_err **err);
CS_MUST_CHECK int context_remove(const char *name, struct cs_err **err);
/* A name that docker accepts: [a-zA-Z0-9][a-zA-Z0-9_.+-]+ and not "default". */
CS_MUST_CHECK int context_check_name(const char *name, struct cs_err **err);
/* What is printed at the end of a command: the name, and that it was `what` ("created"). Returns 0. */
int context_said(const char *name, const char *what);
struct call;
int context_export(struct call *c); /* context_archive.c */
int context_import(struct call *c);
