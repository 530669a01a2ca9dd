"""Prints every expression of a Grafana dashboard as recording rules, with Grafana's variables filled in, for `promtool check rules`."""

import json
import sys

dashboard = json.load(open(sys.argv[1], encoding="utf-8"))
FILLED = {"$__rate_interval": "5m", "$__range": "1h", "$job": "soproxy", "$instance": ".*", "$tenant": ".*"}
rules = []


def expression(text):
    for name, value in FILLED.items():
        text = text.replace(name, value)
    assert "$" not in text, f"a variable that nobody fills in: {text}"
    rules.append({"record": f"dashboard:expression_{len(rules)}", "expr": text})


def walk(panels):
    for panel in panels:
        walk(panel.get("panels", []))
        for target in panel.get("targets", []):
            expression(target["expr"])


walk(dashboard["panels"])
assert len(rules) > 20, "the dashboard has expressions"
# JSON is YAML.
print(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}, indent=1))
