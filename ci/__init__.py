"""What only the project's own CI needs: what a night found and what it changed, and programs that no lab runs.

Not in `lab`, because it compares with what the walkthroughs print, and because users need none of its programs. The
workflows in ``.github/workflows`` and people call it through make.
"""
