"""Which package may import which, read from the source and checked in a fresh interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = {"torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors"}


def sources(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, lazily too; of `from a import b` both `a` and `a.b`."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = ".".join((*(parts[:-level] if level else ()), *([module] if module else ())))
                yield base
                yield from (f"{base}.{alias.name}" for alias in names)
            case ast.Call(func=ast.Name(id="__import__" | "import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield name


def offences(paths: list[Path], *forbidden: str) -> list[str]:
    return [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imports(path)
        if any(name == module or name.startswith(f"{module}.") for module in forbidden)
    ]


def test_imports_are_read_wherever_they_stand() -> None:
    assert {"bot.console", "bot.check.run_check"} <= set(imports(ROOT / "bot/__main__.py"))
    assert "torch" in set(imports(ROOT / "models/engine/server.py"))


def test_models_outside_engine_and_bot_never_import_torch_and_its_kin() -> None:
    engine = ROOT / "models/engine"
    light = [path for path in sources("models") if engine not in path.parents] + sources("bot")
    assert offences(light, *HEAVY) == []


def test_models_imports_neither_trainer_nor_bot() -> None:
    assert offences(sources("models"), "trainer", "bot") == []


def test_trainer_does_not_import_bot() -> None:
    assert offences(sources("trainer"), "bot") == []


def test_bot_imports_neither_trainer_nor_more_of_the_engine_than_its_settings() -> None:
    found = offences(sources("bot"), "trainer", "models.engine")
    allowed = ("models.engine.settings", "models.engine.settings.EngineSettings")
    assert [line for line in found if line.rpartition(" ")[2] not in allowed] == []


@pytest.mark.parametrize("module", ["bot.__main__", "bot.service", "bot.console", "bot.discord_front.client"])
def test_a_front_end_loads_neither_torch_nor_transformers(module: str) -> None:
    script = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.stdout.strip(), run.stderr) == ("[]", "")


def test_only_a_main_module_has_a_main_block() -> None:
    blocks = [
        str(path.relative_to(ROOT))
        for package in ("bot", "models", "trainer")
        for path in sources(package)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and "__name__" in {n.id for n in ast.walk(node.test) if isinstance(n, ast.Name)}
    ]
    assert [path for path in blocks if Path(path).stem != "__main__"] == []
