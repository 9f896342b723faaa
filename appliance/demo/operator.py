"""A person at the console, unattended: the same pages, the same forms, the same checks.

Nothing here is privileged: it signs in over HTTPS with name and password, reads the page that a
person would read, and sends back the form that is on it, CSRF token and digest included.
"""

import ssl
from html.parser import HTMLParser
from pathlib import Path
from typing import Self

import httpx

from appliance.envelope import load_key
from appliance.errors import SentinelError
from appliance.operator_key import sign

_TIMEOUT_S = 15


class ConsoleError(SentinelError):
    """The console did not do what was asked; the text is what its page said."""

    code = "console"


class Console:
    """One browser-like session with the console."""

    def __init__(self, url: str, *, ca: Path) -> None:
        self._client = httpx.Client(
            base_url=url,
            verify=ssl.create_default_context(cafile=str(ca)),
            timeout=_TIMEOUT_S,
            follow_redirects=True,
            trust_env=False,
        )
        self._name = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def sign_in(self, name: str, password: str) -> None:
        """Sign in with name and password."""
        self._name = name
        form = self._form("/sign-in", action="/sign-in")
        self._send("/sign-in", {**form, "name": name, "password": password})

    def approve(self, incident_id: str, *, comment: str, key: Path) -> None:
        """Approve what the incident's page shows now, signed with the operator's own key."""
        action = f"/incidents/{incident_id}/approve"
        form = self._form(f"/incidents/{incident_id}", action=action)
        if "signature" in form:  # not where passwords are enough
            made = sign(load_key(key), operator=self._name, digest=form["shown_digest"])
            form |= {"credential_id": made.credential_id, "signature": made.signature}
        self._send(action, {**form, "comment": comment})

    def page(self, path: str) -> str:
        """A page's text."""
        answer = self._client.get(path)
        if not answer.is_success:
            raise ConsoleError(f"{path}: {answer.status_code} {_text(answer.text)}")
        return answer.text

    def _form(self, path: str, *, action: str) -> dict[str, str]:
        """The hidden fields of the form on a page that posts to `action`."""
        forms = _Forms()
        forms.feed(self.page(path))
        if action not in forms.found:
            raise ConsoleError(f"{path} has no form for {action}")
        return forms.found[action]

    def _send(self, path: str, fields: dict[str, str]) -> None:
        referer = str(self._client.base_url).rstrip("/") + path
        answer = self._client.post(path, data=fields, headers={"Referer": referer})
        if not answer.is_success:
            raise ConsoleError(f"{path}: {answer.status_code} {_text(answer.text)}")


class _Forms(HTMLParser):
    """Collects each form's hidden fields by the form's action."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self._fields: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._fields = self.found.setdefault(values.get("action", ""), {})
        elif tag == "input" and values.get("type") == "hidden" and self._fields is not None:
            self._fields[values.get("name", "")] = values.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._fields = None


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words.extend(data.split())


def _text(page: str) -> str:
    words = _Words()
    words.feed(page)
    return " ".join(words.words)[:400]
