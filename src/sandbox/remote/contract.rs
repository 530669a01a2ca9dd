//! The contract of the SOAP services, as far as it is built: names, order and types are those of SuperOffice's own
//! descriptions, most members and operations are left out. Protocol §7.6.

use Type::{Base64, Bool, Int, List, Of, Short, Text, Time};

/// What an element holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Int,
    Short,
    Bool,
    Text,
    Time,
    Base64,
    /// A carrier.
    Of(&'static str),
    /// `ArrayOf…` it.
    List(&'static str),
}

/// A name, what it holds, and where that is in the JSON of the web API.
pub(super) type Member = (&'static str, Type, &'static str);

/// A carrier's own members, in their order.
pub(super) struct Carrier {
    pub name: &'static str,
    pub members: &'static [Member],
}

/// A method of an agent.
pub(super) struct Operation {
    pub agent: &'static str,
    pub name: &'static str,
    pub input: &'static [Member],
    /// What `Response`, or whatever it is called, holds.
    pub output: Option<(&'static str, Type)>,
}

impl Operation {
    /// The request headers that the description names.
    pub(super) fn headers(&self) -> &'static [(&'static str, Option<&'static str>)] {
        let all: &[_] = &[("ApplicationToken", None), ("Credentials", Some("SoCredentials")), ("TimeZone", Some("SoTimeZone"))];
        if self.agent == "SoPrincipal" { &all[..1] } else { all }
    }
}

pub(super) const AGENTS: [&str; 3] = ["Contact", "Person", "SoPrincipal"];

const fn operation(agent: &'static str, name: &'static str, input: &'static [Member], output: Option<(&'static str, Type)>) -> Operation {
    Operation { agent, name, input, output }
}

const CONTACT: Option<(&str, Type)> = Some(("Response", Of("ContactEntity")));
const PERSON: Option<(&str, Type)> = Some(("Response", Of("PersonEntity")));

pub(super) const OPERATIONS: &[Operation] = &[
    operation("Contact", "CreateDefaultContactEntity", &[], CONTACT),
    operation("Contact", "SaveContactEntity", &[("ContactEntity", Of("ContactEntity"), "/Entity")], CONTACT),
    operation("Contact", "DeleteContactEntity", &[("ContactEntityId", Int, "/Id")], None),
    operation("Contact", "GetContact", &[("ContactId", Int, "/Id")], Some(("Response", Of("Contact")))),
    operation("Contact", "GetContactEntity", &[("ContactEntityId", Int, "/Id")], CONTACT),
    operation("Contact", "GetMyContact", &[], CONTACT),
    operation("Person", "CreateDefaultPersonEntity", &[], PERSON),
    operation("Person", "SavePersonEntity", &[("PersonEntity", Of("PersonEntity"), "/Entity")], PERSON),
    operation("Person", "DeletePersonEntity", &[("PersonEntityId", Int, "/Id")], None),
    operation("Person", "GetPerson", &[("PersonId", Int, "/Id")], Some(("Response", Of("Person")))),
    operation("Person", "GetPersonEntity", &[("PersonEntityId", Int, "/Id")], PERSON),
    operation("Person", "SetPersonImage", &[("PersonId", Int, "/Id"), ("Image", Base64, "/Image")], None),
    operation("Person", "GetPersonsFromContact", &[("ContactId", Int, "/Id")], Some(("Response", List("Person")))),
    operation("SoPrincipal", "GetSystemInfo", &[], Some(("SystemInfo", Of("SoSystemInfoCarrier")))),
];

pub(super) fn carrier(name: &str) -> &'static [Member] {
    CARRIERS.iter().find(|carrier| carrier.name == name).map_or(&[], |carrier| carrier.members)
}

pub(super) const CARRIERS: &[Carrier] = &[
    Carrier {
        name: "Contact",
        members: &[
            ("ContactId", Int, "/ContactId"),
            ("Name", Text, "/Name"),
            ("OrgNr", Text, "/OrgNr"),
            ("Department", Text, "/Department"),
            ("URL", Text, "/Urls/0/Value"),
            ("DirectPhone", Text, "/Phones/0/Value"),
            ("AssociateId", Int, "/Associate/AssociateId"),
            ("CountryId", Int, "/Country/CountryId"),
            ("EmailAddress", Text, "/Emails/0/Value"),
            ("AssociateFullName", Text, "/Associate/FullName"),
            ("BusinessName", Text, "/Business/Value"),
            ("CategoryName", Text, "/Category/Value"),
            ("CountryName", Text, "/Country/Name"),
            ("FullName", Text, "/Name"),
        ],
    },
    Carrier {
        name: "ContactEntity",
        members: &[
            ("ContactId", Int, "/ContactId"),
            ("Name", Text, "/Name"),
            ("Department", Text, "/Department"),
            ("OrgNr", Text, "/OrgNr"),
            ("Number1", Text, "/Number1"),
            ("Number2", Text, "/Number2"),
            ("UpdatedDate", Time, "/UpdatedDate"),
            ("CreatedDate", Time, "/CreatedDate"),
            ("Emails", List("EntityElement"), "/Emails"),
            ("Urls", List("EntityElement"), "/Urls"),
            ("Phones", List("EntityElement"), "/Phones"),
            ("Faxes", List("EntityElement"), "/Faxes"),
            ("Description", Text, "/Description"),
            ("UpdatedBy", Of("Associate"), "/UpdatedBy"),
            ("CreatedBy", Of("Associate"), "/CreatedBy"),
            ("Associate", Of("Associate"), "/Associate"),
            ("Business", Of("Business"), "/Business"),
            ("Category", Of("Category"), "/Category"),
            ("Country", Of("Country"), "/Country"),
            ("NoMailing", Bool, "/NoMailing"),
            ("Xstop", Bool, "/Xstop"),
            ("GroupId", Int, "/GroupId"),
            ("Deleted", Short, "/Deleted"),
            ("Source", Short, "/Source"),
        ],
    },
    Carrier {
        name: "Person",
        members: &[
            ("Position", Text, "/Position/Value"),
            ("PersonId", Int, "/PersonId"),
            ("Mrmrs", Text, "/Mrmrs"),
            ("Firstname", Text, "/Firstname"),
            ("Lastname", Text, "/Lastname"),
            ("MiddleName", Text, "/MiddleName"),
            ("Title", Text, "/Title"),
            ("Description", Text, "/Description"),
            ("Email", Text, "/Emails/0/Value"),
            ("FullName", Text, "/FullName"),
            ("DirectPhone", Text, "/OfficePhones/0/Value"),
            ("CountryId", Int, "/Country/CountryId"),
            ("ContactId", Int, "/Contact/ContactId"),
            ("ContactName", Text, "/Contact/Name"),
            ("ContactOrgNr", Text, "/Contact/OrgNr"),
            ("AssociateId", Int, "/Associate/AssociateId"),
        ],
    },
    Carrier {
        name: "PersonEntity",
        members: &[
            ("PersonId", Int, "/PersonId"),
            ("Firstname", Text, "/Firstname"),
            ("MiddleName", Text, "/MiddleName"),
            ("Lastname", Text, "/Lastname"),
            ("Mrmrs", Text, "/Mrmrs"),
            ("Title", Text, "/Title"),
            ("UpdatedDate", Time, "/UpdatedDate"),
            ("CreatedDate", Time, "/CreatedDate"),
            ("BirthDate", Time, "/BirthDate"),
            ("CreatedBy", Of("Associate"), "/CreatedBy"),
            ("Emails", List("EntityElement"), "/Emails"),
            ("Description", Text, "/Description"),
            ("IsAssociate", Bool, "/IsAssociate"),
            ("PrivatePhones", List("EntityElement"), "/PrivatePhones"),
            ("Faxes", List("EntityElement"), "/Faxes"),
            ("MobilePhones", List("EntityElement"), "/MobilePhones"),
            ("OfficePhones", List("EntityElement"), "/OfficePhones"),
            ("OtherPhones", List("EntityElement"), "/OtherPhones"),
            ("Position", Of("Position"), "/Position"),
            ("UpdatedBy", Of("Associate"), "/UpdatedBy"),
            ("Contact", Of("Contact"), "/Contact"),
            ("Country", Of("Country"), "/Country"),
            ("PersonNumber", Text, "/PersonNumber"),
            ("FullName", Text, "/FullName"),
            ("NoMailing", Bool, "/NoMailing"),
            ("Retired", Bool, "/Retired"),
            ("Urls", List("EntityElement"), "/Urls"),
            ("Associate", Of("Associate"), "/Associate"),
            ("Salutation", Text, "/Salutation"),
        ],
    },
    Carrier {
        name: "EntityElement",
        members: &[("Value", Text, "/Value"), ("StrippedValue", Text, "/StrippedValue"), ("Description", Text, "/Description")],
    },
    Carrier {
        name: "Associate",
        members: &[
            ("AssociateId", Int, "/AssociateId"),
            ("Name", Text, "/Name"),
            ("PersonId", Int, "/PersonId"),
            ("GroupIdx", Int, "/GroupIdx"),
            ("FullName", Text, "/FullName"),
        ],
    },
    Carrier { name: "Business", members: ITEM },
    Carrier { name: "Category", members: ITEM },
    Carrier { name: "Position", members: ITEM },
    Carrier {
        name: "Country",
        members: &[
            ("CountryId", Int, "/CountryId"),
            ("Name", Text, "/Name"),
            ("EnglishName", Text, "/EnglishName"),
            ("TwoLetterISOCountry", Text, "/TwoLetterISOCountry"),
            ("DomainName", Text, "/DomainName"),
        ],
    },
    Carrier {
        name: "SoSystemInfoCarrier",
        members: &[
            ("BuildLabel", Text, "/BuildLabel"),
            ("AssemblyVersion", Text, "/AssemblyVersion"),
            ("FileVersion", Text, "/FileVersion"),
            ("Description", Text, "/Description"),
            ("IsUnicode", Bool, "/IsUnicode"),
            ("CompanyName", Text, "/CompanyName"),
        ],
    },
];

const ITEM: &[Member] = &[("Id", Int, "/Id"), ("Value", Text, "/Value"), ("Tooltip", Text, "/Tooltip")];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_carrier_that_is_named_is_there() {
        let members = CARRIERS.iter().flat_map(|carrier| carrier.members).chain(OPERATIONS.iter().flat_map(|operation| operation.input));
        let outputs = OPERATIONS.iter().filter_map(|operation| operation.output.map(|(_, kind)| kind));
        for kind in members.map(|member| member.1).chain(outputs) {
            if let Of(name) | List(name) = kind {
                assert!(CARRIERS.iter().any(|carrier| carrier.name == name), "{name}");
            }
        }
        assert!(OPERATIONS.iter().all(|operation| AGENTS.contains(&operation.agent)));
    }
}
