"""Who may have which certificate and which token: the roles of PKI, AppRole and cert auth.

Narrow on purpose: no role issues another role's name, and a node's role takes the node's name from
who asks, so that a node's certificate or ticket never obtains another node's.
"""

from collections.abc import Mapping
from typing import Any

from vault.door import Door
from vault.setup.authority import authority_pem
from vault.setup.settings import SetupSettings, seconds
from vault.setup.step import Step, written

PROCESSES = ("hub", "console", "notary", "reason")  # each signs in with an AppRole of its own

_COMMON: dict[str, Any] = {
    "key_type": "ec",
    "key_bits": 256,
    "allow_wildcard_certificates": False,
    "key_usage": ["DigitalSignature"],
    "require_cn": True,
    "not_before_duration": 30,  # seconds, for clocks that differ
    "code_signing_flag": False,
    "email_protection_flag": False,
    "allow_subdomains": False,
    "no_store": False,  # or it could not be revoked
}


_REVOKED: dict[str, Any] = {  # without these the list ends after three days, and the hub closes
    "auto_rebuild": True,
    "expiry": "72h",
    "auto_rebuild_grace_period": "71h",  # a new list each hour; at once with crl/rotate
}


def certificates(settings: SetupSettings) -> list[Step]:
    """The PKI roles, and how the list of what was revoked stays fresh."""
    lives = settings.lifetimes
    rules = {
        "hub": (_server("hub"), lives.server),
        "console": (_server("console"), lives.server),
        "node": (_node(), lives.node),
        "database": (_database(settings.database_user), lives.database),
    }
    path = f"{settings.mounts.pki}/config/crl"
    return [
        written("list of the revoked", path, lambda _: _REVOKED),
        *(
            _role(
                settings, name, {**_COMMON, **rule, "ttl": seconds(life), "max_ttl": seconds(life)}
            )
            for name, (rule, life) in rules.items()
        ),
    ]


def tokens(settings: SetupSettings) -> list[Step]:
    """AppRole for each process, cert auth for certificates, the role of those who join."""
    return [
        *(_approle(settings, name) for name in PROCESSES),
        *(_cert(settings, name, f"spiffe://sentinel/{name}") for name in ("hub", "console")),
        _cert(settings, "node", "spiffe://sentinel/node/*"),
        _joining(settings),
    ]


def _role(settings: SetupSettings, name: str, values: Mapping[str, Any]) -> Step:
    path = f"{settings.mounts.pki}/roles/{name}"
    return written(f"certificates of {name}", path, lambda _: values)


def _server(name: str) -> dict[str, Any]:
    return {
        "allow_any_name": True,  # which DNS names a hub has is the site's business
        "allow_localhost": True,
        "enforce_hostnames": True,
        "allow_ip_sans": True,
        "allowed_uri_sans": [f"spiffe://sentinel/{name}"],
        "client_flag": True,  # it signs in to Vault by it; its name keeps it from being a node's
        "server_flag": True,
    }


def _node() -> dict[str, Any]:
    bearer = "{{identity.entity.metadata.node}}"
    return {
        "allow_any_name": False,
        "allowed_domains": [bearer],
        "allowed_domains_template": True,
        "allow_bare_domains": True,
        "allow_glob_domains": False,
        "allow_localhost": False,
        "allow_ip_sans": False,
        "enforce_hostnames": True,
        "allowed_uri_sans": [f"spiffe://sentinel/node/{bearer}"],
        "allowed_uri_sans_template": True,
        "client_flag": True,
        "server_flag": False,
    }


def _database(user: str) -> dict[str, Any]:
    return {
        "allow_any_name": False,
        "allowed_domains": [user],
        "allow_bare_domains": True,
        "allow_glob_domains": False,
        "allow_localhost": False,
        "allow_ip_sans": False,
        "enforce_hostnames": False,  # PostgreSQL's names of roles are no host names
        "allowed_uri_sans": [f"spiffe://sentinel/database/{user}"],
        "client_flag": True,
        "server_flag": False,
    }


def _approle(settings: SetupSettings, name: str) -> Step:
    values = {
        "token_policies": [f"{settings.prefix}-{name}"],
        "token_no_default_policy": True,
        "token_ttl": seconds(settings.lifetimes.token),
        "token_max_ttl": seconds(settings.lifetimes.token),
        "token_type": "service",  # so that it can be taken back
        "bind_secret_id": True,
        "secret_id_ttl": seconds(settings.lifetimes.secret_id),
    }
    path = f"auth/{settings.mounts.approle}/role/{name}"
    return written(f"AppRole {name}", path, lambda _: values)


def _cert(settings: SetupSettings, name: str, uri: str) -> Step:
    def values(door: Door) -> dict[str, Any] | None:
        pem = authority_pem(door, settings.mounts.pki)
        if pem is None:
            return None
        return {
            "certificate": pem,
            "allowed_uri_sans": [uri],
            "token_policies": [f"{settings.prefix}-{name}"],
            "token_no_default_policy": True,
            "token_ttl": seconds(settings.lifetimes.token),
            "token_max_ttl": seconds(settings.lifetimes.token),
            "token_type": "service",
        }

    path = f"auth/{settings.mounts.cert}/certs/{name}"
    what = f"sign-on by certificate of {name}"
    return written(what, path, values, until="the authority" if settings.own_ca else "")


def _joining(settings: SetupSettings) -> Step:
    policy = f"{settings.prefix}-enroll"
    values = {
        "allowed_policies": [policy],
        "allowed_entity_aliases": [
            "*"
        ],  # the node's name; only the fleet's policy reaches this role
        "orphan": True,  # it outlives the administrator's own token
        "renewable": False,
        "token_no_default_policy": True,
        "token_type": "service",
        "token_explicit_max_ttl": 3600,  # seconds; a ticket says less
    }
    return written("tokens of those who join", f"auth/token/roles/{policy}", lambda _: values)
