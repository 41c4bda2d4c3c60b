/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "engine/types.h"

/* At start. The source of a bind exists (or is made, where the client asked by -v), and is mounted so that shared and slave can work. */
CS_MUST_CHECK int cs_bind_source_check(const struct cs_mount_point *m, struct cs_err **err);
