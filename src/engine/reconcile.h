/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "base/error.h"

struct cs_engine;
/* Loads the rows and makes rows, compute systems and directories agree; says what it cleaned. Once, before the API is served. */
CS_MUST_CHECK int cs_reconcile(struct cs_engine *e, struct cs_err **err);
