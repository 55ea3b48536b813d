"""A device's page in this process, on a real port, and who asks it."""

import contextlib
import threading
import time

import httpx

from client.page.serving import HOST, listening, server


@contextlib.contextmanager
def served(person):
    """Its address, and the secrets that open it."""
    with listening(0) as listener:
        answering, kept = server(person, listener)
        thread = threading.Thread(target=answering.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not answering.started:
                time.sleep(0.005)
            yield f"http://{HOST}:{listener.getsockname()[1]}", kept
        finally:
            answering.should_exit = True
            thread.join()


@contextlib.contextmanager
def client(base):
    """A browser without a page: it keeps cookies, follows nothing, and says nothing of itself."""
    with httpx.Client(base_url=base, trust_env=False, timeout=60) as asking:
        yield asking
