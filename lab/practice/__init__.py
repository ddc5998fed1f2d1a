"""Practice: a person is put into a scenario's start state, works in the lab, and is graded by what the cluster does.

    record      what is remembered of a lab: the attempt under way, and those before
    session     begins an attempt, puts it back, gives hints, has it graded
    grading     points from the outcomes of checks, and what a person is told about each
    clock       times as a person reads them
    terminal    the task, the grade and the solution for a terminal
    json_report the grade for programs

Nothing here parses a command line. Only the last two render; the others give back values.
"""
