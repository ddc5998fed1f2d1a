"""What the lab is measured by, each figure beside that of a named peer from the same run.

A second on one machine says little about a second on another, and nothing while somebody else uses the machine. So the
lab and its peer take turns (A B A B), each round gives one ratio, and the ratios are what a target is about wherever
there is a peer. A peer that cannot be run here is told as not measured; its figure is never taken from elsewhere.

Data flow: `measurements` (what is measured, in which order) asks a `subject` (the lab) and `peers`, and makes the rows
of a `report`, which `rendering` turns into text. Nothing here is asserted by a test: machines differ.
"""
