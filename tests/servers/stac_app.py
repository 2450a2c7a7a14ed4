"""The STAC API, run by uvicorn in an environment of its own; it can break off an answer when nginx asks for it."""

from stac_fastapi.pgstac.app import create_app


def create():
    """Return the API."""
    api = create_app()

    async def application(scope, receive, send):
        headers = dict(scope.get("headers", ()))
        await api(scope, receive, _half(send) if headers.get(b"x-fault") == b"truncate" else send)

    return application


def _half(send):
    """Send half of the body and no end: uvicorn then closes the connection."""
    begun = False

    async def sent(message):
        nonlocal begun
        if message["type"] != "http.response.body":
            await send(message)
        elif not begun:
            begun = True
            body = message.get("body", b"")
            await send({**message, "body": body[: len(body) // 2], "more_body": True})

    return sent
