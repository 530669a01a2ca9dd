"""Counts the secrets of a configuration in a core, without those that the program itself carries (the sandbox's demo)."""

import base64
import pathlib
import re
import sys

core = pathlib.Path(sys.argv[1]).read_bytes()
program = pathlib.Path(sys.argv[2]).read_bytes()
config = pathlib.Path(sys.argv[3])
failed = False


def judge(what, needle, most):
    """`most`: how often it may be there. The program's own read-only data is in the core, too."""
    global failed
    found = core.count(needle) - min(program.count(needle), core.count(needle))
    verdict = "" if found <= most else f"  MORE THAN {most}"
    failed |= bool(verdict)
    print(f"{what:44} {found}{verdict}")


for name in ["privatekey.xml", "secrets/Cust54321.privatekey.xml"]:
    xml = (config / name).read_text()
    print(name)
    # The numbers as the key holds them, little-endian: P and Q also as the moduli that are calculated with.
    for element, most in [("D", 1), ("P", 3), ("Q", 3), ("DP", 1), ("DQ", 1), ("InverseQ", 1)]:
        text = re.search(f"<{element}>([^<]*)</{element}>", xml, re.S).group(1).strip()
        number = base64.b64decode(text)
        judge(f"  {element}, in the key", number[::-1][4:28], most)
        judge(f"  {element}, as the file has it", text[4:44].encode(), 0)
        judge(f"  {element}, as read from the file", number[4:28], 0)
for name, most in [
    # In the configuration, and as the application's text and header; and in what is left of requests that were written.
    ("secrets/client_secret", 5),
    ("secrets/Cust54321.client_secret", 5),
    # In the configuration, and with the tenant.
    ("secrets/Cust12345.token", 2),
    ("secrets/Cust54321.token", 2),
]:
    judge(name, (config / name).read_text().strip().encode(), most)
# One for each tenant, and what is left of requests.
judge("tickets", b"SOTicket 7T:", 6)
sys.exit("more than there should be" if failed else 0)
