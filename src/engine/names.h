/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/macros.h"

/* "adjective_surname", with a digit appended when retry > 0. Caller frees. */
char *cs_name_random(unsigned retry);
/* Docker's rule: [a-zA-Z0-9][a-zA-Z0-9_.-]+ (a leading slash is the caller's business). */
bool cs_name_valid(const char *name);
