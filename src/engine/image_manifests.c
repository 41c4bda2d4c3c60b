/* SPDX-License-Identifier: Apache-2.0
 *
 * What the API says of the manifests behind a name: which platforms there are, which of them are here. Reads only; any thread. */
#include "engine/image_index.h"

#include "base/json.h"

static void put_target(struct cs_str *out, const struct cs_image_rec *r, const struct cs_image_index *x)
{
	cs_json_put_kstr(out, "mediaType", x ? x->media_type : r->manifest_type);
	cs_json_put_kstr(out, "digest", x ? x->digest.s : r->manifest.s);
	cs_json_put_ki64(out, "size", x ? x->size : r->manifest_size);
}

void cs_image_put_target(struct cs_str *out, const struct cs_image_rec *r, const struct cs_image_index *x)
{
	cs_str_puts(out, "{");
	put_target(out, r, x);
	cs_str_puts(out, "}");
}

static void put_platform(struct cs_str *out, const char *key, const char *os, const char *arch, const char *variant)
{
	cs_json_put_key(out, key);
	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "architecture", arch);
	cs_json_put_kstr(out, "os", os);
	if (!cs_empty(variant))
		cs_json_put_kstr(out, "variant", variant);
	cs_str_puts(out, "}");
}

/* Under m->lock: the entry of an index in use that is this manifest, or NULL. */
static const struct cs_index_entry *entry_of(struct cs_images *m, const struct cs_digest *manifest)
{
	struct cs_image_member *member;
	struct cs_image_index *x, *next;

	HASH_FIND_STR(m->members, manifest->s, member); /* most are in none */
	HASH_ITER(hh, m->indexes, x, next)
	{
		for (size_t i = 0; member && i < x->n; i++) {
			if (strcmp(x->v[i].digest.s, manifest->s) == 0)
				return &x->v[i];
		}
	}
	return NULL;
}

void cs_image_put_descriptor(struct cs_str *out, struct cs_engine *e, const char *id)
{
	struct cs_images *m = e->images;
	struct cs_image_rec *r;

	pthread_rwlock_rdlock(&m->lock);
	HASH_FIND_STR(m->by_id, id, r);
	if (r) {
		const struct cs_index_entry *entry = entry_of(m, &r->manifest);
		if (entry && *entry->platform.os) {
			cs_str_puts(out, entry->json);
		} else {
			cs_str_puts(out, "{");
			put_target(out, r, NULL);
			put_platform(out, "platform", r->info.os, r->info.architecture, r->info.variant);
			cs_str_puts(out, "}");
		}
	}
	pthread_rwlock_unlock(&m->lock);
}

static void put_containers(struct cs_str *out, struct cs_images *m, const struct cs_image_rec *r)
{
	size_t n;
	struct cs_container **c = cs_containers_all(m->e, &n);

	cs_json_put_key(out, "Containers");
	cs_str_puts(out, "[");
	for (size_t i = 0, shown = 0; r && i < n; i++) {
		if (!cs_streq(c[i]->image_id, r->id.s))
			continue;
		cs_str_puts(out, shown++ ? "," : "");
		cs_json_put_string(out, c[i]->id);
	}
	cs_str_puts(out, "]");
	cs_containers_free(c);
}

/* r NULL: not here, or nothing that is unpacked. e NULL: r alone. */
static void put_one(struct cs_str *out, struct cs_images *m, const struct cs_image_rec *r, const struct cs_index_entry *e)
{
	const struct cs_digest *digest = e ? &e->digest : &r->manifest;
	bool unknown = r ? r->info.artifact : !e || strcmp(e->platform.os, "unknown") == 0 || !*e->platform.os;
	bool attestation = e && e->attestation;
	int64_t content = 0, unpacked = r && !r->info.artifact ? r->size : 0;
	bool all = cs_image_content(m, digest, &content);

	cs_str_puts(out, "{");
	cs_json_put_kstr(out, "ID", digest->s);
	cs_json_put_key(out, "Descriptor");
	if (e)
		cs_str_puts(out, e->json);
	else if (r)
		cs_image_put_target(out, r, NULL);
	cs_json_put_kbool(out, "Available", all);
	cs_json_put_key(out, "Size");
	cs_str_puts(out, "{");
	cs_json_put_ki64(out, "Content", content);
	cs_json_put_ki64(out, "Total", content + unpacked);
	cs_str_puts(out, "}");
	cs_json_put_kstr(out, "Kind", attestation ? "attestation" : unknown ? "unknown" : "image");
	if (attestation) {
		cs_json_put_key(out, "AttestationData");
		cs_str_puts(out, "{");
		cs_json_put_kstr(out, "For", e->subject.s);
		cs_str_puts(out, "}");
	} else if (!unknown) {
		cs_json_put_key(out, "ImageData");
		cs_str_puts(out, "{");
		if (e && *e->platform.os)
			put_platform(out, "Platform", e->platform.os, e->platform.arch, e->platform.variant);
		else
			put_platform(out, "Platform", r->info.os, r->info.architecture, r->info.variant);
		put_containers(out, m, r);
		cs_json_put_key(out, "Size");
		cs_str_puts(out, "{");
		cs_json_put_ki64(out, "Unpacked", unpacked);
		cs_str_puts(out, "}}");
	}
	cs_str_puts(out, "}");
}

void cs_image_put_manifests(struct cs_str *out, struct cs_images *m, const struct cs_image_rec *r, const struct cs_image_index *x)
{
	cs_str_puts(out, "[");
	for (size_t i = 0; x && i < x->n; i++) {
		pthread_rwlock_rdlock(&m->lock);
		struct cs_image_rec *own = cs_image_of_manifest(m, &x->v[i].digest);
		if (own)
			atomic_fetch_add(&own->refs, 1);
		pthread_rwlock_unlock(&m->lock);
		cs_str_puts(out, i ? "," : "");
		put_one(out, m, own, &x->v[i]);
		cs_image_rec_unref(own);
	}
	if (!x)
		put_one(out, m, r, NULL);
	cs_str_puts(out, "]");
}
