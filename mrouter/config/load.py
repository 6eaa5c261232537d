"""Load a configuration file: TOML in, a role's configuration or every mistake in it out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mrouter.config.home_agent_schema import HomeAgentFile, ServedTable
from mrouter.config.ipv4 import parse_ipv4_network
from mrouter.config.model import CorrespondentNodeConfig, HomeAgentConfig, MobileRouterConfig
from mrouter.config.schema import (
    ConfigFile,
    CorrespondentNodeFile,
    MobileRouterFile,
    MobileRouterTable,
)
from mrouter.errors import ConfigError, FileError, Problem
from mrouter.protocol.settings import (
    CorrespondentNodeSettings,
    HomeAgentSettings,
    MobileRouterSettings,
    PeerHomeAgent,
    ServedMobileRouter,
)
from mrouter.toml_model import (
    Network,
    as_list,
    find_nested_prefixes,
    find_repeats,
    iter_values,
    parse_address,
    parse_prefix,
    validate,
)
from mrouter.toml_source import (
    KeyPath,
    MistakeError,
    TomlSource,
    read_toml,
    show,
    sorted_by_line,
    suggest,
)
from mrouter.wire.constants import MAX_IFPRI, Dialect
from mrouter.wire.home_discovery import find_anycast_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ipaddress import IPv6Address

T = TypeVar("T")

_MOBILE_ROUTER = "mobile-router"
_HOME_AGENT = "home-agent"
_ROLES = (_MOBILE_ROUTER, _HOME_AGENT, "correspondent-node")


def load_config(
    file: Path | TomlSource,
) -> MobileRouterConfig | HomeAgentConfig | CorrespondentNodeConfig:
    """Load the configuration ``file``, read already or not, and the key files that it names.

    Its ``role`` decides which. File names in it are relative to its directory. The policy file
    is not read. Raises `ConfigError` with every problem found; no key shows in any of them.
    """
    try:
        source = file if isinstance(file, TomlSource) else read_toml(file)
    except FileError as error:
        raise ConfigError(error.problems) from None
    context = {"directory": Path(source.file).absolute().parent}
    match source.data.get("role"):
        case "mobile-router":
            router, problems = validate(MobileRouterFile, source, context)
            problems += _find_problems_of_links(source)
            if router is not None and not problems:
                return _make_mobile_router(router)
        case "home-agent":
            agent, problems = validate(HomeAgentFile, source, context)
            problems += _find_problems_of_served(source)
            if agent is not None and not problems:
                return _make_home_agent(agent)
        case "correspondent-node":
            node, problems = validate(CorrespondentNodeFile, source, context)
            if node is not None and not problems:
                return _make_correspondent_node(node)
        case role:
            problems = [_describe_role(source, role)]
    raise ConfigError(sorted_by_line(problems))


def _describe_role(source: TomlSource, role: Any) -> Problem:
    if role is None:
        return source.problem(("role",), "is missing", f'write role = "{_MOBILE_ROUTER}"')
    *others, last = (show(known) for known in _ROLES)
    message = f"must be {', '.join(others)} or {last}"
    suggestion = suggest(role, _ROLES) if isinstance(role, str) else ""
    return source.problem(("role",), message, suggestion)


def _find_problems_of_links(source: TomlSource) -> Iterator[Problem]:
    for key in ("name", "interface", "ifpri"):
        yield from find_repeats(source, "link", key)
    egress = [interface for _, interface in iter_values(source, "link", "interface")]
    table = source.data.get(_MOBILE_ROUTER)
    ingress = as_list(table.get("ingress", [])) if isinstance(table, dict) else []
    for index, name in enumerate(ingress):
        if name in egress:
            path = (_MOBILE_ROUTER, "ingress", index)
            message = "is the interface of a link, which leads out"
            yield source.problem(path, message, "name the interface of the mobile network")
    if source.data.get("dialect") == Dialect.RFC5648.value:
        yield from _find_priorities_without_place(source)


def _find_priorities_without_place(source: TomlSource) -> Iterator[Problem]:
    limit, accepted = MAX_IFPRI[Dialect.RFC5648], range(MAX_IFPRI[Dialect.DRAFT_01] + 1)
    for path, value in iter_values(source, "link", "ifpri"):
        if isinstance(value, int) and value in accepted and value > limit:
            message = f"must be from 0 to {limit} in dialect rfc5648, it is {value}"
            yield source.problem(path, message, "only their order counts: write a lower number")


def _find_problems_of_served(source: TomlSource) -> Iterator[Problem]:
    yield from find_repeats(source, _MOBILE_ROUTER, "name")
    yield from find_repeats(source, _MOBILE_ROUTER, "home-address", parse_address)
    yield from _find_misplaced_home_addresses(source)
    yield from _find_shared_prefixes(source, "prefixes", parse_prefix)
    yield from _find_shared_prefixes(source, "ipv4-prefixes", parse_ipv4_network)


def _find_misplaced_home_addresses(source: TomlSource) -> Iterator[Problem]:
    table = source.data.get(_HOME_AGENT)
    if not isinstance(table, dict):
        return
    prefixes = [
        prefix
        for item in as_list(table.get("home-prefixes", []))
        if (prefix := _read(parse_prefix, item))
    ]
    home_agent = _read(parse_address, table.get("address"))
    for path, value in iter_values(source, _MOBILE_ROUTER, "home-address"):
        address = _read(parse_address, value)
        if address is None:
            continue
        if address == home_agent:
            yield source.problem(path, f"{address} is the address of the home agent")
        if prefixes and not any(address in prefix for prefix in prefixes):
            known = ", ".join(str(prefix) for prefix in prefixes)
            yield source.problem(path, f"{address} lies in no home prefix", f"known: {known}")


def _find_shared_prefixes(
    source: TomlSource, key: str, parse: Callable[[Any], Network]
) -> Iterator[Problem]:
    paths: list[KeyPath] = []
    prefixes: list[Network] = []
    for path, value in iter_values(source, _MOBILE_ROUTER, key):
        prefix = _read(parse, value)
        if prefix is not None:
            paths.append(path)
            prefixes.append(prefix)
    for one, other in find_nested_prefixes(prefixes):
        later, earlier = max(one, other), min(one, other)
        if paths[later][:2] != paths[earlier][:2]:
            line = source.line_of(paths[earlier])
            message = f"{prefixes[later]} overlaps {prefixes[earlier]} in line {line}"
            yield source.problem(paths[later], message, "a prefix belongs to one mobile router")


def _read(parse: Callable[[Any], T], value: Any) -> T | None:
    """Read ``value``, or return None if it is wrong: then it has a problem of its own."""
    try:
        return parse(value)
    except MistakeError:
        return None


def _common(file: ConfigFile) -> dict[str, Any]:
    return {
        "log_level": file.log_level,
        "dialect": file.dialect,
        "coainfo_type": file.coainfo_type,
        "encapsulation": file.dataplane.encapsulation,
        "metrics": file.metrics.listen,
        "control_socket": file.control.socket,
    }


def _make_mobile_router(file: MobileRouterFile) -> MobileRouterConfig:
    table = file.mobile_router
    settings = MobileRouterSettings(
        home_address=table.home_address,
        home_agent=_find_home_agent(table),
        prefixes=tuple(table.prefixes),
        explicit=table.prefix_mode,
        security=file.security[0].to_association() if file.security else None,
        lifetime=table.lifetime,
        first_registration_timeout=table.first_registration_timeout,
        ifid_renewal=table.ifid_renewal or None,
        correspondents=tuple(table.correspondents),
        follow_rfc5648=file.dialect is Dialect.RFC5648,
        ipv4_prefixes=tuple(table.ipv4_prefixes),
    )
    return MobileRouterConfig(
        settings=settings,
        links=tuple(link.to_link() for link in file.link),
        ingress=tuple(table.ingress),
        policy=table.policy,
        deregister_on_stop=table.deregister_on_stop,
        push_policies=table.push_policies,
        route_optimization=file.dataplane.route_optimization,
        discover=table.home_agent is None,
        state_directory=file.state_directory,
        **_common(file),
    )


def _find_home_agent(table: MobileRouterTable) -> IPv6Address:
    if table.home_agent is not None:
        return table.home_agent
    assert table.home_prefix is not None, "the schema requires it"  # noqa: S101
    return find_anycast_address(table.home_prefix)


def _make_home_agent(file: HomeAgentFile) -> HomeAgentConfig:
    table = file.home_agent
    settings = HomeAgentSettings(
        address=table.address,
        home_prefixes=tuple(table.home_prefixes),
        served=tuple(_make_served(row) for row in file.mobile_router),
        max_lifetime=table.max_lifetime,
        min_lifetime=table.min_lifetime,
        timestamp_window=table.timestamp_window,
        nemo=table.nemo,
        home_link=table.home_link,
        preference=table.preference,
        peers=tuple(PeerHomeAgent(row.address, row.preference, row.nemo) for row in table.peers),
        prefix_lifetime=table.prefix_lifetime,
        prefix_advertisements=table.prefix_advertisements,
        refuse_mixed=file.dialect is Dialect.RFC5648,
        require_addresses=file.dialect is Dialect.RFC5648,
    )
    return HomeAgentConfig(settings=settings, ipv4_exit=table.ipv4_exit, **_common(file))


def _make_served(row: ServedTable) -> ServedMobileRouter:
    return ServedMobileRouter(
        home_address=row.home_address,
        prefixes=tuple(row.prefixes),
        security=tuple(association.to_association() for association in row.security),
        name=row.name,
        ipv4_prefixes=tuple(row.ipv4_prefixes),
    )


def _make_correspondent_node(file: CorrespondentNodeFile) -> CorrespondentNodeConfig:
    table = file.correspondent_node
    settings = CorrespondentNodeSettings(
        table.address,
        table.max_lifetime,
        require_addresses=file.dialect is Dialect.RFC5648,
    )
    return CorrespondentNodeConfig(
        settings=settings,
        route_optimization=file.dataplane.route_optimization,
        **_common(file),
    )
