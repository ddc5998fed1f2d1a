"""The image bouncer: one webhook server that says which container images may run.

`reference` reads an image reference, `policy` judges it by rules that options or a `policy_file` give, `review` decodes
what the API server asks and encodes the answer, `podimages` finds every image of a workload. `handler` speaks HTTP;
`certificates`, `listener` and `server` carry it over TLS from start to drain; `cli` reads the options.
``python -m lab.bouncer`` needs nothing of the lab but this package and `lab.errors`, and with a policy file
`lab.strict_yaml`, so that it starts fast and small inside a Pod.
"""
