"""Serve the page with Gradio's own server."""

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
        host: Address to listen on; by default of this machine alone.
        port: Port to listen on; 0 for any that is free.
        limits: `Limits`, those of `Limits()` by default.

    Raises:
        ImportError: If Gradio is not installed.
        ValueError: If the folder holds no model that loads.
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

    Uploads and results lie in a temporary folder that only this user can read. Gradio's default is
    one folder for all programs and users, and a request may name any file in it.

    Args:
        models: Dict from names to `Predictor`s.
        broken: Names of models that cannot be used.
        limits: As for `serve`, as is `host`.
        port: Port to listen on; the first free one from 7860 on if None.
    """
    limits = Limits() if limits is None else limits
    with (
        tempfile.TemporaryDirectory(prefix="videorel-", ignore_cleanup_errors=True) as folder,
        mock.patch.dict(
            os.environ,
            GRADIO_TEMP_DIR=folder,
            GRADIO_EXAMPLES_CACHE=os.path.join(folder, "examples"),  # else ./.gradio is served, too
            GRADIO_RUN_HISTORY="False",  # else browsers keep the results
        ),
        # Gradio 6.31 refuses requests that name a file of the server, but downloads a video that
        # a request names by its address, whatever its size.
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
    """A port that is free now. Gradio tells no reason if one is not, and takes no 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as listening:
            return listening.getsockname()[1]
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]  # Python adds the address
        raise OSError(f"cannot listen on {host}, port {port}: {reason}") from None
