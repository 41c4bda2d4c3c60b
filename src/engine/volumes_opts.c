/* SPDX-License-Identifier: Apache-2.0
 *
 * The local driver's options: type, o and device are what mount(2) gets, size is a quota. Checked with dockerd's words. Pure; any thread. */
#include "base/json.h"
#include "engine/volumes_internal.h"

int cs_volume_driver_check(const char *driver, const char *name, struct cs_err **err)
{
	if (cs_empty(driver) || strcmp(driver, "local") == 0)
		return 0;
	return cs_fail(err, CS_ERR_NOT_FOUND, 0, "create %s: error looking up volume plugin %s: plugin \"%s\" not found", name, driver, driver);
}

/* Go's units.RAMInBytes: digits, a point, a binary unit. */
static bool size_valid(const char *s, bool *positive)
{
	size_t n = strspn(s, "0123456789.");
	const char *unit = s + n;

	*positive = strpbrk(s, "123456789") != NULL;
	if (n == 0 || n > 18 || s[0] == '.' || strchr(s, '.') != strrchr(s, '.'))
		return false;
	unit += *unit == ' ';
	if (*unit && strchr("kKmMgGtTpP", *unit)) {
		unit++;
		unit += *unit == 'i';
	}
	unit += *unit == 'b' || *unit == 'B';
	return !*unit;
}

int cs_volume_options_check(const char *name, const struct cs_strmap *options, struct cs_err **err)
{
	static const char *const needs[][2] = {{"device", "type"}, {"type", "device"}, {"o", "device"}, {"o", "type"}};
	bool positive;

	for (size_t i = 0; options && i < options->n; i++) {
		const char *k = options->kv[i].key;
		if (strcmp(k, "type") != 0 && strcmp(k, "o") != 0 && strcmp(k, "device") != 0 && strcmp(k, "size") != 0)
			return cs_fail(err, CS_ERR_INVALID, 0, "create %s: invalid option: \"%s\"", name, k);
	}
	for (size_t i = 0; i < CS_ARRAY_SIZE(needs); i++)
		if (cs_strmap_get(options, needs[i][0]) && !cs_strmap_get(options, needs[i][1]))
			return cs_fail(err, CS_ERR_INVALID, 0, "create %s: missing required option: \"%s\"", name, needs[i][1]);
	const char *size = cs_strmap_get(options, "size");
	if (size && !size_valid(size, &positive))
		return cs_fail(err, CS_ERR_INVALID, 0, "create %s: invalid size: '%s'", name, size);
	if (size && positive) /* dockerd has quotas on xfs with pquota only, and says this elsewhere */
		return cs_fail(err, CS_ERR_INVALID, 0, "create %s: quota size requested but no quota support", name);
	return 0;
}

char *cs_volume_options_file(const struct cs_strmap *options)
{
	cs_autostr struct cs_str out = CS_STR_INIT(8 << 20);
	const char *type = cs_strmap_get(options, "type"), *o = cs_strmap_get(options, "o"), *device = cs_strmap_get(options, "device");

	if (!type && !o && !device)
		return NULL;
	cs_str_putc(&out, '{');
	cs_json_put_kstr(&out, "MountType", type);
	cs_json_put_kstr(&out, "MountOpts", o);
	cs_json_put_kstr(&out, "MountDevice", device);
	cs_str_puts(&out, ",\"Quota\":{\"Size\":0}}");
	return cs_str_steal(&out);
}

int cs_volume_options_parse(const char *text, size_t len, struct cs_strmap **ret, struct cs_err **err)
{
	static const char *const keys[][2] = {{"MountType", "type"}, {"MountOpts", "o"}, {"MountDevice", "device"}};
	cs_autojson json_t *j = cs_json_parse(text, len, err);
	struct cs_strmap *m = NULL;

	if (!j)
		return -1;
	if (!json_is_object(j))
		return cs_fail(err, CS_ERR_INVALID, 0, "not an object");
	for (size_t i = 0; i < CS_ARRAY_SIZE(keys); i++) {
		json_t *v = json_object_get(j, keys[i][0]);
		if (v && !json_is_string(v)) {
			cs_strmap_free(m);
			return cs_fail(err, CS_ERR_INVALID, 0, "%s: expected string", keys[i][0]);
		}
		if (!v || !*json_string_value(v))
			continue;
		if (!m)
			m = cs_strmap_new();
		cs_strmap_set(m, keys[i][1], json_string_value(v));
	}
	*ret = m;
	return 0;
}

bool cs_volume_options_mount(const struct cs_strmap *options, struct cs_vol_mount *ret)
{
	*ret = (struct cs_vol_mount){.type = cs_strmap_get(options, "type"), .device = cs_strmap_get(options, "device"), .options = cs_strmap_get(options, "o")};
	return ret->type || ret->device || ret->options;
}
