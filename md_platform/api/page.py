"""The page: the files of md_platform/web out, at an address that changes when any of them does.

So browsers keep them for good, and never have files of two versions. The page itself is asked for anew each time.
"""

import hashlib
import mimetypes
import re
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from md_platform.api.config import ApiConfig
from md_platform.api.dependencies import ConfigOf, anyone
from md_platform.errors import NotFound

router = APIRouter(include_in_schema=False, dependencies=[anyone()])

_FOLDER = Path(__file__).parent.parent / "web"
_TYPES = {".js": "text/javascript", ".mjs": "text/javascript", ".md": "text/markdown"}
_HOST = re.compile(r"[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\]")
_ROOT = b"{root}"
_POLICY = (
    "default-src 'self'; connect-src 'self'{live}; img-src 'self' blob:; object-src 'none'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


@router.get("/")
async def page(request: Request, config: ConfigOf) -> Response:
    """The page; it may load from here only, and talk to this API and its gateway only."""
    version, files = _web()
    live = gateway_url(request, config)
    return Response(
        files["index.html"].replace(_ROOT, f"/web/{version}".encode()),
        headers={
            "cache-control": "no-cache",
            "content-security-policy": _POLICY.format(live=f" {live}" if live else ""),
        },
        media_type="text/html; charset=utf-8",
    )


@router.get("/favicon.ico")
async def icon() -> Response:
    """The icon, for browsers that ask without having read the page."""
    return Response(_web()[1]["icon.svg"], media_type="image/svg+xml", headers={"cache-control": "max-age=86400"})


@router.get("/web/{version}/{name:path}")
async def file(version: str, name: str) -> Response:
    """A file of the page; NotFound for one of another version, so that nobody keeps it under the wrong name."""
    current, files = _web()
    if version != current or name not in files:
        raise NotFound(f"the page has no file {name!r} of version {version!r}: load it again")
    suffix = Path(name).suffix
    kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "text/plain")
    return Response(files[name], media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"})


def gateway_url(request: Request, config: ApiConfig) -> str | None:
    """Where a browser that reached us by this request reaches the gateway; None where its Host is no name."""
    host = request.url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host):
        return None
    return f"{'wss' if config.is_encrypted else 'ws'}://{host}:{config.gateway_port}"


@cache
def _web() -> tuple[str, dict[str, bytes]]:
    """A name for all of the files together, and each by its path; read once."""
    paths = sorted(path for path in _FOLDER.rglob("*") if path.is_file())
    files = {path.relative_to(_FOLDER).as_posix(): path.read_bytes() for path in paths}
    digest = hashlib.blake2b(digest_size=8)
    for name, content in files.items():
        digest.update(name.encode() + b"\0" + hashlib.blake2b(content).digest())
    return digest.hexdigest(), files
