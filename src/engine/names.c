/* SPDX-License-Identifier: Apache-2.0
 *
 * Names for containers that were given none: an adjective and the surname of somebody whom engineering owes something. */
#include "engine/names.h"

#include "base/id.h"

static const char *const adjectives[] = {
	"able", "airy", "alert", "amber", "ample", "apt", "artful", "avid", "balmy", "bold", "brave", "breezy", "bright", "brisk",
	"bubbly", "calm", "candid", "careful", "cheery", "chipper", "civil", "clever", "cosy", "crisp", "curious", "dapper", "daring",
	"deft", "dreamy", "eager", "earnest", "easy", "elated", "fair", "fearless", "festive", "fleet", "fluent", "fond", "frank",
	"free", "gallant", "gentle", "genial", "glad", "golden", "graceful", "handy", "hardy", "hearty", "helpful", "honest",
	"humble", "ideal", "jaunty", "jolly", "joyful", "keen", "kind", "lively", "loyal", "lucid", "lucky", "mellow", "merry",
	"mild", "mindful", "modest", "neat", "nimble", "noble", "open", "patient", "perky", "placid", "plucky", "polite", "prompt",
	"proud", "quick", "quiet", "radiant", "ready", "serene", "sharp", "sincere", "smart", "snug", "steady", "sturdy", "sunny",
	"swift", "tender", "thrifty", "tidy", "tranquil", "trusty", "upbeat", "valiant", "vivid", "warm", "wise", "witty", "zesty",
};
static const char *const surnames[] = {
	"abel", "aiken", "ampere", "archer", "babbage", "baird", "banneker", "bardeen", "bell", "benz", "berners", "bessel", "bohr",
	"boole", "braun", "brunel", "bush", "carnot", "cerf", "church", "clarke", "codd", "cohen", "cooper", "cray", "curie",
	"daimler", "dalen", "diesel", "dijkstra", "eckert", "edison", "eiffel", "euler", "faraday", "fermat", "fourier", "franklin",
	"fulton", "galois", "gauss", "goldberg", "gray", "hamming", "harrison", "henry", "hertz", "hollerith", "hopper", "huffman",
	"jacquard", "joule", "kahn", "kelvin", "kepler", "kernighan", "kilby", "lamarr", "laplace", "leibniz", "liskov", "lovelace",
	"marconi", "mauchly", "maxwell", "mccarthy", "meitner", "morse", "napier", "naur", "newton", "nobel", "noether", "noyce",
	"nyquist", "ohm", "papin", "pascal", "perlman", "planck", "postel", "ramanujan", "ritchie", "savery", "shannon", "siemens",
	"sinclair", "stephenson", "stevens", "stibitz", "tesla", "thompson", "torvalds", "trevithick", "tukey", "turing", "volta",
	"watt", "wheeler", "whitney", "wilkes", "wirth", "wright", "zeppelin", "zuse",
};

char *cs_name_random(unsigned retry)
{
	uint32_t r[3];

	cs_random_bytes(r, sizeof(r));
	const char *a = adjectives[r[0] % CS_ARRAY_SIZE(adjectives)], *b = surnames[r[1] % CS_ARRAY_SIZE(surnames)];
	return retry ? cs_xasprintf("%s_%s%u", a, b, r[2] % (retry > 2 ? 100000u : 10u)) : cs_xasprintf("%s_%s", a, b);
}

static bool is_alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool cs_name_valid(const char *name)
{
	if (!name || !is_alnum(name[0]) || !name[1])
		return false;
	for (const char *p = name + 1; *p; p++)
		if (!is_alnum(*p) && *p != '_' && *p != '.' && *p != '-')
			return false;
	return true;
}
