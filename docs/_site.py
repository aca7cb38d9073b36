"""What the docs site needs beside mkdocs.yml: hooks of MkDocs.

- Pages link to files outside docs/ as GitHub shows them; those files come into the site, under
  `repository/`, and links are turned to lead there. README.md is the first page.
- Every command has a page, made of its help.
- The Python API is read from the sources, laid out as a wheel has them.
- A page that would load anything from elsewhere ends the build: the site works offline.
"""

from __future__ import annotations

import posixpath
import re
import shutil
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
STAGES = ("calibration", "export", "runtime", "train")
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)]*)?(\))")
FENCE = re.compile(r"(^```.*?^```)", re.MULTILINE | re.DOTALL)
LOADS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio)\b[^>]*?\bsrc=["']?(https?:|//)[^"'\s>]*"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|icon|preconnect|preload))[^>]*?"""
    r"""\bhref=["']?(https?:|//)[^"'\s>]*"""
    r"""|(?:@import\s+|url\()["']?(https?:|//)[^"')\s]*""",
    re.IGNORECASE,
)
"""What a browser fetches by itself from another place."""


def site_path(origin: str) -> str:
    """Where a file of the repository lies in the site; both paths are relative, with slashes."""
    if origin == "README.md":
        return "index.md"
    return origin[5:] if origin.startswith("docs/") else f"repository/{origin}"


def linked(text: str, origin: str) -> Iterator[tuple[str, str]]:
    """Links of a page to other files: as they are spelled, and as paths in the repository."""
    for part in FENCE.split(text)[::2]:
        for match in LINK.finditer(part):
            if not re.match(r"[a-z]+:", match[2]):
                folder = posixpath.dirname(origin)
                yield match[2], posixpath.normpath(posixpath.join(folder, match[2]))


def with_site_links(text: str, origin: str) -> str:
    """The text of a page of the repository with its links as they are in the site."""
    here = posixpath.dirname(site_path(origin))
    spelled = {
        given: posixpath.relpath(site_path(target), here or ".")
        for given, target in linked(text, origin)
        if (REPOSITORY / target).is_file()
    }
    parts = FENCE.split(text)
    parts[::2] = [
        LINK.sub(lambda m: m[1] + spelled.get(m[2], m[2]) + (m[3] or "") + m[4], part)
        for part in parts[::2]
    ]
    return "".join(parts)


def on_startup(**_: Any) -> None:
    """Lay out the package as a wheel has it: mkdocstrings wants the folder before `on_config`."""
    package = REPOSITORY / "build/package/adcvsr"
    shutil.rmtree(package.parent, ignore_errors=True)
    sources = {"src/adcvsr": ".", **{each: each for each in STAGES}}
    for source, inside in sources.items():
        for path in (REPOSITORY / source).rglob("*.py"):
            copy = package / inside / path.relative_to(REPOSITORY / source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every command, and pages nobody named, into the navigation."""
    pages = [{task: list(_command_pages(names))} for task, names in _tasks().items()]
    named = str(config.nav)
    others = (path.name for path in sorted((REPOSITORY / "docs").glob("*.md")))
    more = [name for name in others if f"'{name}'" not in named]
    for section in config.nav or []:
        section.get("How to", []).extend(more)
        for entry in section.get("Reference", []):
            if "Commands" in entry:
                entry["Commands"] = pages
    return config


def _tasks() -> dict[str, tuple[str, ...]]:
    from adcvsr.cli._help import TASKS

    return TASKS


def _command_pages(names: tuple[str, ...]) -> Iterator[dict[str, str]]:
    return ({name: f"reference/commands/{name}.md"} for name in names)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the first page, a page a command, and what pages link to outside docs/."""
    from mkdocs.structure.files import File

    todo = ["README.md"]
    todo += [f"docs/{file.src_uri}" for file in files.documentation_pages()]
    seen: set[str] = set()
    while todo:
        origin = todo.pop()
        if origin in seen or not (REPOSITORY / origin).is_file():
            continue
        seen.add(origin)
        if not origin.startswith("docs/"):
            path = REPOSITORY / origin
            if origin.endswith(".md"):
                text = with_site_links(path.read_text(encoding="utf-8"), origin)
                files.append(File.generated(config, site_path(origin), content=text))
            else:
                files.append(File.generated(config, site_path(origin), abs_src_path=str(path)))
        if origin.endswith(".md"):
            text = (REPOSITORY / origin).read_text(encoding="utf-8")
            todo += [target for _, target in linked(text, origin)]
    for name in (name for names in _tasks().values() for name in names):
        uri = f"reference/commands/{name}.md"
        files.append(File.generated(config, uri, content=_command_page(name)))
    return files


def _command_page(name: str) -> str:
    import click

    from adcvsr.cli.commands import load_command

    parts = []
    todo = [(f"adcvsr {name}", load_command(name))]
    while todo:
        words, command = todo.pop(0)
        parts.append(_described(words, command, click.Context(command, info_name=words)))
        below = getattr(command, "commands", getattr(command, "below", {}))
        todo += [(f"{words} {each}", below[each]) for each in below]
    return "\n".join(parts)


def _described(words: str, command: click.Command, context: click.Context) -> str:
    """One command: what its help says, options as a table."""
    heading = "#" * words.count(" ")
    usage = " ".join(command.collect_usage_pieces(context))
    text = cleandoc(command.help or "").replace("\b\n", "")
    lines = [f"{heading} {words}", "", _plain(text), "", "```text", f"{words} {usage}", "```", ""]
    records = (each.get_help_record(context) for each in command.get_params(context))
    rows = [record for record in records if record and record[1]]
    if rows:
        lines += ["| option | meaning |", "|---|---|"]
        lines += [f"| `{_cell(names)}` | {_plain(_cell(text))} |" for names, text in rows]
    if command.epilog:
        examples = re.findall(r"^ *(adcvsr .+)$", command.epilog, re.MULTILINE)
        lines += ["", "```sh", *examples, "```"]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _plain(text: str) -> str:
    """Help text, in which nothing is Markdown."""
    return re.sub(r"([*_<`])", r"\\\1", text)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn the links of pages in docs/; those from elsewhere were turned as they were added."""
    markdown = markdown.replace("-->\n|", "-->\n\n|")  # a table under a mark is one for GitHub
    if page.file.generated_by:
        return markdown
    return with_site_links(markdown, f"docs/{page.file.src_uri}")


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search dialog, which a screen reader announces."""
    dialog = 'data-md-component="search" role="dialog"'
    return output.replace(dialog, f'{dialog} aria-label="Search"')


def on_post_build(config: MkDocsConfig) -> None:
    """Refuse a site that loads anything from elsewhere."""
    from mkdocs.exceptions import PluginError

    found = []
    for path in Path(config.site_dir).rglob("*"):
        if path.suffix in (".html", ".css"):
            matches = LOADS.finditer(path.read_text(encoding="utf-8"))
            name = path.relative_to(config.site_dir)
            found += [f"{name}: {match[0][-80:]}" for match in matches]
    if found:
        raise PluginError("the site is to work offline, and loads:\n" + "\n".join(found))
