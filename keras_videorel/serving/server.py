"""Serve the page with Gradio's server."""

import contextlib
import importlib.util
import os
import socket
import tempfile
import threading
from unittest import mock

from keras_videorel.extras import pip_install
from keras_videorel.serving.labeling import Limits
from keras_videorel.serving.models import load_models


def serve(
    folder: str | os.PathLike,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    limits: Limits | None = None,
) -> None:
    """Serve the page until Ctrl-C.

    Args:
        folder: A folder of exported models.
        host: Address to listen on. The default accepts connections from this machine only.
        port: Port to listen on; 0 for any free port.
        limits: Limits for uploads, by default `Limits()`.

    Raises:
        ImportError: If Gradio is not installed.
        ValueError: If no model of the folder can be loaded.
        OSError: If the server cannot listen on the port.
    """
    if importlib.util.find_spec("gradio") is None:
        raise ImportError(f"serve needs {pip_install('serve')}")
    port = _free_port(host, port)
    models, broken = load_models(folder)
    with launched(models, broken, limits, host=host, port=port) as address:
        print(f"{', '.join(models)}: {address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextlib.contextmanager
def launched(models, broken=(), limits=None, *, host="127.0.0.1", port=None):
    """Launch the page and yield its address.

    Uploads and results go to a temporary folder that only this user can read. By default, Gradio
    would share one folder among all programs and users, and serve every file in it.

    Args:
        models: Dict from names to `Predictor`s.
        broken: Names of models that cannot be loaded.
        limits: As for `serve`.
        host: As for `serve`.
        port: Port to listen on. `None` takes the first free port from 7860 on.
    """
    limits = Limits() if limits is None else limits
    with (
        tempfile.TemporaryDirectory(prefix="videorel-", ignore_cleanup_errors=True) as folder,
        mock.patch.dict(
            os.environ,
            GRADIO_TEMP_DIR=folder,
            GRADIO_EXAMPLES_CACHE=os.path.join(folder, "examples"),  # or ./.gradio would be served
            GRADIO_RUN_HISTORY="False",  # or browsers would keep the results
        ),
        # Gradio 6.31 refuses requests that name a file on the server. But if a request holds the
        # URL of a video, Gradio downloads the video without a size limit.
        mock.patch("gradio.processing_utils.async_ssrf_protected_download", _refuse_address),
    ):
        from keras_videorel.serving import page

        blocks = page.build(models, broken, limits, folder)
        _, address, _ = blocks.launch(
            server_name=f"[{host}]" if ":" in host else host, server_port=port,
            max_file_size=limits.bytes, share=False, enable_monitoring=False,
            prevent_thread_lock=True, quiet=True, footer_links=[], theme=page.THEME, css=page.CSS,
        )  # fmt: skip
        try:
            yield address.rstrip("/")
        finally:
            blocks.close(verbose=False)


async def _refuse_address(*_, **__):
    from gradio import Error

    raise Error("Upload a file: addresses are not taken.", print_exception=False)


def _free_port(host, port):
    """Return a free port. Gradio does not accept 0, and gives no reason for a failure."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as listening:
            return listening.getsockname()[1]
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]  # without the address that Python adds
        raise OSError(f"cannot listen on {host}, port {port}: {reason}") from None
