/* SPDX-License-Identifier: Apache-2.0
 *
 * caisson system df. The engine's answer has two shapes: up to API 1.51 plain lists with LayersSize, later an object for each kind. */
#include <string.h>

#include "base/time.h"
#include "cli/rows.h"

struct usage {
	json_t *images, *containers, *volumes, *cache; /* lists, borrowed */
	int64_t layers_size, builder_size;
};

/* One line of the short form: texts by kind. */
struct df_row {
	const char *type, *total, *active, *size, *reclaimable;
};
METHOD(df_type) { return text_value(((struct df_row *)self)->type); }
METHOD(df_total) { return text_value(((struct df_row *)self)->total); }
METHOD(df_active) { return text_value(((struct df_row *)self)->active); }
METHOD(df_size) { return text_value(((struct df_row *)self)->size); }
METHOD(df_reclaimable) { return text_value(((struct df_row *)self)->reclaimable); }
static const struct tpl_method df_methods[] = {{"Active", df_active}, {"Reclaimable", df_reclaimable}, {"Size", df_size}, {"TotalCount", df_total}, {"Type", df_type}, {NULL}};
/* docker has a type for each line; the first is the one that errors name */
static const struct tpl_class df_class = {"*formatter.diskUsageImagesContext", df_methods};
static const char *const df_headers[] = {"Type", "TYPE", "TotalCount", "TOTAL", "Active", "ACTIVE", "Size", "SIZE", "Reclaimable", "RECLAIMABLE", NULL};

static bool is_active(json_t *c)
{
	const char *s = jstr(c, "State");
	return cs_streq(s, "running") || cs_streq(s, "paused") || cs_streq(s, "restarting");
}

static const char *with_percent(struct tpl_arena *a, int64_t part, int64_t all)
{
	const char *text = size_text(a, (double)part, 4);
	return all > 0 ? tpl_printf(a, "%s (%lld%%)", text, (long long)(part * 100 / all)) : text;
}

static void short_rows(struct list *l, const struct usage *u)
{
	struct tpl_arena *a = l->a;
	int64_t used = 0, size = 0, free_size = 0;
	unsigned active = 0;
	json_t *o;
	size_t i;

	json_array_foreach(u->images, i, o)
	{
		active += jint(o, "Containers") > 0;
		if (jint(o, "Containers") != 0 && jint(o, "Size") != -1 && jint(o, "SharedSize") != -1)
			used += jint(o, "Size") - jint(o, "SharedSize");
	}
#define COUNT(list) tpl_printf(a, "%zu", json_array_size(list))
	list_row(l, &df_class, &(struct df_row){"Images", COUNT(u->images), tpl_printf(a, "%u", active), size_text(a, (double)u->layers_size, 4), with_percent(a, u->layers_size - used, u->layers_size)});
	active = 0;
	json_array_foreach(u->containers, i, o)
	{
		active += is_active(o);
		size += jint(o, "SizeRw");
		free_size += is_active(o) ? 0 : jint(o, "SizeRw");
	}
	list_row(l, &df_class, &(struct df_row){"Containers", COUNT(u->containers), tpl_printf(a, "%u", active), size_text(a, (double)size, 4), with_percent(a, free_size, size)});
	active = 0;
	size = free_size = 0;
	json_array_foreach(u->volumes, i, o)
	{
		json_t *d = json_object_get(o, "UsageData");
		int64_t n = jint(d, "Size"), refs = jint(d, "RefCount");
		active += refs > 0;
		size += n == -1 ? 0 : n;
		free_size += n == -1 || refs != 0 ? 0 : n;
	}
	list_row(l, &df_class, &(struct df_row){"Local Volumes", COUNT(u->volumes), tpl_printf(a, "%u", active), size_text(a, (double)size, 4), with_percent(a, free_size, size)});
	active = 0;
	used = 0;
	json_array_foreach(u->cache, i, o)
	{
		bool in_use = json_is_true(json_object_get(o, "InUse"));
		active += in_use;
		used += in_use && !json_is_true(json_object_get(o, "Shared")) ? jint(o, "Size") : 0;
	}
	list_row(l, &df_class, &(struct df_row){"Build Cache", COUNT(u->cache), tpl_printf(a, "%u", active), size_text(a, (double)u->builder_size, 4),
						size_text(a, (double)(u->builder_size - used), 4)});
}

/* ---- build cache ---- */

static int64_t when(json_t *j, const char *key)
{
	int64_t ns;
	return cs_time_parse(jstr(j, key), &ns) ? ns / CS_NS_PER_SEC : 0;
}
METHOD(cache_id)
{
	const struct row *r = self;
	const char *id = r->trunc ? truncate_id(a, jstr(r->j, "ID")) : jstr(r->j, "ID");
	return text_value(json_is_true(json_object_get(r->j, "InUse")) ? tpl_printf(a, "%s*", id) : id);
}
METHOD(cache_parent)
{
	const struct row *r = self;
	const char *text = "";
	json_t *p;
	size_t i;

	json_array_foreach(json_object_get(r->j, "Parents"), i, p) text = tpl_printf(a, "%s%s%s", text, i ? ", " : "", json_string_value(p));
	if (!*text)
		text = jstr(r->j, "Parent");
	return text_value(r->trunc ? truncate_id(a, text) : text);
}
METHOD(cache_type) { return text_value(jstr(((struct row *)self)->j, "Type")); }
METHOD(cache_description) { return text_value(jstr(((struct row *)self)->j, "Description")); }
METHOD(cache_size) { return text_value(size_text(a, (double)jint(((struct row *)self)->j, "Size"), 3)); }
METHOD(cache_created_at) { return text_value(utc_time_text(a, jstr(((struct row *)self)->j, "CreatedAt"))); }
METHOD(cache_created_since) { return text_value(ago_text(a, when(((struct row *)self)->j, "CreatedAt"))); }
METHOD(cache_used_at)
{
	const char *t = jstr(((struct row *)self)->j, "LastUsedAt");
	return text_value(*t ? utc_time_text(a, t) : "");
}
METHOD(cache_used_since)
{
	json_t *j = ((struct row *)self)->j;
	return text_value(*jstr(j, "LastUsedAt") ? ago_text(a, when(j, "LastUsedAt")) : "");
}
METHOD(cache_count) { return text_value(tpl_printf(a, "%lld", (long long)jint(((struct row *)self)->j, "UsageCount"))); }
METHOD(cache_in_use) { return text_value(json_is_true(json_object_get(((struct row *)self)->j, "InUse")) ? "true" : "false"); }
METHOD(cache_shared) { return text_value(json_is_true(json_object_get(((struct row *)self)->j, "Shared")) ? "true" : "false"); }
static const struct tpl_method cache_methods[] = {
	{"CacheType", cache_type}, {"CreatedAt", cache_created_at}, {"CreatedSince", cache_created_since}, {"Description", cache_description}, {"ID", cache_id}, {"InUse", cache_in_use},
	{"LastUsedAt", cache_used_at}, {"LastUsedSince", cache_used_since}, {"Parent", cache_parent}, {"Shared", cache_shared}, {"Size", cache_size}, {"UsageCount", cache_count}, {NULL}};
static const struct tpl_class cache_class = {"*formatter.buildCacheContext", cache_methods};
static const char *const cache_headers[] = {"ID", "CACHE ID", "Parent", "PARENT", "CacheType", "CACHE TYPE", "Size", "SIZE", "CreatedSince", "CREATED", "LastUsedSince", "LAST USED",
					    "UsageCount", "USAGE", "InUse", "IN USE", "Shared", "SHARED", "Description", "DESCRIPTION", NULL};

/* ---- the long form ---- */

static bool first_tag(struct tpl_arena *a, json_t *img, struct image_row *row, bool trunc)
{
	const char *digest;

	*row = (struct image_row){{img, trunc}, "<none>", "<none>", ""};
	const char *ref = json_string_value(json_array_get(json_object_get(img, "RepoTags"), 0));
	if (ref && strcmp(ref, "<none>:<none>") != 0 && (!reference_split(a, ref, &row->repo, &row->tag, &digest) || !*row->tag))
		return false;
	return true;
}

static json_t *without_root_size(json_t *c)
{
	(void)json_object_del(c, "SizeRootFs"); /* shared with others: not the container's usage */
	return c;
}

static int long_table(const struct usage *u)
{
	struct image_row row;
	struct list l;
	json_t *o;
	size_t i;
	int status;

	printf("Images space usage:\n\n");
	list_begin(&l, "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}");
	json_array_foreach(u->images, i, o) if (first_tag(l.a, o, &row, true)) list_row(&l, &image_class, &row);
	if ((status = list_end(&l, image_headers)) != 0)
		return status;
	printf("\nContainers space usage:\n\n");
	list_begin(&l, "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}");
	json_array_foreach(u->containers, i, o) list_row(&l, &container_class, &(struct row){without_root_size(o), true});
	if ((status = list_end(&l, container_headers)) != 0)
		return status;
	printf("\nLocal Volumes space usage:\n\n");
	list_begin(&l, "table {{.Name}}\t{{.Links}}\t{{.Size}}");
	json_array_foreach(u->volumes, i, o) list_row(&l, &volume_class, &(struct row){o, true});
	if ((status = list_end(&l, volume_headers)) != 0)
		return status;
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	printf("\nBuild cache usage: %s\n\n", size_text(a, (double)u->builder_size, 4));
	list_begin(&l, "table {{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}");
	json_array_foreach(u->cache, i, o) list_row(&l, &cache_class, &(struct row){o, true});
	return list_end(&l, cache_headers);
}

static struct tpl_value objects(struct tpl_arena *a, const struct tpl_type *type, const struct tpl_class *class, json_t *list)
{
	size_t n = json_array_size(list), used = 0;
	struct tpl_value *v = tpl_alloc(a, (n + 1) * sizeof(*v));

	for (size_t i = 0; i < n; i++) {
		struct image_row *row = tpl_alloc(a, sizeof(*row));
		json_t *o = json_array_get(list, i);
		if (class == &image_class && !first_tag(a, o, row, false))
			continue;
		row->row = (struct row){class == &container_class ? without_root_size(o) : o, false};
		v[used++] = tpl_object_value(a, class, row);
	}
	return (struct tpl_value){.type = type, .v = v, .count = used};
}

/* A template over everything at once: {{range .Images}}…; nothing is cut. */
static int long_template(const char *format, const struct usage *u)
{
	static const struct tpl_type images = {.name = "[]*formatter.imageContext", .kind = TPL_SLICE, .elem = &tpl_any},
				     containers = {.name = "[]*formatter.ContainerContext", .kind = TPL_SLICE, .elem = &tpl_any},
				     volumes = {.name = "[]*formatter.volumeContext", .kind = TPL_SLICE, .elem = &tpl_any},
				     cache = {.name = "[]*formatter.buildCacheContext", .kind = TPL_SLICE, .elem = &tpl_any};
	static const struct tpl_field fields[] = {{"Images", "Images", &images}, {"Containers", "Containers", &containers}, {"Volumes", "Volumes", &volumes}, {"BuildCache", "BuildCache", &cache}};
	static const struct tpl_type all = {.name = "*formatter.diskUsageContext", .kind = TPL_STRUCT, .fields = fields, .n_fields = 4};
	struct list l;

	list_begin(&l, format);
	struct tpl_value v[4] = {objects(l.a, &images, &image_class, u->images), objects(l.a, &containers, &container_class, u->containers),
				 objects(l.a, &volumes, &volume_class, u->volumes), objects(l.a, &cache, &cache_class, u->cache)};
	const char *message;
	/* neither a line end nor the words "template parsing error" here */
	if (!l.status && !tpl_execute(l.tpl, (struct tpl_value){.type = &all, .v = v, .count = 4}, NULL, l.a, &l.rows, &message))
		l.status = cli_fail(1, "%s", message);
	l.table = false;
	return list_end(&l, NULL);
}

struct system_df_opts {
	bool verbose;
	const char *format;
};
static const struct flag system_df_flags[] = {
	FLAG(struct system_df_opts, format, "format", 0, HELP_FORMAT_TABLE),
	FLAG(struct system_df_opts, verbose, "verbose", 'v', "Show detailed information on space usage"),
	FLAG_END,
};

static json_t *items(json_t *j, const char *key, const char *old)
{
	json_t *u = json_object_get(j, key);
	return json_is_object(u) ? json_object_get(u, "Items") : json_object_get(j, old);
}

static int cmd_df(struct call *call)
{
	const struct system_df_opts *o = call->opts;
	const char *format = cs_empty(o->format) ? "table" : o->format;
	struct cs_err *err = NULL;
	json_t *j = NULL, *c;
	struct list l;
	size_t i;
	int status;

	int api = client_api(&err); /* details come by themselves before 1.52 */
	if (api < 0 || client_json("GET", api >= 152 ? "/system/df?verbose=1" : "/system/df", NULL, &j, &err) < 0)
		return cli_error(err, 1);
	struct usage u = {items(j, "ImageUsage", "Images"), items(j, "ContainerUsage", "Containers"), items(j, "VolumeUsage", "Volumes"), items(j, "BuildCacheUsage", "BuildCache"),
			  json_object_get(j, "ImageUsage") ? jint(json_object_get(j, "ImageUsage"), "TotalSize") : jint(j, "LayersSize"), 0};
	json_array_foreach(u.cache, i, c) u.builder_size += json_is_true(json_object_get(c, "Shared")) ? 0 : jint(c, "Size");
	if (o->verbose) {
		if (cs_streq(format, "table")) {
			status = long_table(&u);
		} else if (cs_streq(format, "raw")) {
			cs_autofree char *containers = container_format("raw", false, true);
			cs_autofree char *all = cs_xasprintf("{{range .Images}}type: Image\n%s\n{{end -}}\n{{range .Containers}}type: Container\n%s\n{{end -}}\n{{range .Volumes}}type: Volume\n%s\n{{end -}}\n"
							     "{{range .BuildCache}}type: Build Cache\nbuild_cache_id: {{.ID}}\nparent_id: {{.Parent}}\nbuild_cache_type: {{.CacheType}}\n"
							     "description: {{.Description}}\ncreated_at: {{.CreatedAt}}\ncreated_since: {{.CreatedSince}}\nlast_used_at: {{.LastUsedAt}}\n"
							     "last_used_since: {{.LastUsedSince}}\nusage_count: {{.UsageCount}}\nin_use: {{.InUse}}\nshared: {{.Shared}}\n\n{{end -}}",
							     image_format("raw", false, true), containers, volume_format("raw", false));
			status = long_template(all, &u);
		} else {
			status = long_template(format, &u);
		}
	} else {
		if (cs_streq(format, "table"))
			format = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
		else if (cs_streq(format, "raw"))
			format = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\nreclaimable: {{.Reclaimable}}\n";
		list_begin(&l, format);
		short_rows(&l, &u);
		status = list_end(&l, df_headers);
	}
	json_decref(j);
	return status;
}

const struct command df_commands[] = {
	{.names = "system df", .api = 125, .usage = "[OPTIONS]", .help = "Show caisson disk usage",
	 .min = 0, .max = 0, CMD_OPTS(struct system_df_opts, system_df_flags), .run = cmd_df},
	CMD_END,
};
