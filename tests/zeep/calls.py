"""SOAP calls as an application makes them with zeep: the client knows the description, and what it says is all it knows.

    calls.py BASE [--sandbox URL] [--wsdl DIR] [--credentials SECRET TICKET]

BASE is where the tenant's services are reached, http://127.0.0.1:8080/Cust12345. With --sandbox, tickets are revoked on the way.
With --wsdl, descriptions are SuperOffice's own, Wcf{Agent}.wsdl in that directory, and only their address is BASE's. Without
--credentials the envelopes carry none, or old ones: somebody on the way puts them in.
"""

import argparse
import base64
import hashlib
import json
import sys
import time
import urllib.request

import zeep

AGENTS = ["Contact", "Person", "SoPrincipal"]
NAMESPACE = "http://www.superoffice.net/ws/crm/NetServer/Services88"


class Application:
    def __init__(self, base, wsdl, credentials):
        self.base, self.credentials = base, credentials
        self.clients = {agent: self.client(agent, wsdl) for agent in AGENTS}

    def client(self, agent, wsdl):
        address = f"{self.base}/Remote/Services88/{agent}.svc"
        client = zeep.Client(f"{wsdl}/Wcf{agent}.wsdl" if wsdl else f"{address}?wsdl")
        client.told = client.service._binding_options["address"]
        client.port = client.create_service(f"{{{NAMESPACE}}}BasicHttpBinding_{agent}", address) if wsdl else client.service
        return client

    def call(self, agent, operation, headers=None, **arguments):
        headers = dict(headers or {})
        if self.credentials:
            headers["ApplicationToken"] = self.credentials[0]
            if agent != "SoPrincipal":
                headers["Credentials"] = {"Ticket": self.credentials[1]}
        port = self.clients[agent].port
        return port[operation](**arguments, **({"_soapheaders": headers} if headers else {}))


failed = 0


def ok(name, good, why=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} - {name}{'' if good else f': {why}'}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("--sandbox")
    parser.add_argument("--wsdl")
    parser.add_argument("--credentials", nargs=2)
    options = parser.parse_args()
    application = Application(options.base, options.wsdl, options.credentials)
    call = application.call

    if not options.wsdl:
        for agent, client in application.clients.items():
            ok(f"the description of {agent} leads here", client.told.startswith(options.base), client.told)

    answer = call("Contact", "GetContact", ContactId=3)
    ok("a contact", answer.header.Succeeded and answer.body.Response.ContactId == 3, answer)
    old = {"ApplicationToken": "old", "Credentials": {"Ticket": "7T:old"}}
    answer = call("Contact", "GetContact", old, ContactId=3)
    ok("a contact, with credentials of old", answer.header.Succeeded and answer.body.Response.Name, answer)
    zone = {"TimeZone": {"SoTimeZoneId": 7, "SoTimeZoneLocationCode": "SE"}}
    answer = call("Contact", "GetMyContact", zone)
    ok("other headers arrive", answer.header.TimeZone.SoTimeZoneLocationCode == "SE", answer)

    entity = call("Contact", "CreateDefaultContactEntity").body.Response
    entity.Name, entity.Department = 'R&D <"Åse">', "\t]]> &amp;"
    saved = call("Contact", "SaveContactEntity", ContactEntity=entity).body.Response
    again = call("Contact", "GetContactEntity", ContactEntityId=saved.ContactId).body.Response
    ok("a contact is made", (again.Name, again.Department) == (entity.Name, entity.Department), again)
    again.Name = "Other"
    call("Contact", "SaveContactEntity", ContactEntity=again)
    changed = call("Contact", "GetContact", ContactId=saved.ContactId).body.Response
    ok("a contact is changed", changed.Name == "Other", changed)
    call("Contact", "DeleteContactEntity", ContactEntityId=saved.ContactId)
    gone = call("Contact", "GetContact", ContactId=saved.ContactId)
    info = gone.header.ExceptionInfo
    ok("a contact is deleted", not gone.header.Succeeded and info.ExceptionType.endswith("SoNotFoundException"), gone)

    persons = call("Person", "GetPersonsFromContact", ContactId=3).body.Response
    persons = persons.Person if hasattr(persons, "Person") else persons
    ok("the persons of a contact", len(persons) == 3 and all(person.ContactId == 3 for person in persons), persons)
    image = bytes(range(256)) * 20000
    answer = call("Person", "SetPersonImage", PersonId=persons[0].PersonId, Image=image)
    ok("an image of five megabytes", answer.header.Succeeded, answer)
    if options.sandbox:
        with urllib.request.urlopen(f"{options.sandbox}/_sandbox/stored/Cust12345/Person/{persons[0].PersonId}") as stored:
            facts = json.load(stored)["ExtraFields"]
        ok("which arrives as it was", facts["sandbox:imageSha256"] == hashlib.sha256(base64.b64encode(image)).hexdigest(), facts)

    answer = call("SoPrincipal", "GetSystemInfo")
    ok("the system", bool(answer.body.SystemInfo.CompanyName), answer)

    if options.sandbox and not options.credentials:
        for types in ["SuperOffice.Exceptions.SoSessionException", "http_401"]:
            time.sleep(2.5)  # a ticket that is younger is not doubted
            send(f"{options.sandbox}/_sandbox/faults", {"soap_ticket": types})
            send(f"{options.sandbox}/_sandbox/revoke-tickets", None)
            answer = call("Contact", "GetContact", ContactId=3)
            ok(f"a ticket that was revoked, told by {types}", answer.header.Succeeded, answer)
    sys.exit(1 if failed else 0)


def send(url, document):
    body = json.dumps(document).encode() if document else b""
    urllib.request.urlopen(urllib.request.Request(url, data=body, method="POST")).close()


main()
