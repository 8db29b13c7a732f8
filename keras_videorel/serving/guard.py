"""What browsers and programs may ask of the page's server."""

# What the page needs. Gradio has more routes, such as those that fetch addresses.
_ROUTES = (
    "/assets/",
    "/config",
    "/favicon.ico",
    "/gradio_api/call/",
    "/gradio_api/file=",
    "/gradio_api/heartbeat/",
    "/gradio_api/info",
    "/gradio_api/queue/",
    "/gradio_api/reset",
    "/gradio_api/startup-events",
    "/gradio_api/upload",
    "/static/",
    "/theme.css",
)
# Browsers ask no other server for anything, whatever Gradio's pages name.
_POLICY = (
    "default-src 'self'; script-src 'self' blob: 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' data: blob:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "font-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


class Guard:
    """ASGI application around another: the page's routes only, and headers that keep it offline.

    Args:
        app: The application.
    """

    def __init__(self, app):
        self._app = app

    async def __call__(self, scope, receive, send):
        async def send_guarded(message):
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        if scope["type"] == "http" and not _is_needed(scope["path"]):
            await send_guarded({"type": "http.response.start", "status": 404})
            await send_guarded({"type": "http.response.body", "body": b"not found"})
        else:
            await self._app(scope, receive, send_guarded)


def _is_needed(path):
    if path.startswith("/gradio_api/file="):
        return ":/" not in path  # an address, which Gradio would fetch
    return path == "/" or path.startswith(_ROUTES)
