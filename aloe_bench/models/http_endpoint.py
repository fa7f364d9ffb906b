"""Where a model is served: an address that may be shown, and what opens it, which nobody may see."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aloe_bench.errors import ModelError
from aloe_bench.models.http_secrets import Secret, split_url

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PREFLIGHT_ATTEMPTS = 3
# An address of Azure before its v1 API, which reads the key from a header of its own.
AZURE_DEPLOYMENT = "/openai/deployments/"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server's address, without user, password and query; these and the key are secrets."""

    url: str
    key: Secret[str]
    headers: Secret[dict[str, str]]
    query: Secret[dict[str, str]]
    secrets: Secret[frozenset[str]]

    def client(self, timeout: float) -> AsyncOpenAI:
        """Return a client that tries once; its `timeout` is in seconds."""
        from openai import AsyncOpenAI

        return AsyncOpenAI(
            api_key=self.key.value,
            base_url=self.url,
            timeout=timeout,
            max_retries=0,
            default_headers=self.headers.value,
            default_query=self.query.value,
        )


def endpoint(base_url: str, key: str) -> Endpoint:
    """Return where `base_url` points; `key` is "EMPTY" for none. Raises ModelError if the URL cannot be one.

    User and password of the URL become basic authentication where there is no key; its query goes with every request.
    """
    url, login, query = split_url(base_url)
    headers: dict[str, str] = {}
    secrets = {*query.values(), *login} | ({key} if key != "EMPTY" else set())
    if any(login) and key == "EMPTY":
        token = base64.b64encode(":".join(login).encode()).decode()
        headers = {"Authorization": f"Basic {token}"}
        secrets.add(token)
    if key != "EMPTY" and AZURE_DEPLOYMENT in url:
        headers["api-key"] = key
    return Endpoint(url, Secret(key), Secret(headers), Secret(query), Secret(frozenset(secrets)))


async def preflight(
    client: AsyncOpenAI, url: str, scrub: Callable[[str], str], backoff_s: Callable[[str, int], float]
) -> None:
    """Raise ModelError if nothing answers at `url`, or if it refuses the key.

    Any other status passes: not every server lists its models, and not every key may see them.
    """
    import openai

    problem = ""
    for attempt in range(1, PREFLIGHT_ATTEMPTS + 1):
        try:
            await client.models.with_raw_response.list()
            return
        except openai.APIStatusError as error:
            if error.status_code != 401:
                return
            problem = f"{url} refuses the API key (HTTP 401). Check the key."
            break
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            problem = scrub(
                f"{url} cannot be reached ({type(cause).__name__}: {cause}). "
                "Check that the server runs and that the URL is right; it usually ends in /v1."
            )
        if attempt < PREFLIGHT_ATTEMPTS:
            await asyncio.sleep(backoff_s("preflight", attempt))
    raise ModelError(problem)
