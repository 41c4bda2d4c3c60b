/* SPDX-License-Identifier: Apache-2.0
 *
 * What commands print: rows of objects through a --format, tables with docker's alignment, sizes and times as docker words them. */
#pragma once

#include <jansson.h>

#include "cli/cli.h"
#include "cli/template.h"

/* ---- rows ---- */

/* One row's object: the engine's JSON and how to show it. Contexts with more have this first. */
struct row {
	json_t *j;
	bool trunc;
};
#define METHOD(fn) static struct tpl_value fn(void *self, struct tpl_arena *a, const char *arg)

struct list {
	struct tpl_arena *a;
	struct tpl *tpl;
	bool table;
	struct cs_str rows;
	int status; /* of the first error, which has been printed */
};
/* Begins with a format: "table {{.ID}}\t…", "json", or a template, in which \t and \n may be spelled out. Anything wrong is printed and kept in status;
 * list_row and list_end do nothing then. */
void list_begin(struct list *l, const char *format);
void list_row(struct list *l, const struct tpl_class *class, void *self);
void list_value(struct list *l, struct tpl_value v);
/* Writes the table with its headers (pairs of field and title, NULL at the end), or the rows. Returns the exit status. */
int list_end(struct list *l, const char *const *headers);
/* The same, appended to out instead of written. */
int list_text(struct list *l, const char *const *headers, struct cs_str *out);

/* Which format a command uses: what was given, else config.json's `key` unless quiet, else "table". Borrowed. */
const char *list_format(const char *given, const char *key, bool quiet);
/* A command that lists the API's objects by name. */
struct listing {
	const char *path, *member;             /* of the answer, NULL: it is the list */
	const char *config_key;                /* "networksFormat" */
	const char *table, *raw, *only, *only_raw; /* formats: those of "table" and "raw", and with --quiet */
	const struct tpl_class *class;         /* of a struct row */
	const char *const *headers;
};
/* What `format` stands for. */
const char *listing_format(const struct listing *what, const char *format, bool quiet);
/* Asks the engine and prints. Returns the exit status. */
int listing_print(const struct listing *what, const char *format, bool quiet, bool trunc, char *const *filters);
/* "table" and "" are the default: is it one? */
bool list_is_default(const char *format);

/* {"name":["value",…]} of name=value filters. Caller owns. */
json_t *filters_json(char *const *filters);
/* "&filters=…" or "" as the query part of it. docker's client leaves it out when there are none. Takes `filters`. Caller frees. */
char *filters_query(json_t *filters);

/* ---- a body that is not to be decoded ---- */

/* GET path; the whole body as text. Returns the status or -1. */
int client_text(const char *path, struct cs_str *body, struct cs_err **err);

/* ---- text ---- */

/* text/tabwriter: tabs end cells, columns line up over adjacent lines that have them. */
void tab_write(struct cs_str *out, const char *text, size_t len, size_t min_width, size_t padding);
/* Cuts to `width` columns with an ellipsis as the last. Arena's. */
const char *ellipsis(struct tpl_arena *a, const char *s, size_t width);
/* 12 digits of an id without "sha256:". */
const char *truncate_id(struct tpl_arena *a, const char *id);
const char *size_text(struct tpl_arena *a, double bytes, int precision); /* 1.5MB; docker has lists with precision 3, sums with 4 */
const char *binary_size_text(struct tpl_arena *a, double bytes);        /* 1.5MiB, precision 4 */
const char *duration_text(struct tpl_arena *a, int64_t seconds);        /* "About an hour" */
const char *ago_text(struct tpl_arena *a, int64_t unix_time);           /* … ago */
const char *local_time_text(struct tpl_arena *a, int64_t unix_time);    /* as Go prints a time.Time: "2006-01-02 15:04:05 -0700 MST" */
const char *utc_time_text(struct tpl_arena *a, const char *rfc3339);    /* the same of the API's text */
/* key=value,… of a JSON object of strings, sorted. */
const char *labels_text(struct tpl_arena *a, json_t *labels);
/* name[:tag][@digest] apart, without docker.io/library/; false when it is none. Empty strings for absent parts; arena's. */
bool reference_split(struct tpl_arena *a, const char *ref, const char **name, const char **tag, const char **digest);

/* A list's elements in the natural order of their member `key` ("v9" before "v10"), as docker sorts names. Caller owns. */
json_t *sorted_by(json_t *list, const char *key);
int natural_compare(const char *x, const char *y);

/* --since, --until: durations ago and dates become seconds.nanoseconds, as docker's client sends them; seconds stay.
 * Caller frees; NULL with an error. */
char *api_time(const char *text, struct cs_err **err);

struct tpl_value text_value(const char *s); /* borrows */
