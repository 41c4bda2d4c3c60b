/* SPDX-License-Identifier: Apache-2.0
 *
 * images --tree: an image's names, and below them what it has for each platform. Docker's layout; its colours on terminals only, and not with NO_COLOR. */
#include "cli/image_tree.h"

#include <limits.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/json.h"
#include "base/strv.h"
#include "cli/list.h"

#define SPACING 3
#define NARROWEST 12 /* of names: columns that leave less are left out */
#define WARNING "WARNING: This is an experimental feature. The output may change and shouldn't be depended on."

#define NAME_COLOUR "\033[34m\033[1m"
#define TEXT_COLOUR "\033[39m"
#define DIM "\033[2m"

enum { NAME, ID, USAGE, CONTENT, EXTRA, COLUMNS };
static const struct {
	const char *title;
	int width;
	bool right;
} columns[COLUMNS] = {{"IMAGE", 0, false}, {"ID", 12, false}, {"DISK USAGE", 10, true}, {"CONTENT SIZE", 12, true}, {"EXTRA", 5, false}};

struct view {
	struct tpl_arena *a;
	bool colour;
	int terminal;   /* its width */
	int width;      /* to lay out for: at least 20 */
	int name_width; /* of the first column */
	int n;          /* columns that there is room for */
	bool chips;     /* who is used is said: somebody below an image is */
	bool spaced;    /* an empty line behind each image: some have something below them */
};

/* Codepoints: what names and platforms consist of is as wide as that. */
static int width_of(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

static void put(const struct view *v, const char *colour, const char *text)
{
	if (v->colour)
		printf("%s%s\033[0m", colour, text);
	else
		printf("%s", text);
}

static void blanks(int n)
{
	if (n > 0)
		printf("%*s", n, "");
}

/* text in at most `width` columns */
static const char *fit(const struct view *v, const char *text, int width)
{
	int n = 0;

	if (width_of(text) <= width)
		return text;
	const char *p = text;
	for (; *p && n + ((*p & 0xc0) != 0x80) < width; p++)
		n += (*p & 0xc0) != 0x80;
	return tpl_printf(v->a, "%.*s…", (int)(p - text), text);
}

static void name_cell(const struct view *v, const char *colour, const char *text)
{
	const char *shown = fit(v, text, v->name_width);

	put(v, colour, shown);
	blanks(v->name_width - width_of(shown));
}

static void details(const struct view *v, const char *colour, const char *id, double usage, double content, bool used)
{
	const char *cells[] = {[ID] = tpl_printf(v->a, "%.12s", strchr(id, ':') ? strchr(id, ':') + 1 : id), [USAGE] = size_text(v->a, usage, 3), [CONTENT] = size_text(v->a, content, 3)};

	for (int i = ID; i < v->n; i++) {
		blanks(SPACING);
		if (i == EXTRA) {
			used &= v->chips;
			const char *chip = !used ? "" : v->colour ? " U " : "U";
			if (used)
				put(v, "\033[38;5;0m\033[48;5;14m", chip);
			blanks(columns[i].width - width_of(chip));
			continue;
		}
		int pad = columns[i].width - width_of(cells[i]);
		blanks(columns[i].right ? pad : 0);
		put(v, colour, cells[i]);
		blanks(columns[i].right ? 0 : pad);
	}
	putchar('\n');
}

/* ---- what there is ---- */

static bool is_image(const json_t *manifest) { return cs_streq(jstr(manifest, "Kind"), "image"); }
static const json_t *data_of(const json_t *manifest) { return json_object_get(manifest, "ImageData"); }
static bool is_used(const json_t *manifest) { return json_array_size(json_object_get(data_of(manifest), "Containers")) > 0; }

static const char *platform_of(const struct view *v, const json_t *manifest)
{
	const json_t *p = json_object_get(data_of(manifest), "Platform");
	const char *variant = jstr(p, "variant");

	return tpl_printf(v->a, "%s/%s%s%s", jstr(p, "os"), jstr(p, "architecture"), *variant ? "/" : "", variant);
}

/* The longest first: the last one has the details beside it. Caller frees. */
static char **names_of(const json_t *image)
{
	char **names = NULL;
	const json_t *t;
	size_t i;

	json_array_foreach(json_object_get(image, "RepoTags"), i, t) cs_strv_push(&names, json_string_value(t));
	for (i = 1; names && i < cs_strv_len(names); i++)
		for (size_t k = i; k && strlen(names[k - 1]) < strlen(names[k]); k--) {
			char *swap = names[k];
			names[k] = names[k - 1];
			names[k - 1] = swap;
		}
	return names;
}

static bool is_shown(const json_t *image, bool all) { return all || json_array_size(json_object_get(image, "RepoTags")) > 0; }

static void one_image(const struct view *v, const json_t *image)
{
	const json_t *manifests = json_object_get(image, "Manifests"), *m, *last = NULL;
	cs_autostrv char **names = names_of(image);
	double content = 0;
	bool used = jint(image, "Containers") > 0;
	size_t i;

	json_array_foreach(manifests, i, m)
	{
		content += (double)jint(json_object_get(m, "Size"), "Content"); /* attestations, too */
		if (!is_image(m))
			continue;
		used |= is_used(m);
		last = m;
	}
	char **name = names;
	for (; name && name[0] && name[1]; name++) {
		put(v, NAME_COLOUR, fit(v, *name, v->terminal));
		putchar('\n');
	}
	if (name && *name)
		name_cell(v, NAME_COLOUR, *name);
	else
		name_cell(v, TEXT_COLOUR DIM, "<untagged>");
	details(v, TEXT_COLOUR, jstr(image, "Id"), (double)jint(image, "Size"), content, used);
	json_array_foreach(manifests, i, m)
	{
		if (!is_image(m))
			continue;
		const json_t *size = json_object_get(m, "Size");
		const char *colour = json_is_true(json_object_get(m, "Available")) ? TEXT_COLOUR : TEXT_COLOUR DIM;
		name_cell(v, colour, tpl_printf(v->a, "%s %s", m == last ? "└─" : "├─", platform_of(v, m)));
		details(v, colour, jstr(m, "ID"), (double)jint(size, "Total"), (double)jint(size, "Content"), is_used(m));
	}
	if (v->spaced)
		putchar('\n');
}

/* ---- the page ---- */

/* As narrow as names allow, as wide as there is room: columns from the right go first. */
static void lay_out(struct view *v, const json_t *list, bool all)
{
	int room = v->width, widest = width_of(columns[NAME].title);
	const json_t *image, *m;
	size_t i, k;

	for (v->n = ID; v->n < COLUMNS && room - columns[v->n].width - SPACING >= NARROWEST; v->n++)
		room -= columns[v->n].width + SPACING;
	json_array_foreach(list, i, image)
	{
		const json_t *t;
		if (!is_shown(image, all))
			continue;
		json_array_foreach(json_object_get(image, "RepoTags"), k, t) widest = CS_MAX(widest, (int)strlen(json_string_value(t)));
		json_array_foreach(json_object_get(image, "Manifests"), k, m) if (is_image(m))
		{
			widest = CS_MAX(widest, (int)strlen(platform_of(v, m)) + (int)strlen("└─ "));
			v->spaced = true;
			v->chips |= is_used(m);
		}
	}
	v->name_width = CS_MIN(room, widest);
}

static void head(const struct view *v)
{
	put(v, "\033[93m", WARNING);
	if (v->colour) {
		putchar('\n');
		blanks(v->width - 21);
		printf("\033[1m\033[106m\033[30mi\033[0m\033[0m \033[96mInfo → \033[0m\033[0m \033[38;5;0m\033[48;5;14m U \033[0m In Use \n\n");
	} else {
		putchar('\n');
		blanks(v->width - 18);
		printf("Info ->  U In Use \n\n");
	}
	for (int i = 0; i < v->n; i++) {
		blanks(i ? SPACING : 0);
		put(v, "\033[39m\033[1m", columns[i].title);
		blanks((i == NAME ? v->name_width : columns[i].width) - width_of(columns[i].title));
	}
	putchar('\n');
}

static int by_age(const void *a, const void *b)
{
	json_t *const *x = a, *const *y = b;
	int64_t s = jint(*x, "Created"), t = jint(*y, "Created");

	return s > t ? -1 : s < t;
}

void image_tree_print(const json_t *list, bool all)
{
	tpl_autoarena struct tpl_arena *a = tpl_arena_new();
	bool terminal = isatty(1);
	struct view v = {.a = a, .colour = terminal && cs_empty(getenv("NO_COLOR")), .terminal = INT_MAX, .width = 80};
	struct winsize w;
	size_t n = json_array_size(list);
	cs_autofree const json_t **sorted = cs_xcalloc(n + 1, sizeof(*sorted));

	if (terminal && ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_col)
		v.width = CS_MAX(20, v.terminal = w.ws_col);
	for (size_t i = 0; i < n; i++)
		sorted[i] = json_array_get(list, i);
	qsort(sorted, n, sizeof(*sorted), by_age);
	lay_out(&v, list, all);
	head(&v);
	for (size_t i = 0; i < n; i++)
		if (is_shown(sorted[i], all))
			one_image(&v, sorted[i]);
}
