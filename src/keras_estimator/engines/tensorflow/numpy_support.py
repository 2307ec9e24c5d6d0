import contextlib
def enable(): ...
def complete(m): ...
@contextlib.contextmanager
def located():
    yield
@contextlib.contextmanager
def eager_too():
    yield
