"""The page, served: by Gradio in uvicorn, with nothing to do with any other server."""

import contextlib
import importlib.util
import os
import signal
import socket
import tempfile

from keras_videorel.extras import pip_install
from keras_videorel.serving.guard import Guard
from keras_videorel.serving.labelling import Limits
from keras_videorel.serving.models import load_models

_PATIENCE = 2  # seconds that open connections get when the server ends


def serve(folder, *, host="127.0.0.1", port=7860, limits=None):
    """Serve the page until Ctrl-C or SIGTERM.

    Args:
        folder: A folder of exported models.
        host: Address to listen on; by default of this machine alone.
        port: Port to listen on; 0 for any that is free.
        limits: `Limits`; the default ones if None.

    Raises:
        ValueError: If Gradio is not installed, or the folder holds no model that loads.
        OSError: If the port cannot be had.
    """
    check_installed()
    with listen(host, port) as listening:
        models, broken = load_models(folder)
        with application(models, broken, limits) as app:
            address, number = listening.getsockname()[:2]
            print(f"{', '.join(models)}: http://{address}:{number} (Ctrl-C ends it)", flush=True)
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                make_server(app).run(sockets=[listening])
            except KeyboardInterrupt:
                pass  # how it ends
            finally:
                signal.signal(signal.SIGTERM, before)


def check_installed():
    """Refuse to go on without Gradio.

    Raises:
        ValueError: If it is not installed.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ValueError(f"serve needs {pip_install('serve')}")


def listen(host, port):
    """A socket that listens.

    Raises:
        OSError: If the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]  # Python adds the address
        raise OSError(f"cannot listen on {host}, port {port}: {reason}") from None


@contextlib.contextmanager
def application(models, broken=(), limits=None):
    """The page as an ASGI application.

    Uploads and results lie in a folder of their own, readable by this user alone, which is deleted
    at the end.

    Args:
        models: Dict from names to `Predictor`s.
        broken: Names of models that cannot be used.
        limits: `Limits`; the default ones if None.
    """
    limits = Limits() if limits is None else limits
    with (
        tempfile.TemporaryDirectory(prefix="videorel-", ignore_cleanup_errors=True) as folder,
        _environment(
            GRADIO_TEMP_DIR=folder,
            GRADIO_EXAMPLES_CACHE=os.path.join(folder, "examples"),  # or ./.gradio is served, too
            GRADIO_ANALYTICS_ENABLED="False",
            HF_HUB_OFFLINE="1",
        ),
    ):
        import gradio
        from fastapi import FastAPI

        from keras_videorel.serving import page

        app = gradio.mount_gradio_app(
            FastAPI(openapi_url=None),
            page.build(models, broken, limits, folder),
            path="/",
            max_file_size=limits.bytes,
            show_error=False,  # of errors whose text is not for the page
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            mcp_server=False,
            ssr_mode=False,
            pwa=False,
            theme=page.theme(),
            css=page.CSS,
        )
        yield Guard(app)


def make_server(app):
    """A uvicorn server of an application."""
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_PATIENCE,
        )
    )


@contextlib.contextmanager
def _environment(**values):
    """Environment variables, for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
