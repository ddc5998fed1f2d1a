"""Reports: terminal, JSON, JUnit XML and the failure bundle. They print what the result says and decide nothing."""
