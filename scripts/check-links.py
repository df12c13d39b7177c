#!/usr/bin/env python3
"""Checks what the Markdown files say of each other: links and anchors lead somewhere, and twins in two languages agree.

    scripts/check-links.py [--root FOLDER]

Looks at every Markdown file of the project and needs no server. Pages of other sites are counted and not fetched.
A file `X_CN.md` is the twin of `X.md`: section by section, it has the same level of heading, the same blocks of code but for
their comments, the same links and the same names in `code`. The drawing of the layers in docs/ARCHITECTURE.md agrees with the table
in tests/it/architecture.rs: each arrow is in the table, and what is in the table can be reached over arrows.
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import re
import sys
import unicodedata
import urllib.parse

# Folders that hold what was built or installed.
SKIPPED = {".git", ".hypothesis", ".pytest_cache", ".schemathesis", "build", "data", "dist", "node_modules", "target", "tools", "venv"}

FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*(.*?)\s*$")
HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINK = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
HTML_ANCHOR = re.compile(r"<a\s+(?:id|name)=\"([^\"]+)\"")
# Where a comment begins, by language; it stands alone or behind a space.
COMMENTS = {
    "sh": "#", "yaml": "#", "toml": "#", "ini": "#", "nginx": "#", "python": "#", "dockerfile": "#",
    "js": "//", "ts": "//", "mermaid": "%%",
}


@dataclasses.dataclass
class Block:
    """A fenced block: its info string, its text, and the line at which the text begins."""

    info: str
    text: str
    line: int

    @property
    def language(self):
        """The first word of the info string."""
        return self.info.split(maxsplit=1)[0] if self.info else ""

    @property
    def words(self):
        """What follows the language in the info string."""
        return "".join(self.info.split(maxsplit=1)[1:])


@dataclasses.dataclass
class Section:
    """A heading with what follows up to the next one. The text before the first heading has level 0."""

    level: int
    title: str
    line: int
    prose: list = dataclasses.field(default_factory=list)
    blocks: list = dataclasses.field(default_factory=list)

    def paragraphs(self):
        """Lines that stand together, as one line with the number of the first. Rows of tables are each their own."""
        begun = None
        for number, text in [*self.prose, (0, "")]:
            if text.strip() and not text.lstrip().startswith("|"):
                begun = (begun[0], begun[1] + " " + text.strip()) if begun else (number, text.strip())
                continue
            if begun:
                yield begun
                begun = None
            if text.strip():
                yield number, text

    def links(self):
        """Targets of links, each with its line or that of its paragraph."""
        for number, text in self.paragraphs():
            for match in LINK.finditer(CODE_SPAN.sub("`", text)):
                yield number, match.group(1)

    def code_spans(self):
        """What stands in `code`."""
        for _, text in self.paragraphs():
            for match in CODE_SPAN.finditer(text):
                yield match.group(2)


@dataclasses.dataclass
class Page:
    """A Markdown file, by sections."""

    path: pathlib.Path
    sections: list

    @property
    def blocks(self):
        """All fenced blocks, in order."""
        return [block for section in self.sections for block in section.blocks]

    def anchors(self):
        """What `#…` may name, as GitHub makes it of headings."""
        seen = collections.Counter()
        found = set()
        for section in self.sections:
            if section.level:
                slug = slug_of(section.title)
                found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
            for _, text in section.prose:
                found.update(HTML_ANCHOR.findall(text))
        return found


def slug_of(title):
    """A heading's anchor: lower case, letters, digits, `-`, `_`, and spaces as hyphens."""
    title = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
    kept = (c for c in title.strip().lower() if c in " -_" or unicodedata.category(c)[0] in "LNM")
    return "".join(kept).replace(" ", "-")


def parse(path):
    """Reads a file. A fence that is not closed is an error."""
    sections = [Section(0, "", 1)]
    fence = None
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match = FENCE.match(text)
        if fence:
            indent, mark, block, lines = fence
            if match and match.group(2).startswith(mark) and not match.group(3):
                block.text = "\n".join(lines) + "\n"
                sections[-1].blocks.append(block)
                fence = None
            else:
                lines.append(text[len(indent):] if text.startswith(indent) else text.lstrip())
        elif match:
            fence = (match.group(1), match.group(2), Block(match.group(3), "", number + 1), [])
        elif heading := HEADING.match(text):
            sections.append(Section(len(heading.group(1)), heading.group(2), number))
            # A heading may hold links and names as well.
            sections[-1].prose.append((number, heading.group(2)))
        else:
            sections[-1].prose.append((number, text))
    if fence:
        raise ValueError(f"{path}:{fence[2].line - 1}: this block is not closed")
    return Page(path, sections)


def pages(root):
    """Every Markdown file of the project."""
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        found += [pathlib.Path(folder, name) for name in sorted(files) if name.endswith(".md")]
    return [parse(path) for path in sorted(found)]


def dead_links(root, every):
    """One sentence for each link that leads nowhere, and how many were looked at."""
    anchors = {page.path.resolve(): page.anchors() for page in every}
    wrong, inside, outside = [], 0, 0
    for page in every:
        at = page.path.relative_to(root)
        for section in page.sections:
            for line, target in section.links():
                if re.match(r"[a-z][a-z0-9+.-]*:", target):
                    outside += 1
                    continue
                inside += 1
                name, _, anchor = urllib.parse.unquote(target).partition("#")
                file = (page.path.parent / name).resolve() if name else page.path.resolve()
                if not file.is_relative_to(root.resolve()):
                    wrong.append(f"{at}:{line}: {target} leads out of the project")
                elif not file.exists():
                    wrong.append(f"{at}:{line}: {target}: there is no such file")
                elif anchor and file in anchors and anchor not in anchors[file]:
                    wrong.append(f"{at}:{line}: {target}: no heading there is called that")
    return wrong, inside, outside


def without_comments(block):
    """A block's lines without comments, and without the lines that held nothing else."""
    mark = COMMENTS.get(block.language)
    lines = block.text.splitlines()
    if mark:
        lines = [re.sub(rf"(^|\s+){re.escape(mark)}(\s.*)?$", "", line) for line in lines]
    return [line.rstrip() for line in lines if line.strip()]


def neutral(target):
    """A link's target without what a language changes: which twin, and anchors made of translated headings."""
    name, _, _ = target.partition("#")
    return re.sub(r"_CN\.md$", ".md", name)


def differing(first, second):
    """What one list has more than the other, in words."""
    one, two = collections.Counter(first), collections.Counter(second)
    return ", ".join([f"only the first has {x}" for x in (one - two)] + [f"only the second has {x}" for x in (two - one)])


def twins_apart(root, first, second):
    """One sentence for each way in which the twins do not agree."""
    one, two = first.path.relative_to(root), second.path.relative_to(root)
    levels = [[s.level for s in page.sections] for page in (first, second)]
    if levels[0] != levels[1]:
        for a, b in zip(first.sections, second.sections):
            if a.level != b.level:
                return [f"{one}:{a.line} “{a.title}” and {two}:{b.line} “{b.title}” are headings of different levels"]
        return [f"{one} has {len(levels[0])} headings, and {two} has {len(levels[1])}"]
    wrong = []
    for a, b in zip(first.sections, second.sections):
        at = f"{one}:{a.line} “{a.title}” and {two}:{b.line}"
        if [x.info for x in a.blocks] != [x.info for x in b.blocks]:
            wrong.append(f"{at}: their blocks of code are {[x.info for x in a.blocks]} and {[x.info for x in b.blocks]}")
        else:
            for x, y in zip(a.blocks, b.blocks):
                if without_comments(x) != without_comments(y):
                    wrong.append(f"{one}:{x.line} and {two}:{y.line}: these blocks differ by more than comments")
        if apart := differing((neutral(t) for _, t in a.links()), (neutral(t) for _, t in b.links())):
            wrong.append(f"{at}: links: {apart}")
        if apart := differing((neutral(s) for s in a.code_spans()), (neutral(s) for s in b.code_spans())):
            wrong.append(f"{at}: names in `code`: {apart}")
    return wrong


def reached(edges, start):
    """Everything to which arrows lead from a start."""
    found, open_ends = set(), [start]
    while open_ends:
        for end in edges.get(open_ends.pop(), set()) - found:
            found.add(end)
            open_ends.append(end)
    return found


def layers_apart(root, every):
    """One sentence for each way in which the drawing of the layers does not agree with the table that the tests hold."""
    source = root / "tests/it/architecture.rs"
    drawings = [block for page in every for block in page.blocks if block.language == "mermaid" and "%% layers" in block.text]
    if not source.exists() or len(drawings) != 1:
        return [f"of {source.relative_to(root)} and a drawing marked `%% layers`, there must be one each"]
    text = source.read_text(encoding="utf-8").partition("const LAYERS")[2].partition("\n];")[0]
    table = {name: set(re.findall(r'"(\w+)"', below)) for name, below in re.findall(r'\(\s*"(\w+)",\s*&\[(.*?)\]', text, re.DOTALL)}
    drawn = {}
    for start, end in re.findall(r"^\s*(\w+) --> (\w+)$", drawings[0].text, re.MULTILINE):
        drawn.setdefault(start, set()).add(end)
    at = "the drawing of the layers"
    if not table:
        return [f"{source.relative_to(root)} has no table LAYERS that could be read"]
    wrong = [f"{at}: {a} may not use {b}" for a in sorted(drawn) for b in sorted(drawn[a] - table.get(a, set()))]
    wrong += [f"{at}: {a} may use {b}, and no arrows lead there" for a in sorted(table) for b in sorted(table[a] - reached(drawn, a))]
    known = set(drawn) | {end for ends in drawn.values() for end in ends}
    return wrong + [f"{at}: {name} is missing" for name in sorted(set(table) - known)]


def check(root):
    """Everything that is wrong, and a line that says what was looked at."""
    every = pages(root)
    wrong, inside, outside = dead_links(root, every)
    wrong += layers_apart(root, every)
    by_path = {page.path: page for page in every}
    twins = 0
    for page in every:
        original = by_path.get(page.path.with_name(page.path.name.removesuffix("_CN.md") + ".md"))
        if page.path.name.endswith("_CN.md"):
            twins += 1
            if original is None:
                wrong.append(f"{page.path.relative_to(root)}: there is no page that it would be the twin of")
            else:
                wrong += twins_apart(root, original, page)
    said = f"{len(every)} pages, {inside} links inside the project, {outside} to elsewhere (not fetched), {twins} twins"
    return wrong, said


def main():
    """Prints what is wrong; ends with 1 if anything is."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    try:
        wrong, said = check(options.parse_args().root.resolve())
    except ValueError as error:
        print(f"check-links: {error}", file=sys.stderr)
        return 1
    print(f"check-links: {said}")
    for sentence in wrong:
        print(f"check-links: {sentence}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
