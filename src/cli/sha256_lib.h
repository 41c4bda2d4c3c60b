/* SPDX-License-Identifier: Apache-2.0
 *
 * base/sha256.h for the client: what src/registry needs of it (cs_sha256_hex_of), with libnettle loaded for the first use. Linked like the engine's it
 * would be mapped at every start. */
#pragma once

#include "base/error.h"

/* To be called, and to succeed, before anything that checks a digest; without it every digest is wrong. Stays loaded. */
CS_MUST_CHECK int sha256_load(struct cs_err **err);
