//! The SOAP services: contract, credentials, data, descriptions.

use sha2::Digest;

use super::*;

const SOAP11: &str = "http://schemas.xmlsoap.org/soap/envelope/";
const SOAP12: &str = "http://www.w3.org/2003/05/soap-envelope";
const NS: &str = "http://www.superoffice.net/ws/crm/NetServer/Services88";

fn envelope(header: &str, body: &str) -> String {
    format!("<s:Envelope xmlns:s='{SOAP11}' xmlns:n='{NS}'><s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>")
}

fn credentials(ticket: &str) -> String {
    format!("<n:ApplicationToken>{}</n:ApplicationToken><n:Credentials><n:Ticket>{ticket}</n:Ticket></n:Credentials>", demo::CLIENT_SECRET)
}

impl Running {
    async fn soap(&self, operation: &str, text: String) -> Answer {
        let (agent, _) = operation.split_once('/').unwrap();
        let action = format!("\"{NS}/{operation}\"");
        let headers = [("content-type", "text/xml; charset=utf-8"), ("soapaction", action.as_str())];
        self.call(Method::POST, &format!("/cust12345/remote/services88/{agent}.svc"), &headers, text).await
    }

    async fn with_ticket(&self, operation: &str, body: &str) -> String {
        let ticket = self.ticket().await;
        let answer = self.soap(operation, envelope(&credentials(&ticket), body)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }
}

/// The text of the first element of this local name.
fn text_of<'a>(xml: &'a str, name: &str) -> &'a str {
    let open = [format!("<{name}>"), format!(":{name}>"), format!(":{name} xmlns:h=\"{NS}\">")];
    let at = open.iter().filter_map(|open| xml.find(open).map(|at| at + open.len())).min().unwrap_or_else(|| panic!("no {name} in {xml}"));
    xml[at..].split('<').next().unwrap()
}

#[tokio::test]
async fn entities_are_those_of_the_web_api() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let contact = running.api(&ticket, Method::GET, "Contact/3", "").await.json();
    let answer = running.with_ticket("Contact/GetContact", "<n:GetContact><n:ContactId>3</n:ContactId></n:GetContact>").await;
    assert_eq!(text_of(&answer, "Succeeded"), "true");
    assert_eq!(text_of(&answer, "Name"), contact["Name"].as_str().unwrap().replace('&', "&amp;"));
    assert_eq!(text_of(&answer, "EmailAddress"), contact["Emails"][0]["Value"]);
    let persons = running
        .with_ticket("Person/GetPersonsFromContact", "<n:GetPersonsFromContact><n:ContactId>3</n:ContactId></n:GetPersonsFromContact>");
    assert_eq!(persons.await.matches("<Person>").count(), 3);
    let info = running.with_ticket("SoPrincipal/GetSystemInfo", "<n:GetSystemInfo/>").await;
    assert_eq!(text_of(&info, "CompanyName"), "Nordlys Demo AS");
    assert_eq!(running.sandbox.control().counters().soap["Contact.GetContact"], 1);
}

#[tokio::test]
async fn what_is_saved_is_there() {
    let running = running(Options::default()).await;
    let save = |members: &str| format!("<n:SaveContactEntity><n:ContactEntity>{members}</n:ContactEntity></n:SaveContactEntity>");
    let new = "<n:ContactId>0</n:ContactId><n:Name>R&amp;D &lt;x&gt;</n:Name><n:Emails><n:EntityElement><n:Value>a@b.example</n:Value>\
               </n:EntityElement></n:Emails><n:NoMailing>true</n:NoMailing><n:Unknown>1</n:Unknown>";
    let saved = running.with_ticket("Contact/SaveContactEntity", &save(new)).await;
    let id: u32 = text_of(&saved, "ContactId").parse().unwrap();
    let control = running.sandbox.control();
    let stored = || control.stored("Cust12345", "Contact", id).unwrap();
    assert_eq!((&stored()["Name"], &stored()["NoMailing"]), (&json!("R&D <x>"), &json!(true)));
    assert_eq!(stored()["Emails"][0]["Value"], "a@b.example");
    running.with_ticket("Contact/SaveContactEntity", &save(&format!("<n:ContactId>{id}</n:ContactId><n:Name>Other</n:Name>"))).await;
    assert_eq!((&stored()["Name"], &stored()["NoMailing"]), (&json!("Other"), &json!(true)));
    let wrong = running.with_ticket("Contact/SaveContactEntity", &save("<n:ContactId>x</n:ContactId>")).await;
    assert_eq!((text_of(&wrong, "Succeeded"), text_of(&wrong, "ExceptionType")), ("false", "System.FormatException"));
    let delete = format!("<n:DeleteContactEntity><n:ContactEntityId>{id}</n:ContactEntityId></n:DeleteContactEntity>");
    assert_eq!(text_of(&running.with_ticket("Contact/DeleteContactEntity", &delete).await, "Succeeded"), "true");
    let gone = running.with_ticket("Contact/DeleteContactEntity", &delete).await;
    assert_eq!(text_of(&gone, "ExceptionType"), "SuperOffice.Exceptions.SoNotFoundException");
}

#[tokio::test]
async fn an_image_of_any_size_is_hashed_and_not_kept() {
    let running = running(Options::default()).await;
    for size in [1, 100, 64 * 1024, 64 * 1024 + 1, 3_000_000] {
        let image = "QUJD".repeat(size / 4 + 1);
        let body = format!("<n:SetPersonImage><n:PersonId>2</n:PersonId><n:Image>{image}</n:Image></n:SetPersonImage>");
        assert_eq!(text_of(&running.with_ticket("Person/SetPersonImage", &body).await, "Succeeded"), "true");
        let facts = running.sandbox.control().stored("Cust12345", "Person", 2).unwrap()["ExtraFields"].clone();
        assert_eq!(facts["sandbox:imageLength"], image.len().to_string());
        assert_eq!(facts["sandbox:imageSha256"], echo::hex(&Sha256::digest(&image)));
    }
}

#[tokio::test]
async fn credentials_must_fit_and_stand_in_the_header_once() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let good = credentials(&ticket);
    let body = "<n:GetMyContact/>";
    for (header, kind) in [
        (String::new(), "SuperOffice.Exceptions.SoSessionException"),
        (credentials("7T:other"), "SuperOffice.Exceptions.SoSessionException"),
        (good.replace(demo::CLIENT_SECRET, "other"), "SuperOffice.Exceptions.SoSessionException"),
        (good.replace("n:ApplicationToken", "n:applicationtoken"), "SuperOffice.Exceptions.SoSessionException"),
        (good.replace("<n:Ticket>", "<Ticket>").replace("</n:Ticket>", "</Ticket>"), "SuperOffice.Exceptions.SoSessionException"),
        (format!("{good}{good}"), "System.ServiceModel.MessageHeaderException"),
    ] {
        let answer = running.soap("Contact/GetMyContact", envelope(&header, body)).await;
        assert_eq!(answer.status, 200);
        assert_eq!((text_of(&answer.text(), "Succeeded"), text_of(&answer.text(), "ExceptionType")), ("false", kind), "{header}");
    }
    let outside = format!("<s:Envelope xmlns:s='{SOAP11}' xmlns:n='{NS}'>{good}<s:Body>{body}</s:Body></s:Envelope>");
    assert_eq!(running.soap("Contact/GetMyContact", outside).await.status, 500);
    assert_eq!(running.sandbox.control().counters().unauthorized, 5);
    // SoPrincipal asks for an application token alone.
    let token = good.split("<n:Credentials>").next().unwrap().to_owned();
    let answer = running.soap("SoPrincipal/GetSystemInfo", envelope(&token, "<n:GetSystemInfo/>")).await;
    assert_eq!(text_of(&answer.text(), "Succeeded"), "true");
}

#[tokio::test]
async fn how_a_ticket_is_refused_and_what_fails_can_be_chosen() {
    let running = running(Options::default()).await;
    let control = running.sandbox.control();
    let get = || running.soap("Contact/GetMyContact", envelope(&credentials("old"), "<n:GetMyContact/>"));
    control.change_faults(|faults| faults.soap_ticket = "My.Type".into());
    assert_eq!(text_of(&get().await.text(), "ExceptionType"), "My.Type");
    control.change_faults(|faults| faults.soap_ticket = "http_401".into());
    assert_eq!(get().await.status, 401);
    control.change_faults(|faults| {
        faults.soap_exception = Some("SuperOffice.Exceptions.SoSentryException".into());
    });
    let save = "<n:SaveContactEntity><n:ContactEntity><n:ContactId>1</n:ContactId><n:Name>Saved all the same</n:Name></n:ContactEntity></n:SaveContactEntity>";
    let answer = running.with_ticket("Contact/SaveContactEntity", save).await;
    assert_eq!((text_of(&answer, "Succeeded"), text_of(&answer, "ExceptionType")), ("false", "SuperOffice.Exceptions.SoSentryException"));
    assert_eq!(control.stored("Cust12345", "Contact", 1).unwrap()["Name"], "Saved all the same");
    control.change_faults(|faults| faults.soap_exception = None);
    control.change_faults(|faults| faults.unauthorized = Unauthorized::Next(1));
    let ticket = running.ticket().await;
    let statuses = [
        running.soap("Contact/GetMyContact", envelope(&credentials(&ticket), "<n:GetMyContact/>")).await.status,
        running.soap("Contact/GetMyContact", envelope(&credentials(&ticket), "<n:GetMyContact/>")).await.status,
    ];
    assert_eq!(statuses.map(|status| status.as_u16()), [401, 200]);
}

#[tokio::test]
async fn both_versions_of_soap_and_the_time_zone() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let zone = "<n:TimeZone><n:SoTimeZoneId>7</n:SoTimeZoneId><n:SoTimeZoneLocationCode>SE</n:SoTimeZoneLocationCode></n:TimeZone>";
    let text = envelope(&format!("{}{zone}", credentials(&ticket)), "<n:GetMyContact/>").replace(SOAP11, SOAP12);
    let content_type = format!("application/soap+xml; charset=utf-8; action=\"{NS}/Contact/GetMyContact\"");
    let answer =
        running.call(Method::POST, "/Cust12345/Remote/Services88/Contact.svc", &[("content-type", &content_type)], text.clone()).await;
    assert_eq!((answer.status, answer.headers["content-type"].to_str().unwrap()), (StatusCode::OK, "application/soap+xml; charset=utf-8"));
    let xml = answer.text();
    assert_eq!((text_of(&xml, "Succeeded"), text_of(&xml, "SoTimeZoneId"), text_of(&xml, "SoTimeZoneLocationCode")), ("true", "7", "SE"));
    assert!(xml.starts_with(&format!("<s:Envelope xmlns:s=\"{SOAP12}\">")));
    // The older services have their own namespaces.
    let path = "/Cust12345/Remote/Services84/Contact.svc";
    let old = |text: &str| text.replace("Services88", "Services84");
    let answer = running.call(Method::POST, path, &[("content-type", &old(&content_type))], old(&text)).await;
    assert!(answer.text().contains("NetServer/Services84\">true</h:Succeeded>"));
    let answer = running.call(Method::POST, path, &[("content-type", &old(&content_type))], text).await;
    assert_eq!(answer.status, 500);
}

#[tokio::test]
async fn what_is_no_call_gets_wcfs_answers() {
    let running = running(Options::default()).await;
    let text = envelope("", "<n:GetMyContact/>");
    let answer = |path: &'static str, headers: Vec<(&'static str, String)>, text: String| {
        let running = &running;
        async move {
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = running.call(Method::POST, path, &headers, text).await;
            (answer.status.as_u16(), answer.text())
        }
    };
    let xml = || ("content-type", "text/xml".to_owned());
    let action = || ("soapaction", format!("{NS}/Contact/GetMyContact"));
    let contact = "/Cust12345/Remote/Services88/Contact.svc";
    assert_eq!(answer("/Cust12345/Remote/Services83/Contact.svc", vec![xml(), action()], text.clone()).await.0, 404);
    assert_eq!(answer("/Cust12345/Remote/Services88/Sale.svc", vec![xml(), action()], text.clone()).await.0, 404);
    assert_eq!(answer("/Cust99999/Remote/Services88/Contact.svc", vec![xml(), action()], text.clone()).await.0, 404);
    assert_eq!(answer(contact, vec![action()], text.clone()).await.0, 415);
    assert_eq!(answer(contact, vec![xml(), action(), ("content-encoding", "gzip".into())], text.clone()).await.0, 415);
    assert_eq!(answer(contact, vec![xml(), action()], "<s:Envelope".into()).await.0, 400);
    assert_eq!(answer(contact, vec![xml(), action()], format!("<!DOCTYPE x>{text}")).await.0, 400);
    for (headers, text, code) in [
        (vec![xml()], text.clone(), "ActionNotSupported"),
        (vec![xml(), ("soapaction", format!("{NS}/Person/GetPerson"))], text.clone(), "ActionNotSupported"),
        (vec![xml(), action()], text.replace(SOAP11, SOAP12), "VersionMismatch"),
        (vec![xml(), action()], text.replace("GetMyContact", "Other"), "DeserializationFailed"),
        (vec![xml(), action()], text.replace("</s:Header>", "</s:Header><s:Header/>"), "InternalServiceFault"),
    ] {
        let (status, text) = answer(contact, headers, text).await;
        assert!(status == 500 && text.contains(&format!("a:{code}<")), "{code}: {status} {text}");
    }
    assert_eq!(running.sandbox.control().counters().soap.len(), 0);
}

#[tokio::test]
async fn descriptions_need_no_credentials_and_name_the_place() {
    let running = running(Options::default()).await;
    let base = running.sandbox.base().to_owned();
    for agent in ["Contact", "Person", "SoPrincipal"] {
        let address = format!("{base}/Cust12345/Remote/Services88/{agent}.svc");
        let get = |query: &str| format!("/Cust12345/Remote/Services88/{agent}.svc{query}");
        let (wsdl, single) = (running.get(&get("?wsdl")).await.text(), running.get(&get("?singleWsdl")).await.text());
        let schema = running.get(&get("?xsd=xsd0")).await.text();
        for text in [&wsdl, &single, &schema] {
            let parsed: Result<Vec<_>, _> = ::xml::EventReader::new(text.as_bytes()).into_iter().collect();
            assert!(parsed.is_ok(), "{text}");
        }
        assert!(wsdl.contains(&format!("<soap:address location=\"{address}\"/>")));
        assert!(wsdl.contains(&format!("schemaLocation=\"{address}?xsd=xsd0\"")) && !single.contains("schemaLocation"));
        assert!(running.get(&get("")).await.text().contains(&format!("{address}?wsdl")));
    }
    running.sandbox.control().change_faults(|faults| _ = faults.moved.insert("Cust12345".into(), None));
    assert_eq!(running.get("/Cust12345/Remote/Services88/Contact.svc?wsdl").await.status, 421);
}
