"""Who may import whom, what the edge may need, and that what is public says what it is."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAY_IMPORT = {
    "edge": {"edge"},
    "pipeline": {"edge", "pipeline"},
    "convert": {"edge", "convert"},
    "tools": {"edge", "pipeline", "convert", "tools"},
}
MODULE_OF = {  # package -> the name it is imported by
    "tflite-runtime": "tflite_runtime",
    "ai-edge-litert": "ai_edge_litert",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
}
OPTIONAL = {"edge/signature.py": {"model_signing"}}  # what a file of the edge may load when it is called for
HEAVY = {"tensorflow", "keras", "mediapipe", "sklearn", "matplotlib", "imagehash", "kagglehub", "scipy", "pandas"}
FILES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))
EDGE_FILES = [path for path in FILES if path.parent.name == "edge"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> list[str]:
    """Absolute names of what a file imports, wherever in it, relative imports resolved."""
    package = ["facetell", *path.relative_to(ROOT).parent.parts]
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names += [f"{module}.{alias.name}" for alias in node.names]
    return names


def base_modules() -> set[str]:
    """The modules that an installation without extras brings."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"].split("\n")
    packages = {re.split(r"[^a-z0-9-]", line.strip())[0] for line in lines if line.strip()}
    return {MODULE_OF.get(package, package) for package in packages}


def test_the_four_packages_are_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(MAY_IMPORT)
    assert "facetell.edge.runtime.TFLiteModel" in imported(ROOT / "edge" / "blazeface.py")
    assert {"numpy", "click", "cv2", "PIL", "tflite_runtime"} <= base_modules()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_who_imports_whom(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    ours = [name.split(".")[1:2] for name in imported(path) if name.split(".")[0] == "facetell"]
    assert {name for names in ours for name in names} <= allowed


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_between_our_folders_are_relative(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    modules = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in modules if name.split(".")[0] in {"facetell", *MAY_IMPORT}] == []


@pytest.mark.parametrize("path", EDGE_FILES, ids=name_of)
def test_the_edge_needs_only_the_base_dependencies(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    allowed = base_modules() | OPTIONAL.get(name_of(path), set())
    assert roots - sys.stdlib_module_names - {"facetell"} <= allowed


def test_the_edge_loads_nothing_heavy() -> None:
    modules = [f"facetell.edge.{path.stem}" for path in EDGE_FILES if path.stem != "__init__"]
    code = "import sys\n" + "\n".join(f"import {module}" for module in modules) + "\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert set(modules) <= loaded
    assert not loaded & HEAVY.union(*OPTIONAL.values())


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_is_public_says_what_it_is(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

    def public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
        return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]

    top = public(tree.body)
    methods = [method for node in top if isinstance(node, ast.ClassDef) for method in public(node.body)]
    assert [node.name for node in [*top, *methods] if not ast.get_docstring(node)] == []
