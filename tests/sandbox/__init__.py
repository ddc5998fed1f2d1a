"""Sets a test machine up for kind: Docker where there is none, and ways round what the machine lacks.

Nothing here is part of the product: a user has Docker, and a machine that is allowed what Docker asks for. A machine of
CI may have neither. What it lacks is found out at run time, so that the same commands do nothing more than needed on an
ordinary one::

    python -m tests.sandbox up            install and start Docker, unless one answers
    python -m tests.sandbox status        what runs, and what the machine lacks
    python -m tests.sandbox kind-config   what a kind cluster needs here, as part of a kind configuration
    python -m tests.sandbox down          stop the Docker that `up` started

    machine          what this machine lacks
    engine           installs, starts and stops Docker
    runtime_wrapper  between Docker and runc: takes away the capabilities that the machine lacks
    kind_needs       the part of a kind configuration that makes a node run here
"""
