"""What the pytest plugin is made of: the session's lab, objects and probes in it, scenarios as tests.

The plugin itself (`lab.pytest_plugin`) is loaded in every pytest session and stays thin; these modules are loaded when
a test asks for a lab.
"""
