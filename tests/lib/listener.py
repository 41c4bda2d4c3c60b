# SPDX-License-Identifier: Apache-2.0
"""A listening socket with a thread for each connection: what the tests' small servers and relays have in common."""
import socket
import threading


class Listener:
    """Subclasses answer a connection in `serve`, and close it. path: a unix socket; without, a port of 127.0.0.1."""

    def __init__(self, path=None):
        self.server = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.server.bind(path or ("127.0.0.1", 0))
        self.server.listen(64)
        self.port = None if path else self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                conn, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        raise NotImplementedError

    def close(self):
        # a close alone wakes nobody who waits in accept: once such a thread took the connections of a later test
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
