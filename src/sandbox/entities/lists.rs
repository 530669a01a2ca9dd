//! The principal, the lists, and the two agent methods that there are.

use http::StatusCode;
use serde_json::{Value, json};

use super::Kind;
use crate::sandbox::Tenant;
use crate::sandbox::present::invalid;
use crate::sandbox::reply::{self, Reply};
use crate::sandbox::webapi::Call;

/// Id, Norwegian, English.
type Items = [(u32, &'static str, &'static str)];

pub(super) const CATEGORIES: [(u32, &str, &str); 5] = [
    (1, "Kunde", "Customer"),
    (2, "Leverandør", "Supplier"),
    (3, "Partner", "Partner"),
    (4, "Prospekt", "Prospect"),
    (5, "Presse", "Press"),
];
pub(super) const BUSINESSES: [(u32, &str, &str); 6] = [
    (1, "Bank og finans", "Banking and finance"),
    (2, "Bygg og anlegg", "Construction"),
    (3, "IT", "IT"),
    (4, "Transport", "Transport"),
    (5, "Helse", "Health care"),
    (6, "Varehandel", "Retail"),
];
pub(super) const POSITIONS: [(u32, &str, &str); 5] = [
    (1, "Daglig leder", "Managing director"),
    (2, "Salgssjef", "Sales manager"),
    (3, "Innkjøper", "Buyer"),
    (4, "Utvikler", "Developer"),
    (5, "Konsulent", "Consultant"),
];
const COUNTRIES: [(u32, &str, &str); 4] =
    [(578, "Norge", "Norway"), (752, "Sverige", "Sweden"), (208, "Danmark", "Denmark"), (528, "Nederland", "Netherlands")];
const TITLES: [(u32, &str, &str); 2] = [(1, "Herr", "Mr"), (2, "Fru", "Mrs")];

/// `User/currentPrincipal` of a system user.
pub(in crate::sandbox) fn principal(tenant: &Tenant) -> Value {
    json!({
        "UserType": "SystemUser",
        "Associate": "SYSTEM",
        "AssociateId": 3,
        "IsPerson": false,
        "PersonId": 0,
        "CountryId": 578,
        "HomeCountryId": 578,
        "ContactId": 1,
        "GroupId": 1,
        "BusinessId": 0,
        "CategoryId": 0,
        "ContactOwner": 0,
        "RoleId": 1,
        "RoleName": "System",
        "RoleDescription": "",
        "RoleType": "System",
        "Licenses": [],
        "FullName": tenant.application,
        "EMailAddress": "",
        "FunctionRights": ["admin-all", "use-services", "delete-contact", "delete-person", "delete-document"],
        "EjUserId": 0,
        "EjAccessLevel": 0,
        "EjUserStatus": "StatusNormal",
        "ProvidedCredentials": [],
        "SecondaryGroups": [],
        "DatabaseContextIdentifier": tenant.context,
        "UserName": tenant.application,
    })
}

/// `MDOList/{name}`
pub(in crate::sandbox) fn mdo_list(call: &Call<'_>, name: &str) -> Reply {
    let items: &Items = match name {
        "category" => &CATEGORIES,
        "business" => &BUSINESSES,
        "perspos" | "position" => &POSITIONS,
        "country" => &COUNTRIES,
        "mrmrs" => &TITLES,
        _ => {
            let text = format!("The list '{name}' does not exist");
            return reply::crm_error(StatusCode::NOT_FOUND, "SoNotFoundException", &text);
        }
    };
    let language = call.language();
    let shown = |norwegian: &str, english: &str| match language.as_deref() {
        // Without a language a name is shown as it is stored, on purpose (protocol §7.3).
        None if norwegian == english => english.to_owned(),
        None => format!("NO:\"{norwegian}\";US:\"{english}\""),
        Some(tag) if ["no", "nb", "nn"].iter().any(|own| tag.starts_with(own)) => norwegian.to_owned(),
        Some(_) => english.to_owned(),
    };
    let item = |(rank, (id, norwegian, english)): (usize, &(u32, &str, &str))| {
        let name = shown(norwegian, english);
        json!({
            "Id": id,
            "Name": name,
            "ToolTip": "",
            "Deleted": false,
            "Rank": rank + 1,
            "Type": "",
            "ChildItems": [],
            "IconHint": "",
            "ColorBlock": 0,
            "ExtraInfo": "",
            "StyleHint": "",
            "FullName": name,
            "TableRight": null,
            "FieldProperties": {},
        })
    };
    reply::json(StatusCode::OK, &items.iter().enumerate().map(item).collect::<Vec<_>>())
}

/// `POST Agents/{agent}/{name}`, both in lower case. An entity that is not there is 200 and `null` (protocol §7.1).
pub(in crate::sandbox) fn agent(call: &Call<'_>, agent: &str, name: &str) -> Reply {
    let (kind, id) = match (agent, name) {
        ("user", "getcurrentprincipal") => return reply::json(StatusCode::OK, &principal(call.tenant)),
        ("contact", "getcontactentity") => (Kind::Contact, "contactEntityId"),
        ("person", "getpersonentity") => (Kind::Person, "personEntityId"),
        _ => return call.sandbox.not_found(&call.head.uri),
    };
    let Some(id) = call.query().get(id).and_then(|id| id.parse().ok()) else {
        return invalid(&format!("The parameter '{id}' is missing or no number"));
    };
    let world = call.sandbox.control().world(call.index);
    reply::json(StatusCode::OK, &world.get(kind, id))
}
