"""Makes the walkthrough pages and the table of scenarios: texts from the scenario files, verdicts from a real run."""
