/* SPDX-License-Identifier: Apache-2.0
 *
 * What daemon.json gives to every container is checked before the engine starts, by the code that checks a create request: a mistake there
 * would otherwise be an error of each create, or go unseen. Texts as dockerd's. */
#include <arpa/inet.h>
#include <fcntl.h>

#include "base/io.h"
#include "engine/hostfacts.h"
#include "base/caps.h"
#include "engine/spec-internal.h"

#define PROFILE_MAX ((size_t)1 << 20)

static int check_logging(const struct cs_engine_config *cfg, struct cs_err **err)
{
	char usual[] = "json-file";
	const struct cs_log_config log = {.type = cs_empty(cfg->log_driver) ? usual : cfg->log_driver, .config = cfg->log_opts};

	return cs_log_config_check(&log, err) < 0 ? cs_wrap(err, "failed to set log opts") : 0;
}

static int check_ulimits(const struct cs_engine_config *cfg, struct cs_err **err)
{
	cs_autostrv char **later = NULL; /* what the host cannot give is told at each create */

	return cs_ulimits_check(cfg->default_ulimits, cfg->n_default_ulimits, &later, err) < 0 ? cs_wrap(err, "default-ulimits") : 0;
}

/* The file is read again at each start of a container, as dockerd does: it may be changed, but it must be there. */
static int check_seccomp(const char *profile, struct cs_err **err)
{
	cs_autostr struct cs_str file = CS_STR_INIT(PROFILE_MAX), text = CS_STR_INIT(PROFILE_MAX);

	if (cs_empty(profile) || cs_streq(profile, "builtin") || cs_streq(profile, "unconfined"))
		return 0;
	int r = cs_read_file_at(AT_FDCWD, profile, &file);
	if (r < 0)
		return cs_fail(err, CS_ERR_INVALID, -r, "opening seccomp profile (%s) failed", profile);
	if (cs_seccomp_put(file.buf ? file.buf : "", cs_caps_default() & cs_host_facts()->capabilities, &text, err) < 0)
		return cs_wrap(err, "seccomp profile (%s)", profile);
	return 0;
}

static int check_dns(char *const *dns, char *const *search, struct cs_err **err)
{
	unsigned char addr[16];

	for (; dns && *dns; dns++)
		if (inet_pton(AF_INET, *dns, addr) != 1 && inet_pton(AF_INET6, *dns, addr) != 1)
			return cs_fail(err, CS_ERR_INVALID, 0, "%s is not an ip address", *dns);
	for (; search && *search; search++)
		if (strcmp(*search, ".") != 0 && !cs_str_is_domain(*search))
			return cs_fail(err, CS_ERR_INVALID, 0, "%s is not a valid domain", *search);
	return 0;
}

int cs_engine_config_check(const struct cs_engine_config *cfg, struct cs_err **err)
{
	if (check_logging(cfg, err) < 0 || check_ulimits(cfg, err) < 0 || check_dns(cfg->dns, cfg->dns_search, err) < 0)
		return -1;
	return check_seccomp(cfg->seccomp_profile, err);
}
