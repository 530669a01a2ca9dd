"""Fails when an alert has no test that has it fire, or none that has it keep quiet."""

import re
import sys

rules, tests = (open(path, encoding="utf-8").read() for path in sys.argv[1:3])
alerts = re.findall(r"- alert: (\w+)", rules)
assert alerts
for alert in alerts:
    assert re.search(rf"alertname: {alert}\n\s+exp_alerts:\n\s+- exp_labels", tests), f"no test has {alert} fire"
    assert f"alertname: {alert}, exp_alerts: []" in tests, f"no test has {alert} keep quiet"
print(f"all {len(alerts)} alerts have a test that has them fire, and one that has them keep quiet")
