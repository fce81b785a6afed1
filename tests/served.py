"""A service on a free port, with boards in this process: asked over a real socket."""

import http.client
import json
import threading
from contextlib import contextmanager

import pytest
from in_process import running, slow_boards

pytest.importorskip("uvicorn", reason="the extra 'serve' is not installed")

from keras_concurrent.serve.access import Access
from keras_concurrent.serve.app import application
from keras_concurrent.serve.run import server
from keras_concurrent.serve.service import Service
from keras_concurrent.serve.watcher import Watcher


class Served:
    """A service that can be asked, and what is behind it."""

    def __init__(self, port, service, watcher, exchange, boards):
        self.port, self.service, self.watcher = port, service, watcher
        self.client, self.exchange, self.boards = service.client, exchange, boards

    def ask(self, method, path, body=None, headers=None):
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=None):
        """Status and JSON of an answer."""
        content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        status, _, said = self.ask(method, path, content, headers)
        return status, json.loads(said)


@contextmanager
def serving_in_process(bundle, model="small", access=None, preprocessing=None, **options):
    """A service of in-process boards, asked over a real socket."""
    access = access or Access()
    with running(bundle) as (client, exchange, boards), access.listen(0) as listening:
        service = Service(client, bundle, model, **options)
        watcher = Watcher(service, slow_boards(3))
        begun = threading.Event()
        app = application(service, watcher, preprocessing)
        made = server(app, service, access, begun.set)
        thread = threading.Thread(target=made.run, args=([listening],))
        thread.start()
        try:
            assert begun.wait(10)
            yield Served(listening.getsockname()[1], service, watcher, exchange, boards)
        finally:
            made.should_exit = True
            thread.join(20)
            watcher.close()
