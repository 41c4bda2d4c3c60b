/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to config.c and its tests: the table of options. */
#pragma once

#include "daemon/config.h"

enum opt_kind {
	OPT_BOOL,
	OPT_STR,
	OPT_INT,
	OPT_BYTES,
	OPT_LIST,   /* flag may be repeated; array in the file */
	OPT_MAP,    /* flag key=value; object in the file */
	OPT_ULIMIT, /* flag name=soft[:hard]; object of {Name,Soft,Hard} in the file */
	OPT_POOL,   /* flag base=prefix,size=bits; array of {base,size} in the file; a list of "base size" */
	OPT_NETOPT, /* flag driver=key=value; object of objects in the file; a map "driver=key" -> value */
	OPT_FEATURE, /* flag name[=bool]; object of bools in the file; a map name -> "true" or "false" */
	OPT_OBJECT,  /* any object; nothing is kept of it (see below) */
};
#define OPT_LIVE (1u << 0)      /* SIGHUP takes it over */
#define OPT_FLAG_ONLY (1u << 1) /* not in the file */
#define OPT_FILE_ONLY (1u << 2)
/* Options of dockerd of which only the type is looked at, nothing is kept (off is not used): */
#define OPT_MOOT (1u << 3)    /* there is nothing here that it could change: accepted, `help` says why, in the log, too */
#define OPT_REFUSED (1u << 4) /* leaving it out would weaken or change what was asked for: any value but the empty one is an error */

struct opt {
	const char *flag; /* without dashes */
	char letter;      /* one-letter form or 0 */
	const char *key;  /* in daemon.json; NULL = same as flag */
	enum opt_kind kind;
	unsigned flags;
	size_t off;
	const char *dflt; /* as text; NULL = zero */
	const char *help;
};
extern const struct opt cs_daemon_options[];
extern const size_t cs_daemon_n_options;
