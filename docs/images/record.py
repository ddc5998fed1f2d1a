"""Records the README's picture: what `lab run` prints, and nothing that it does not print.

Run it with `make picture`, on a machine that has nothing else to do, since the picture shows seconds.
"""

# ruff: noqa: INP001 - a script beside the picture that it makes

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

PICTURE = Path(__file__).with_name("run.svg")
COMMAND = (
    "lab", "run", "--no-mistakes", "gatekeeper-trusted-images", "imagepolicy-enable", "imagepolicy-fail-closed",
)  # fmt: skip
COLUMNS = 112

THEME = TerminalTheme(
    background=(22, 27, 34),
    foreground=(214, 220, 227),
    normal=[
        (72, 79, 88), (248, 113, 113), (74, 200, 120), (224, 176, 80),
        (110, 168, 254), (206, 147, 255), (86, 204, 220), (214, 220, 227),
    ],
)  # fmt: skip

FRAME = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
  <title>A run of three scenarios: each request, the verdict, who decided, and the message</title>
  <style>
    .{unique_id}-matrix {{
      font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace;
      font-size: {char_height}px; line-height: {line_height}px; font-variant-ligatures: none;
    }}
    {styles}
  </style>
  <defs>
    <clipPath id="{unique_id}-clip-terminal">
      <rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
    </clipPath>
    {lines}
  </defs>
  {chrome}
  <g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
    {backgrounds}
    <g class="{unique_id}-matrix">
    {matrix}
    </g>
  </g>
</svg>
"""
"""rich's own frame without its web font: a picture should fetch nothing."""


def main() -> None:
    """Run the scenarios and write the picture."""
    environment = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "TERM": "xterm-256color"}
    ended = subprocess.run(
        (sys.executable, "-m", *COMMAND), stdout=subprocess.PIPE, env=environment, text=True, check=True
    )
    console = Console(record=True, width=COLUMNS, file=StringIO(), color_system="truecolor", force_terminal=True)
    console.print(Text.assemble(("$ ", "bold green"), (" ".join(COMMAND), "bold")), soft_wrap=True)
    console.print(Text.from_ansi(ended.stdout), highlight=False)
    picture = console.export_svg(title="", theme=THEME, code_format=FRAME, unique_id="run")
    PICTURE.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
