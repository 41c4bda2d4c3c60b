# SPDX-License-Identifier: Apache-2.0
"""Threads whose failures count: an assertion in a bare thread is seen by nobody."""
from concurrent.futures import ThreadPoolExecutor


def together(fn, *each):
    """fn(x) for each x, all at once. The first failure is raised when all have ended. Gives the results."""
    with ThreadPoolExecutor(len(each)) as pool:
        return [f.result() for f in [pool.submit(fn, x) for x in each]]
