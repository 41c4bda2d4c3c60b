/* SPDX-License-Identifier: Apache-2.0
 *
 * Commands and flags by table. One row per command and one per flag are the source of everything that is known of them: the grammar (pflag's,
 * as Docker's client has it), --help, the manual pages, shell completion and docs/cli.md.
 *
 *   struct rm_opts { bool force; char **filters; };
 *   static const struct flag rm_flags[] = {
 *           FLAG(struct rm_opts, force, "force", 'f', "Force the removal of a running container"),
 *           FLAG_AS(struct rm_opts, filters, FLAG_FILTER, "filter", 0, "Provide filter values", .api = 131),
 *           FLAG_END};
 *   static int cmd_rm(struct call *c) { const struct rm_opts *o = c->opts; … c->args … }
 *   const struct command container_commands[] = {
 *           {.names = "container rm|container remove|rm", .usage = "[OPTIONS] CONTAINER [CONTAINER...]", .help = "Remove one or more containers",
 *            .min = 1, .max = ANY, .complete = COMP_CONTAINER, CMD_OPTS(struct rm_opts, rm_flags), .run = cmd_rm},
 *           CMD_END};
 */
#pragma once

#include "base/macros.h"

/* The C type of the member that takes the value stands behind each kind. Strings are borrowed from argv or the table. */
enum flag_kind {
	FLAG_BOOL,     /* bool */
	FLAG_STR,      /* const char *: NULL unless given or defaulted */
	FLAG_LIST,     /* char **: one element each time it is given */
	FLAG_STRINGS,  /* char **: as FLAG_LIST, and commas separate elements (CSV with quotes) */
	FLAG_MAP,      /* char **: key=value or key, a later one for the same key replaces the earlier */
	FLAG_FILTER,   /* char **: name=value, both trimmed, names in lower case */
	FLAG_INT,      /* int64_t: decimal, 0x…, 0… */
	FLAG_UINT,     /* int64_t: 0 to INT64_MAX */
	FLAG_UINT16,   /* int64_t: 0 to 65535 */
	FLAG_BYTES,    /* int64_t: 64m, 1.5g, … */
	FLAG_SWAP,     /* int64_t: as FLAG_BYTES, and -1 */
	FLAG_NANO,     /* int64_t: decimal number times 10⁹ (--cpus) */
	FLAG_DURATION, /* int64_t, nanoseconds: 1m30s */
	FLAG_KINDS
};

/* What the shell is offered for an operand or a value. */
enum comp {
	COMP_NONE,  /* nothing: free text */
	COMP_FILES, /* files */
	COMP_CONTAINER,
	COMP_RUNNING,
	COMP_STOPPED,
	COMP_PAUSED,
	COMP_IMAGE,
	COMP_VOLUME,
	COMP_NETWORK,
	COMP_CONTEXT,
	COMP_IMAGE_THEN_NONE, /* first operand only */
	COMP_RUNNING_THEN_NONE,
	COMP_CONTAINER_THEN_NONE,
	COMP_NETWORK_CONTAINER, /* first a network, then a container */
	COMP_OBJECT,            /* container, image, volume, network */
	COMP_ENV,               /* names of the environment's variables */
	COMP_KINDS
};

/* For .values of flags in several commands. */
#define VALUES_SIGNALS                                                                                                                                        \
	"ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|RTMAX|RTMIN|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|" \
	"USR2|VTALRM|WINCH|XCPU|XFSZ"
#define VALUES_CAPABILITIES                                                                                                                                   \
	"ALL|CAP_AUDIT_CONTROL|CAP_AUDIT_READ|CAP_AUDIT_WRITE|CAP_BLOCK_SUSPEND|CAP_BPF|CAP_CHECKPOINT_RESTORE|CAP_CHOWN|CAP_DAC_OVERRIDE|CAP_DAC_READ_SEARCH|" \
	"CAP_FOWNER|CAP_FSETID|CAP_IPC_LOCK|CAP_IPC_OWNER|CAP_KILL|CAP_LEASE|CAP_LINUX_IMMUTABLE|CAP_MAC_ADMIN|CAP_MAC_OVERRIDE|CAP_MKNOD|CAP_NET_ADMIN|"     \
	"CAP_NET_BIND_SERVICE|CAP_NET_BROADCAST|CAP_NET_RAW|CAP_PERFMON|CAP_SETFCAP|CAP_SETGID|CAP_SETPCAP|CAP_SETUID|CAP_SYSLOG|CAP_SYS_ADMIN|CAP_SYS_BOOT|"  \
	"CAP_SYS_CHROOT|CAP_SYS_MODULE|CAP_SYS_NICE|CAP_SYS_PACCT|CAP_SYS_PTRACE|CAP_SYS_RAWIO|CAP_SYS_RESOURCE|CAP_SYS_TIME|CAP_SYS_TTY_CONFIG|CAP_WAKE_ALARM"
#define VALUES_PLATFORMS                                                                                                                                      \
	"linux/386|linux/amd64|linux/arm|linux/arm/v5|linux/arm/v6|linux/arm/v7|linux/arm64|linux/arm64/v8|linux/ppc64le|linux/riscv64|linux/s390x"

#define FLAG_HIDDEN (1u << 0) /* works, but is in no help */
#define FLAG_SIMPLE (1u << 1) /* has no default value worth showing, although .def is set */

struct flag {
	const char *name; /* long name without dashes */
	const char *help; /* a `name` in back quotes stands for the value in help */
	const char *type; /* what help shows for the value; NULL: the kind's own word */
	const char *def;  /* the value when it is not given, as text; NULL: zero */
	const char *deprecated; /* "use --timeout instead": said when it is given; implies FLAG_HIDDEN */
	const char *refused;    /* why it does not work here: using it is an error with this text */
	const char *values;     /* "always|no": what completion offers (a prefix "key=" is fine) */
	/* Looks at a value and may replace it (*value is owned). NULL, or what is wrong with it (caller frees). NULL: anything goes. */
	char *(*check)(char **value);
	unsigned char letter; /* 0 = none */
	unsigned char kind;
	unsigned char flags;
	unsigned char complete; /* enum comp for the value */
	unsigned short off;     /* of the member in the options' struct */
	unsigned short api;     /* 144: needs API 1.44; 0: any */
};

/* clang-format off */
#define FLAG_KIND_(T, m) _Generic(((T *)0)->m, bool: FLAG_BOOL, const char *: FLAG_STR, char **: FLAG_LIST, int64_t: FLAG_INT)
#define FLAG(T, m, long_name, short_name, text, ...)          {.name = (long_name), .letter = (short_name), .help = (text), .kind = FLAG_KIND_(T, m), .off = offsetof(T, m), ##__VA_ARGS__}
#define FLAG_AS(T, m, knd, long_name, short_name, text, ...)  {.name = (long_name), .letter = (short_name), .help = (text), .kind = (knd), .off = offsetof(T, m), ##__VA_ARGS__}
/* A flag that Docker has and this client refuses: kind is that of the value to skip. */
#define FLAG_REFUSED(knd, long_name, short_name, text, why, ...) {.name = (long_name), .letter = (short_name), .help = (text), .kind = (knd), .off = NO_MEMBER, .refused = (why), ##__VA_ARGS__}
#define FLAG_END                                              {.name = NULL}
/* clang-format on */
#define NO_MEMBER ((unsigned short)0xffff)
#define NOT_YET "not done yet in this version of caisson"

#define ANY (-1)
#define CMD_HIDDEN (1u << 0)     /* in no help or completion */
#define CMD_STOP (1u << 1)       /* flags end at the first operand (run, exec, top) */
#define CMD_NO_FLAGS (1u << 2)   /* everything is an operand, --help too */
#define CMD_RUN_ERRORS (1u << 3) /* errors as `docker run` has them: "caisson: …", 125, a hint at --help */

struct call;
struct command {
	/* All full names, the first per group is the one in help: "container ls|container list|container ps|ps". A group has no run, and COMMAND for its usage. */
	const char *names;
	const char *usage;   /* behind the name: "[OPTIONS] CONTAINER [CONTAINER...]"; lines after the first are further forms */
	const char *help;    /* one line */
	const char *about;   /* long text for --help and the manual, instead of help; NULL: help */
	const char *refused; /* Docker has the command, here it is answered with this text; a group of such commands says it in its help */
	const char *refused_flags; /* "all|force": the long names that such a command has in docker; others are mistakes */
	const struct flag *options;
	int (*run)(struct call *c); /* returns the exit status */
	short min, max;             /* operands; max may be ANY */
	unsigned short opts_size;
	unsigned short flags;
	unsigned short api;     /* 125: needs API 1.25 */
	unsigned char complete; /* enum comp for operands */
};
#define CMD_OPTS(T, table) .opts_size = sizeof(T), .options = (table)
#define CMD_END {.names = NULL}

/* One invocation. */
struct call {
	const struct command *cmd;
	const char *path; /* "container ls": the name as help shows it in the group that was typed */
	char **args;      /* operands, NULL-terminated, borrowed from argv */
	size_t n_args;
	void *opts;  /* the command's options' struct */
	bool *given; /* per row of cmd->options */
};

/* Whether the flag with this member was given: flag_given(c, &o->timeout). */
bool flag_given(const struct call *c, const void *member);

/* For lists whose elements must be key=value. */
char *check_key_value(char **value);

/* What Go's strconv.ParseBool takes for false. */
bool go_false(const char *s);
/* For --disable-content-trust, which can only stay true. */
char *check_no_trust(char **value);

/* ---- for main.c, complete.c, help.c ---- */

extern const struct command *const command_tables[]; /* NULL-terminated; each ends in CMD_END */
extern const struct flag global_flags[];

/* Walks over all commands: start with {0}; NULL at the end. */
struct cmd_iter {
	size_t table, row;
};
const struct command *cmd_next(struct cmd_iter *it);
/* The command or group with this full name; *path gets its name in that group for help. NULL if there is none. Name is "a b" or a. */
const struct command *cmd_find(const char *name, const char **path);
/* The nearest name of a command in group ("" for the top) to what was typed, or NULL. Caller frees. */
char *cmd_suggest(const char *group, const char *typed);
/* Steps over the names of a command: *pos starts at 0; copies into buf. False at the end. */
bool cmd_name(const struct command *c, size_t *pos, char *buf, size_t size);
bool cmd_is_group(const struct command *c);
/* One record of CSV: commas separate, double quotes protect. Appends to *out; false for a stray quote. */
bool csv_split(const char *s, char ***out);
/* The same of an option's value, which is not empty: NULL, or why not in Go's words. Caller frees. */
char *csv_fields(const char *s, char ***out);
/* Edit distance with transpositions, at most `limit` + 1. */
unsigned word_distance(const char *a, const char *b, unsigned limit);

/* Fills c->opts, c->given and c->args from argv (NULL-terminated, reordered). 0, or the exit status after a message; FLAGS_HELP when help was
 * asked for. Says nothing about the number of operands. */
#define FLAGS_HELP (-2)
int flags_parse(struct call *c, char **argv);
/* Frees what flags_parse allocated. */
void flags_done(struct call *c);
const char *flag_type(const struct flag *f, char **text); /* value's word for help ("" for bool); *text: help without the back quotes (caller frees) */

/* --help of a command, or of a group, or (NULL) of the program, to stdout. */
void help_command(const struct command *cmd, const char *path);
void help_program(void);
/* "\nUsage:  caisson ps [OPTIONS]\n\nRun 'caisson ps --help' for more information\n" to stderr. */
void help_usage(const struct command *cmd, const char *path, const char *see);
