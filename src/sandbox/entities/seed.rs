//! What a tenant's data is made of: invented companies, people and documents, the same at every start.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Kind;
use super::lists::{BUSINESSES, CATEGORIES, POSITIONS};

const CONTACTS: u32 = 60;
const PERSONS: u32 = 150;
const DOCUMENTS: u32 = 25;

const PLACES: [&str; 12] =
    ["Fjord", "Nordlys", "Elan", "Bergen", "Skagen", "Uppsala", "Aurora", "Vestland", "Öresund", "Tromsø", "Harbour", "Birch"];
const TRADES: [&str; 5] = ["Shipping", "Consulting", "Seafood", "Energi", "Design & Print"];
const FIRST: [&str; 15] =
    ["Tony", "Anne", "Bjørn", "Camilla", "Dag", "Eva", "Frode", "Grete", "Hans", "Ingrid", "Jens", "Kari", "Lars", "Mona", "Åse"];
const LAST: [&str; 10] = ["Yates", "Hansen", "Johansson", "O'Hara", "Nielsen", "Berg", "Dahl", "Lund", "Müller", "van Dijk"];
const PAPERS: [&str; 5] = ["Offer", "Contract", "Minutes of meeting", "Letter", "Price list"];
const COUNTRIES: [(u32, &str, &str, &str); 4] =
    [(578, "Norway", "NO", "no"), (752, "Sweden", "SE", "se"), (208, "Denmark", "DK", "dk"), (528, "Netherlands", "NL", "nl")];

pub(super) fn entities(index: usize) -> [BTreeMap<u32, Value>; 3] {
    let shift = index as u32 * 7;
    let contacts: BTreeMap<u32, Value> = (1..=CONTACTS).map(|id| (id, contact(id, shift))).collect();
    let persons = (1..=PERSONS).map(|id| (id, person(id, shift, &contacts))).collect();
    let documents = (1..=DOCUMENTS).map(|id| (id, document(id, &contacts))).collect();
    [contacts, persons, documents]
}

pub(super) fn template(kind: Kind) -> Value {
    match kind {
        Kind::Contact => json!({
            "ContactId": 0, "Name": "", "Department": "", "OrgNr": "", "Number1": "", "Number2": "",
            "UpdatedDate": "", "CreatedDate": "", "Emails": [], "Interests": [], "Urls": [], "Phones": [], "Faxes": [],
            "Description": "", "UpdatedBy": null, "CreatedBy": null, "Associate": associate(), "Business": item(&BUSINESSES, 0),
            "Category": item(&CATEGORIES, 0), "Country": country(0), "Persons": [], "NoMailing": false, "Xstop": false,
            "GroupId": 0, "Deleted": 0, "Source": 0, "Domains": [],
            "UserDefinedFields": {}, "ExtraFields": {}, "CustomFields": {}, "TableRight": null, "FieldProperties": {},
        }),
        Kind::Person => json!({
            "PersonId": 0, "Firstname": "", "MiddleName": "", "Lastname": "", "Mrmrs": "", "Title": "",
            "UpdatedDate": "", "CreatedDate": "", "BirthDate": "0001-01-01T00:00:00", "Emails": [], "Description": "",
            "IsAssociate": false, "PrivatePhones": [], "Faxes": [], "MobilePhones": [], "OfficePhones": [], "OtherPhones": [],
            "Position": item(&POSITIONS, 0), "UpdatedBy": null, "CreatedBy": null, "Contact": null, "Country": country(0),
            "Interests": [], "PersonNumber": "", "FullName": "", "NoMailing": false, "Retired": false, "Urls": [],
            "Associate": associate(), "Salutation": "", "Source": 0,
            "UserDefinedFields": {}, "ExtraFields": {}, "CustomFields": {}, "TableRight": null, "FieldProperties": {},
        }),
        Kind::Document => json!({
            "DocumentId": 0, "UpdatedBy": null, "CreatedBy": null, "Attention": "", "Header": "", "Name": "", "OurRef": "",
            "YourRef": "", "CreatedDate": "", "UpdatedDate": "", "Description": "", "Person": null, "Associate": associate(),
            "Contact": null, "Project": null, "Date": "", "ExternalRef": "", "Completed": "No", "Type": "Unknown", "Links": [],
            "IsPublished": false, "UserDefinedFields": {}, "ExtraFields": {}, "CustomFields": {}, "TableRight": null,
            "FieldProperties": {},
        }),
    }
}

fn contact(id: u32, shift: u32) -> Value {
    let n = (id - 1 + shift) as usize;
    let name = format!("{} {}", PLACES[n % PLACES.len()], TRADES[n / PLACES.len() % TRADES.len()]);
    let domain = format!("{}.example", domain_label(&name));
    let mut contact = template(Kind::Contact);
    fill(
        &mut contact,
        json!({
            "ContactId": id, "Name": name, "Department": if n.is_multiple_of(4) { "Head office" } else { "" },
            "OrgNr": format!("9{:08}", 10_000_019 * u64::from(id) % 100_000_000), "Number2": format!("{}", 10_000 + id),
            "CreatedDate": date(id), "UpdatedDate": date(id + 5),
            "Emails": [element(&format!("post@{domain}"))], "Urls": [element(&format!("https://www.{domain}"))],
            "Phones": [element(&format!("+47 22 {:02} {:02} {:02}", n % 100, n * 7 % 100, n * 13 % 100))],
            "Business": item(&BUSINESSES, n), "Category": item(&CATEGORIES, n), "Country": country(n), "GroupId": 2,
            "Domains": [domain], "TableRight": table_right(),
        }),
    );
    contact
}

fn person(id: u32, shift: u32, contacts: &BTreeMap<u32, Value>) -> Value {
    let n = (id - 1 + shift) as usize;
    let (first, last) = (FIRST[n % FIRST.len()], LAST[n / FIRST.len() % LAST.len()]);
    let contact = contacts.get(&(1 + (id - 1) % CONTACTS)).cloned().unwrap_or_default();
    let domain = contact["Domains"][0].as_str().unwrap_or("example.org").to_owned();
    let mut person = template(Kind::Person);
    fill(
        &mut person,
        json!({
            "PersonId": id, "Firstname": first, "Lastname": last, "FullName": format!("{first} {last}"),
            "Title": item(&POSITIONS, n)["Value"], "Position": item(&POSITIONS, n), "CreatedDate": date(id), "UpdatedDate": date(id + 3),
            "Emails": [element(&format!("{}.{}@{domain}", domain_label(first), domain_label(last)))],
            "OfficePhones": [element(&format!("+47 23 {:02} {:02} {:02}", n % 100, n * 3 % 100, n * 17 % 100))],
            "Contact": { "ContactId": contact["ContactId"], "Name": contact["Name"], "OrgNr": contact["OrgNr"] },
            "Country": contact["Country"], "Retired": n % 31 == 30, "TableRight": table_right(),
        }),
    );
    person
}

fn document(id: u32, contacts: &BTreeMap<u32, Value>) -> Value {
    let contact = contacts.get(&id).cloned().unwrap_or_default();
    let heading = PAPERS[id as usize % PAPERS.len()];
    let mut document = template(Kind::Document);
    fill(
        &mut document,
        json!({
            "DocumentId": id, "Header": format!("{heading}, {}", contact["Name"].as_str().unwrap_or_default()),
            "Name": format!("document-{id}.bin"), "OurRef": format!("{}/{id:04}", 2012 + id % 13), "Type": "Document",
            "CreatedDate": date(id), "UpdatedDate": date(id), "Date": date(id),
            "Contact": { "ContactId": contact["ContactId"], "Name": contact["Name"], "OrgNr": contact["OrgNr"] },
            "TableRight": table_right(),
        }),
    );
    document
}

fn fill(entity: &mut Value, members: Value) {
    if let (Value::Object(entity), Value::Object(members)) = (entity, members) {
        entity.extend(members);
    }
}

fn element(value: &str) -> Value {
    let stripped: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    json!({ "Value": value, "StrippedValue": stripped, "Description": "" })
}

fn item(list: &[(u32, &str, &str)], n: usize) -> Value {
    let (id, _, english) = list[n % list.len()];
    json!({ "Id": id, "Value": english, "Tooltip": "" })
}

fn country(n: usize) -> Value {
    let (id, name, iso, domain) = COUNTRIES[n % COUNTRIES.len()];
    json!({ "CountryId": id, "Name": name, "EnglishName": name, "TwoLetterISOCountry": iso, "DomainName": domain })
}

fn associate() -> Value {
    json!({ "AssociateId": 5, "Name": "TY", "PersonId": 1, "FullName": "Tony Yates", "Type": "InternalAssociate", "GroupIdx": 2 })
}

fn table_right() -> Value {
    json!({ "Mask": "Select, Update, Insert, Delete, Filtering, RestrictedUpdate", "Reason": "" })
}

fn date(n: u32) -> String {
    format!("{}-{:02}-{:02}T{:02}:{:02}:00Z", 2012 + n % 13, 1 + n % 12, 1 + n % 28, 8 + n % 9, n * 7 % 60)
}

/// Letters and digits in ASCII, so that addresses are addresses.
fn domain_label(text: &str) -> String {
    let ascii = |c: char| match c.to_ascii_lowercase() {
        'ø' | 'ö' | 'Ö' | 'Ø' => Some('o'),
        'å' | 'Å' => Some('a'),
        'ü' => Some('u'),
        c => c.is_ascii_alphanumeric().then_some(c),
    };
    text.chars().filter_map(ascii).collect()
}
