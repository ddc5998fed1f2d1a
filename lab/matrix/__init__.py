"""The verdict matrix: every way in which an image gets into a cluster, against every point that can decide about it.

Data flows one way: the decision points (`lab.matrix.points`) and the requests (`lab.matrix.requests`) are given,
measuring (`lab.matrix.measure`) turns them into cells, and the printers (`lab.matrix.terminal`, `lab.matrix.page`,
`lab.matrix.json_report`) read those and decide nothing. Verdicts and their causes come from `lab.scenario` alone.
"""
