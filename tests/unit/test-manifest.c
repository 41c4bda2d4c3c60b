/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "engine/manifest.h"
#include "engine/progress.h"

#define D(c) "sha256:" c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c c
#define CONFIG "\"config\":{\"mediaType\":\"" CS_MT_OCI_CONFIG "\",\"digest\":\"" D("a") "\",\"size\":7}"

static int parse(const char *text, const char *media, struct cs_manifest *m, struct cs_err **err) { return cs_manifest_parse(text, strlen(text), media, m, err); }

static void image(void **state)
{
	cs_automf struct cs_manifest m = {0};

	assert_int_equal(parse("{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"mediaType\":\"" CS_MT_OCI_LAYER "+gzip\",\"digest\":\"" D("b") "\",\"size\":9}]}", NULL, &m, NULL), 0);
	assert_int_equal(m.kind, CS_MANIFEST_IMAGE);
	assert_string_equal(m.media_type, CS_MT_OCI_MANIFEST);
	assert_int_equal(m.n, 1);
	assert_int_equal(m.v[0].size, 9);
	assert_string_equal(m.config.digest.s, D("a"));
	assert_null(m.artifact_type);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *media, *says;
	} t[] = {
		{"", NULL, "manifest"},
		{"[]", NULL, "not an object"},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "schema 1 support has been removed"},
		{"{\"schemaVersion\":3}", NULL, "unsupported schema version"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[],\"manifests\":[]}", NULL, "ambiguous"},
		{"{\"schemaVersion\":2,\"fsLayers\":[],\"manifests\":[]}", NULL, "ambiguous"},
		{"{\"schemaVersion\":2,\"manifests\":[]}", CS_MT_OCI_MANIFEST, "index where an image"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[]}", CS_MT_OCI_INDEX, "image where an index"},
		{"{\"schemaVersion\":2,\"mediaType\":\"" CS_MT_OCI_INDEX "\",\"manifests\":[]}", CS_MT_DOCKER_LIST, "the registry says"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"sha256:xyz\",\"size\":9}]}", NULL, "unsupported digest"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D("b") "\",\"size\":-9}]}", NULL, "impossible size"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[{\"digest\":\"" D("b") "\",\"size\":1.5}]}", NULL, "impossible size"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":[7]}", NULL, "not a descriptor"},
		{"{\"schemaVersion\":2," CONFIG ",\"layers\":{}}", NULL, "entries"},
		{"{\"schemaVersion\":2," CONFIG "}", NULL, "entries"},
		{"{\"schemaVersion\":2,\"mediaType\":\"x/y\"}", NULL, "unsupported manifest media type"},
	};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		struct cs_manifest m = {0};
		cs_autoerr struct cs_err *err = NULL;
		assert_int_equal(parse(t[i].text, t[i].media, &m, &err), -1);
		cs_autofree char *text = cs_err_text(err);
		if (!strstr(text, t[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", t[i].text, text, t[i].says);
	}
}

static void walk(void **state)
{
	struct cs_index_walk w = {0};
	struct cs_digest d;
	cs_autoerr struct cs_err *err = NULL;

	for (int i = 0; i < CS_INDEX_MAX_INNER; i++) {
		cs_hash_data(&i, sizeof(i), &d);
		assert_int_equal(cs_index_walk_into(&w, &d, i % (CS_INDEX_MAX_DEPTH + 1), 3, NULL), 0);
		assert_int_equal(cs_index_walk_into(&w, &d, CS_INDEX_MAX_DEPTH, 1000000, NULL), 1); /* a circle, if there could be one */
	}
	cs_hash_data("one more", 8, &d);
	assert_int_equal(cs_index_walk_into(&w, &d, 1, 1, &err), -1);
	cs_autofree char *text = cs_err_text(err);
	assert_non_null(strstr(text, d.s));
	w = (struct cs_index_walk){0};
	assert_int_equal(cs_index_walk_into(&w, &d, CS_INDEX_MAX_DEPTH + 1, 1, NULL), -1);
	assert_int_equal(cs_index_walk_into(&w, &d, 0, CS_MANIFEST_MAX_ENTRIES + 1, NULL), -1);
}

static void artifact(void **state)
{
	cs_automf struct cs_manifest m = {0};

	assert_int_equal(parse("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"application/vnd.cncf.helm.config.v1+json\",\"digest\":\"" D("a") "\",\"size\":7},\"layers\":[]}",
			       CS_MT_OCI_MANIFEST, &m, NULL),
			 0);
	assert_string_equal(m.artifact_type, "application/vnd.cncf.helm.config.v1+json");
}

static void platforms(void **state)
{
	static const struct {
		const char *in, *out;
	} good[] = {{"linux/amd64", "linux/amd64"}, {"linux/x86_64", "linux/amd64"}, {"linux/arm64/v8", "linux/arm64"}, {"linux/aarch64", "linux/arm64"},
		    {"linux/arm", "linux/arm/v7"}, {"linux/arm/7", "linux/arm/v7"}, {"linux/armhf", "linux/arm/v7"}, {"linux/armel", "linux/arm/v6"}, {"s390x", "linux/s390x"},
		    {"LINUX/AMD64", "linux/amd64"}, {"windows/amd64", "windows/amd64"}, {"{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"}", "linux/arm64"}};
	static const char *const bad[] = {"a/b/c/d", "/", "linux/", "!", "foo", "linux/a b", "{\"os\":\"linux\"}", "{", NULL};

	for (size_t i = 0; i < CS_ARRAY_SIZE(good); i++) {
		cs_autoplatform struct cs_platform p = {0};
		assert_int_equal(cs_platform_parse(good[i].in, &p, NULL), 0);
		cs_autofree char *text = cs_platform_text(&p);
		assert_string_equal(text, good[i].out);
	}
	for (const char *const *b = bad; *b; b++) {
		struct cs_platform p = {0};
		assert_int_equal(cs_platform_parse(*b, &p, NULL), -1);
	}
}

static int score(const char *want, const char *have)
{
	cs_autoplatform struct cs_platform w = {0}, h = {0};

	assert_int_equal(cs_platform_parse(want, &w, NULL), 0);
	assert_int_equal(cs_platform_parse(have, &h, NULL), 0);
	return cs_platform_score(&w, &h);
}

static void scores(void **state)
{
	assert_true(score("linux/arm/v7", "linux/arm/v7") > score("linux/arm/v7", "linux/arm/v6"));
	assert_true(score("linux/arm/v7", "linux/arm/v6") > 0);
	assert_int_equal(score("linux/arm/v6", "linux/arm/v7"), 0);
	assert_true(score("linux/arm/v7", "linux/arm/v6") > score("linux/arm/v7", "linux/arm/v5"));
	assert_true(score("linux/arm/v6", "linux/arm/v5") > 0);
	assert_true(score("linux/arm64", "linux/arm/v6") > score("linux/arm64", "linux/arm/v5"));
	assert_true(score("linux/arm64", "linux/arm/v5") > 0);
	assert_true(score("linux/arm/v5", "linux/arm/v5") > 0);
	assert_int_equal(score("linux/arm/v5", "linux/arm/v6"), 0);
	assert_true(score("linux/arm64", "linux/arm64/v8") > score("linux/arm64", "linux/arm/v7"));
	assert_true(score("linux/arm64", "linux/arm/v7") > score("linux/arm64", "linux/arm/v6"));
	assert_int_equal(score("linux/arm/v7", "linux/arm64"), 0);
	assert_true(score("linux/amd64", "linux/amd64") > score("linux/amd64", "linux/386"));
	assert_int_equal(score("linux/386", "linux/amd64"), 0);
	assert_int_equal(score("linux/amd64", "linux/amd64/v3"), 0);
	assert_true(score("linux/amd64/v3", "linux/amd64") > 0);
	assert_int_equal(score("linux/amd64", "windows/amd64"), 0);
}

static void bars(void **state)
{
	static const struct {
		int64_t current, total;
		const char *out;
	} t[] = {{0, 0, ""},
		 {32768, 1068839, "[=>                                                 ]  32.77kB/1.069MB"},
		 {1068839, 1068839, "[==================================================>]  1.069MB/1.069MB"},
		 {2129920, 1984413, "[==================================================>]   2.13MB"},
		 {38400, 1984413, "[>                                                  ]   38.4kB/1.984MB"},
		 {500, 0, "    500B"}};

	for (size_t i = 0; i < CS_ARRAY_SIZE(t); i++) {
		cs_autostr struct cs_str s = CS_STR_INIT(256);
		cs_progress_bar(&s, t[i].current, t[i].total);
		assert_string_equal(s.buf ? s.buf : "", t[i].out);
	}
}

static void shapes(void **state)
{
	static const char good[] = "{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" D("c") "\"]}}";
	static const char *const bad[] = {"{}", "[]", "{\"rootfs\":{\"diff_ids\":[1]}}", "{\"rootfs\":{\"diff_ids\":[\"sha256:1\"]}}", "{\"rootfs\":{\"diff_ids\":7}}", NULL};
	cs_autoshape struct cs_image_shape s = {0};

	assert_int_equal(cs_image_shape_parse(good, strlen(good), &s, NULL), 0);
	assert_int_equal(s.n, 1);
	for (const char *const *b = bad; *b; b++) {
		struct cs_image_shape x = {0};
		assert_int_equal(cs_image_shape_parse(*b, strlen(*b), &x, NULL), -1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(image), cmocka_unit_test(refused), cmocka_unit_test(artifact), cmocka_unit_test(walk), cmocka_unit_test(platforms),
		cmocka_unit_test(scores), cmocka_unit_test(bars), cmocka_unit_test(shapes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
