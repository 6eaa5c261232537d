"""nftables as far as our commands use it: a strict model that refuses what the kernel refuses."""

from __future__ import annotations

import copy
import re

from mrouter.dataplane.nft import TABLE

#: Of one family at a time.
_PLACE = rf"(?:ip6|ip) {TABLE}"

_COMMAND = re.compile(rf"(add|delete|flush) (\w+) {_PLACE}(?: (\S+))?(?: (.*))?")
_TARGET = re.compile(r"\b(?:goto|jump) ([\w-]+)")
_SET = re.compile(r"@(?!th,|nh,|ll,)(\w+)")
_COUNTER = re.compile(r"\bcounter name ([\w-]+)")


class RefusedError(Exception):
    pass


class NftModel:
    """``chains`` map a name to (hook, rules), ``sets`` to (kind, declaration, elements)."""

    def __init__(self):
        self.chains, self.sets, self.counters, self.exists = {}, {}, set(), False

    def __eq__(self, other):
        return vars(self) == vars(other)

    def run(self, commands):
        """Run ``commands`` in one transaction; return the names of the chains that it touched."""
        before = copy.deepcopy(vars(self))
        touched = set()
        try:
            for line in commands.splitlines():
                verb, kind, name, rest = _COMMAND.fullmatch(line).groups()
                if kind in ("chain", "rule"):
                    touched.add(name)
                getattr(self, f"_{verb}_{kind}")(name, rest)
        except RefusedError:
            vars(self).update(before)
            raise
        return touched

    def _add_table(self, _name, _rest):
        self.exists = True

    def _delete_table(self, _name, _rest):
        self.chains, self.sets, self.counters, self.exists = {}, {}, set(), False

    def _add_counter(self, name, _rest):
        self._require(name not in self.counters, f"counter {name} is there")
        self.counters.add(name)

    def _delete_counter(self, name, _rest):
        self._require(name not in self._used(_COUNTER), f"counter {name} is used")
        self.counters.remove(name)

    def _add_chain(self, name, hook):
        self._require(name not in self.chains, f"chain {name} is there")
        self.chains[name] = (_inside(hook) if hook else "", [])

    def _flush_chain(self, name, _rest):
        self.chains[name] = (self.chains[name][0], [])

    def _delete_chain(self, name, _rest):
        self._require(not self.chains[name][1], f"chain {name} has rules")
        self._require(name not in self._used(_TARGET), f"chain {name} is used")
        del self.chains[name]

    def _add_rule(self, name, rule):
        self._require(name in self.chains, f"no chain {name}")
        self._check_references([rule])
        self.chains[name][1].append(rule)

    def _add_set(self, name, rest, kind="set"):
        self._require(name not in self.sets, f"set {name} is there")
        declaration, _, elements = _inside(rest).partition(" elements = ")
        self.sets[name] = (kind, declaration, {})
        if elements:
            self._add_element(name, elements.removesuffix(";"))

    def _add_map(self, name, rest):
        self._add_set(name, rest, "map")

    def _delete_set(self, name, _rest, kind="set"):
        self._require(self.sets[name][0] == kind, f"{name} is no {kind}")
        self._require(name not in self._used(_SET), f"set {name} is used")
        del self.sets[name]

    def _delete_map(self, name, rest):
        self._delete_set(name, rest, "map")

    def _add_element(self, name, rest):
        elements = self.sets[name][2]
        for key, value in _read_elements(rest):
            self._require(key not in elements, f"element {key} is there")
            self._check_references([value])
            elements[key] = value

    def _delete_element(self, name, rest):
        for key, _value in _read_elements(rest):
            self._require(key in self.sets[name][2], f"no element {key}")
            del self.sets[name][2][key]

    def _flush_set(self, name, _rest):
        self.sets[name][2].clear()

    _flush_map = _flush_set

    def _used(self, pattern):
        texts = [rule for _hook, rules in self.chains.values() for rule in rules]
        texts += [value for _, _, elements in self.sets.values() for value in elements.values()]
        return _find(pattern, texts)

    def _check_references(self, texts):
        for pattern, known in (
            (_TARGET, self.chains), (_SET, self.sets), (_COUNTER, self.counters),
        ):  # fmt: skip
            missing = _find(pattern, texts) - set(known)
            self._require(not missing, f"unknown: {missing}")

    @staticmethod
    def _require(condition, reason):
        if not condition:
            raise RefusedError(reason)


def model_of(table):
    """Return the model that holds ``table``, made without any command."""
    model = NftModel()
    model.exists = True
    model.counters = set(table.counters)
    model.chains = {chain.name: (chain.hook, list(chain.rules)) for chain in table.chains}
    model.sets = {
        item.name: (item.kind, item.declaration, dict(item.elements)) for item in table.sets
    }
    return model


def _find(pattern, texts):
    return {name for text in texts for name in pattern.findall(text)}


def _inside(text):
    return re.fullmatch(r"\{ (.*) \}", text).group(1)


def _read_elements(text):
    for element in _inside(text).split(", "):
        key, _, value = element.partition(" : ")
        yield key, value
