"""Serve the page with Gradio's own server."""

import contextlib
import os
import tempfile
import threading
from unittest import mock

from keras_videorel.extras import check_importable
from keras_videorel.serving.labeling import Limits
from keras_videorel.serving.models import load_models


def serve(folder, *, host="127.0.0.1", port=7860, limits=None):
    """Serve the page until Ctrl-C.

    Args:
        folder: A folder of exported models.
        host: Address to listen on; by default of this machine alone.
        port: Port to listen on; 0 for the first free one from 7860 on.
        limits: `Limits`; the default ones if None.

    Raises:
        ImportError: If Gradio is not installed.
        ValueError: If the folder holds no model that loads.
        OSError: If the server cannot listen on the port.
    """
    check_importable("pages", "serve")
    models, broken = load_models(folder)
    with launched(models, broken, limits, host=host, port=port) as address:
        print(f"{', '.join(models)}: {address} (Ctrl-C ends it)", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


@contextlib.contextmanager
def launched(models, broken=(), limits=None, *, host="127.0.0.1", port=0):
    """Launch the page and yield its address.

    Uploads and results lie in a folder of their own, which only this user can read and which is
    deleted at the end. Gradio's default is one folder for all programs and users, whose files any
    request may name.

    Args:
        models: Dict from names to `Predictor`s.
        broken: Names of models that cannot be used.
        limits: As for `serve`, as are `host` and `port`.
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
    ):
        from keras_videorel.serving import page

        blocks = page.build(models, broken, limits, folder)
        try:
            _, address, _ = blocks.launch(
                server_name=host, server_port=port or None, max_file_size=limits.bytes,
                share=False, enable_monitoring=False, prevent_thread_lock=True, quiet=True,
                footer_links=[], theme=page.THEME, css=page.CSS,
            )  # fmt: skip
        except OSError:
            raise OSError(f"cannot listen on {host}, port {port}: is it in use?") from None
        try:
            yield address.rstrip("/")
        finally:
            blocks.close(verbose=False)
