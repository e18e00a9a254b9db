"""Reads the `use` declarations and paths of every crate and refuses import circles.

The modules of a folder (files and folders alike) form a graph: an edge for each import from one of them, or from below
it, into another. A parent may use its children, and they may use what stands in it; everything else is an edge.
Re-exports are followed to where an item is defined. Tests (`#[cfg(test)]`) are free to import.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

CRATES = {
    "proto": "proto/src",
    "block": "storage/block/src",
    "storage": "storage/src",
    "rocks": "storage/rocks/src",
    "collector": "collector/src",
    "demo": "collector/demo/src",
    "gate": "gate/src",
    "traceql": "query/traceql/src",
    "engine": "query/engine/src",
    "query": "query/src",
    "binary": "src",
}

# The layers of the store: what each folder may import of the others. None may import what stands in store/mod.rs.
STORE_LAYERS = {
    "core": [],
    "read": ["core"],
    "query": ["core", "read"],
    "write": ["core", "read"],
    "lifecycle": ["core", "read", "query", "write"],
    "maintenance": ["core", "read", "query", "write", "lifecycle"],
    "open": ["core", "read", "lifecycle", "maintenance"],
    "backup": ["core", "read", "lifecycle"],
}

PATH = re.compile(r"\b(?:crate|super|self)(?:\s*::\s*\w+)+")
USE = re.compile(r"^[ \t]*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", re.M)
TEST_MOD = re.compile(r"#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:#\[[^\]]*\]\s*)*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*(;|\{)")


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def strip(text):
    """The code without comments, strings and inline test modules, line numbers kept."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\])*\"", blank, text, flags=re.S)
    outside = set()
    while match := next((m for m in TEST_MOD.finditer(text)), None):
        if match.group(2) == ";":
            outside.add(match.group(1))
            end = match.end()
        else:
            depth, end = 1, match.end()
            while depth and end < len(text):
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
        text = text[: match.start()] + re.sub(r"[^\n]", " ", text[match.start() : end]) + text[end:]
    return text, outside


def expand(tree):
    """`a::{b, c::{d as e}}` as [(a::b, b), (a::c::d, e)]."""
    tree = tree.strip()
    brace = tree.find("{")
    if brace < 0:
        path, _, alias = tree.partition(" as ")
        path = re.sub(r"\s", "", path)
        if path.endswith("::self"):
            path = path[: -len("::self")]
        return [(path, alias.strip() or path.rsplit("::", 1)[-1])] if path else []
    prefix, inner = tree[:brace], tree[brace + 1 : tree.rfind("}")]
    parts, depth, part = [], 0, ""
    for char in inner:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if char == "," and not depth:
            parts.append(part)
            part = ""
        else:
            part += char
    return [pair for part in [*parts, part] if part.strip() for pair in expand(prefix + part)]


class Crate:
    def __init__(self, name, root):
        self.name, self.root = name, Path(root)
        self.code, self.file, test_files = {}, {}, set()
        for file in sorted(self.root.rglob("*.rs")):
            parts = list(file.relative_to(self.root).with_suffix("").parts)
            if parts[-1] in ("mod", "lib", "main") and (parts[-1] == "mod" or len(parts) == 1):
                parts.pop()
            module = tuple(parts)
            code, tests = strip(file.read_text())
            self.code[module], self.file[module] = code, file
            test_files |= {module + (test,) for test in tests}
        for test in test_files:
            for module in [m for m in self.code if m[: len(test)] == test]:
                del self.code[module]
        self.exports = defaultdict(dict)
        for module, code in self.code.items():
            for match in USE.finditer(code):
                if match.group(1):
                    for path, alias in expand(match.group(2)):
                        self.exports[module][alias] = self.absolute(module, path)

    def absolute(self, module, path):
        parts = path.split("::")
        head = parts.pop(0)
        if head == "crate":
            base = ()
        elif head == "self":
            base = module
        elif head == "super":
            base = module[:-1]
            while parts and parts[0] == "super":
                parts.pop(0)
                base = base[:-1]
        elif module + (head,) in self.code:
            base, parts = module, [head, *parts]
        else:
            return None
        return base + tuple(parts)

    def defines(self, path, seen=()):
        """The module that defines what a path names: the longest prefix, through re-exports."""
        module = ()
        for depth, part in enumerate(path):
            if module + (part,) in self.code:
                module += (part,)
                continue
            target = self.exports[module].get(part)
            if target and target not in seen:
                return self.defines(target + path[depth + 1 :], (*seen, target))
            break
        return module

    def imports(self):
        """(module, module that it imports from, file:line)."""
        for module, code in self.code.items():
            found = []
            for match in USE.finditer(code):
                found += [(path, match.start(2)) for path, _ in expand(match.group(2))]
            code = USE.sub(blank, code)
            found += [(re.sub(r"\s", "", match.group(0)), match.start()) for match in PATH.finditer(code)]
            for path, at in found:
                absolute = self.absolute(module, path.removesuffix("::*"))
                if absolute is not None:
                    line = self.code[module].count("\n", 0, at) + 1
                    yield module, self.defines(absolute), f"{self.file[module]}:{line}"


def circles(edges):
    """The strongly connected parts of a graph that have more than one node."""
    graph = defaultdict(set)
    for a, b in edges:
        graph[a].add(b)

    def reach(start):
        seen, todo = set(), [start]
        while todo:
            for node in graph[todo.pop()] - seen:
                seen.add(node)
                todo.append(node)
        return seen

    reached = {node: reach(node) for node in list(graph)}
    return {frozenset(n for n in reached[a] if a in reached.get(n, ())) for a in reached if a in reached[a]}


def main():
    complaints = []
    for name, root in CRATES.items():
        crate = Crate(name, root)
        edges = defaultdict(dict)  # folder -> (child, child) -> where
        for module, target, where in crate.imports():
            common = 0
            while common < min(len(module), len(target)) and module[common] == target[common]:
                common += 1
            if len(module) > common and len(target) > common:
                edges[module[:common]].setdefault((module[common], target[common]), where)
            if name == "storage" and module[:1] == ("store",) and len(module) > 1 and target[:1] == ("store",):
                layer, other = module[1], target[1] if len(target) > 1 else "mod.rs"
                if other != layer and other not in STORE_LAYERS.get(layer, []):
                    complaints.append(f"{where}: store/{layer} may not import store/{other}")
        for folder, found in edges.items():
            place = "/".join((name, *folder))
            for circle in circles(found):
                complaints.append(f"{place}: a circle of imports among {', '.join(sorted(circle))}:")
                for edge in sorted(found):
                    if set(edge) <= circle:
                        complaints.append(f"    {edge[0]} -> {edge[1]}, in {found[edge]}")
    print("\n".join(complaints), file=sys.stderr, end="\n" if complaints else "")
    return bool(complaints)


if __name__ == "__main__":
    sys.exit(main())
