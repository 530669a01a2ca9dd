//! The web API: who is let in, and what is given.

use sha2::Digest;

use super::*;

#[tokio::test]
async fn only_a_ticket_of_this_tenant_with_this_applications_secret_is_let_in() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let good = format!("SOTicket {ticket}");
    let (bearer, basic) = (format!("Bearer {ticket}"), format!("Basic {ticket}"));
    let secret = ("so-apptoken", demo::CLIENT_SECRET);
    let path = "/Cust12345/api/v1/User/currentPrincipal";
    let other = "/Cust54321/api/v1/User/currentPrincipal";
    let refused: [(&str, Vec<(&str, &str)>); 10] = [
        (path, vec![]),
        (path, vec![secret]),
        (path, vec![("authorization", &good)]),
        (path, vec![("authorization", &good), ("so-apptoken", "wrong")]),
        (path, vec![("authorization", "SOTicket 7T:wrong"), secret]),
        (path, vec![("authorization", &bearer), secret]),
        (path, vec![("authorization", &basic), secret]),
        (path, vec![("authorization", &good), ("authorization", "SOTicket 7T:other"), secret]),
        (path, vec![("authorization", &good), secret, ("so_apptoken", "shadow")]),
        (other, vec![("authorization", &good), ("so-apptoken", demo::SECOND_CLIENT_SECRET)]),
    ];
    for (path, headers) in &refused {
        let answer = running.call(Method::GET, path, headers, "").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {headers:?}");
        assert_eq!(answer.json()["Error"], true);
    }
    assert_eq!(running.sandbox.control().counters().unauthorized, refused.len() as u64);
    let answer = running.call(Method::GET, path, &[("authorization", &good), secret], "").await;
    assert_eq!(answer.status, StatusCode::OK);
    let cookies: Vec<_> =
        answer.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap().split('=').next().unwrap()).collect();
    assert_eq!(cookies, ["SOOnline", "ARRAffinity", "ARRAffinitySameSite"]);
}

#[tokio::test]
async fn a_list_is_paged_to_its_end() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let mut next = Some("Person?%24select=personId,email%2FemailAddress&$top=40&$orderBy=personId desc".replace(' ', "%20"));
    let mut ids = Vec::new();
    let mut pages = 0;
    while let Some(path) = next {
        let page = running.api(&ticket, Method::GET, &path, "").await.json();
        ids.extend(page["value"].as_array().unwrap().iter().map(|row| row["personId"].as_u64().unwrap()));
        assert!(page["value"][0]["email/emailAddress"].as_str().unwrap().contains('@'));
        assert_eq!(page["odata.metadata"], format!("{}/Cust12345/api/v1/Person/$metadata", running.sandbox.base()));
        next = page["odata.nextLink"].as_str().map(str::to_owned);
        pages += 1;
    }
    assert_eq!(pages, 4);
    assert_eq!(ids, (1..=150).rev().collect::<Vec<u64>>());
}

#[tokio::test]
async fn archives_are_filtered_and_mistakes_are_told() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let get = async |path: &str| running.api(&ticket, Method::GET, &path.replace(' ', "%20"), "").await;
    let found = get("archive/contact?$select=contactId,name&$filter=name begins 'fjord' and (contactId gt 10 or contactId=1)").await.json();
    let rows = found["value"].as_array().unwrap();
    assert_eq!(rows[0], json!({ "PrimaryKey": "1", "EntityName": "contact", "contactId": 1, "name": "Fjord Shipping" }));
    assert_eq!(rows.len(), 5);
    assert!(found.get("odata.nextLink").is_none());

    let persons = get("Archive/Person?$filter=contact/contactId = 3&$select=contact/name").await.json();
    assert_eq!(persons["value"].as_array().unwrap().len(), 3);

    for path in
        ["Person?$filter=name like 'x'", "Person?$filter=nope=1", "Person?$select=nope", "Person?$top=many", "Person?$orderBy=personId up"]
    {
        let answer = get(path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
        assert_eq!(answer.json()["Error"], true);
    }
    assert_eq!(get("Archive/Nope").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_entity_from_birth_to_death() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let api = async |method: Method, path: &str, body: Value| running.api(&ticket, method, path, body.to_string()).await;

    let made = api(Method::POST, "Contact", json!({ "Name": "Nøkk & Co", "Nonsense": 1 })).await;
    assert_eq!(made.status, StatusCode::OK);
    let made = made.json();
    assert_eq!((&made["ContactId"], &made["Name"], made.get("Nonsense")), (&json!(61), &json!("Nøkk & Co"), None));
    assert_eq!(made["_Links"]["Self"], format!("{}/Cust12345/api/v1/Contact/61", running.sandbox.base()));

    let person =
        api(Method::POST, "Person", json!({ "Firstname": "Ola", "Lastname": "Nøkk", "Contact": { "ContactId": 61 } })).await.json();
    assert_eq!((&person["FullName"], &person["Contact"]["Name"]), (&json!("Ola Nøkk"), &json!("Nøkk & Co")));

    let mut changed = made.clone();
    changed["Department"] = json!("Oslo");
    assert_eq!(api(Method::PUT, "contact/61", changed).await.json()["Department"], "Oslo");
    let patch =
        json!([{ "op": "test", "path": "/Department", "value": "Oslo" }, { "op": "replace", "path": "/Department", "value": "Bergen" }]);
    assert_eq!(api(Method::PATCH, "Contact/61", patch.clone()).await.json()["Department"], "Bergen");
    assert_eq!(api(Method::PATCH, "Contact/61", patch).await.status, StatusCode::CONFLICT);
    let merged = api(Method::PATCH, "Contact/61", json!({ "Description": "wet", "Department": null })).await.json();
    assert_eq!((&merged["Description"], &merged["Department"], &merged["Name"]), (&json!("wet"), &json!(""), &json!("Nøkk & Co")));
    assert_eq!(merged["CreatedDate"], made["CreatedDate"]);

    assert_eq!(api(Method::PUT, "Contact/61", json!({ "ContactId": 60 })).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api(Method::PUT, "Contact/61", json!({ "Name": 5 })).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(api(Method::POST, "Contact", json!([])).await.status, StatusCode::BAD_REQUEST);

    let selected = api(Method::GET, "Contact/61?$select=name", Value::Null).await.json();
    assert_eq!(selected, json!({ "Name": "Nøkk & Co" }));
    let gone = api(Method::DELETE, "Contact/61", Value::Null).await;
    assert_eq!((gone.status, gone.body.len()), (StatusCode::NO_CONTENT, 0));
    let missing = api(Method::GET, "Contact/61", Value::Null).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    let expected = json!({
        "Error": true, "ErrorType": "SoNotFoundException", "ErrorMessage": "Contact id 61 not found",
        "ErrorSource": "SuperOffice.Services.Implementation",
    });
    assert_eq!(missing.json(), expected);
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(api(method, "Contact/61", json!({})).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(api(Method::PUT, "Contact", json!({})).await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn documents_large_and_small() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let api = async |method: Method, path: &str, body: Vec<u8>| running.api(&ticket, method, path, body).await;

    let large = api(Method::GET, "Document/1/Content?size=5000000", vec![]).await;
    assert_eq!(large.headers["content-length"], "5000000");
    assert!(large.body.iter().zip(0..).all(|(byte, at)| *byte == content_byte(at)));
    assert_eq!(api(Method::GET, "Document/1/Content", vec![]).await.body.len(), 4096);

    let hash = |bytes: &[u8]| echo::hex(&Sha256::digest(bytes));
    let small = b"kept as it is".to_vec();
    assert_eq!(api(Method::PUT, "Document/1/Content", small.clone()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api(Method::GET, "Document/1/Content", vec![]).await.body, small);
    let entity = api(Method::GET, "Document/1", vec![]).await.json();
    assert_eq!(entity["ExtraFields"], json!({ "sandbox:contentLength": "13", "sandbox:contentSha256": hash(&small) }));

    let bytes = vec![7; 5_000_000];
    assert_eq!(api(Method::PUT, "Document/2/Content", bytes.clone()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(api(Method::GET, "Document/2/Length", vec![]).await.text(), "5000000");
    let entity = api(Method::GET, "Document/2", vec![]).await.json();
    assert_eq!(entity["ExtraFields"]["sandbox:contentSha256"], hash(&bytes));
    assert_eq!(api(Method::GET, "Document/2/Content", vec![]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(api(Method::PUT, "Document/999/Content", vec![]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lists_are_translated_only_when_asked() {
    let running = running(Options::default()).await;
    let authorization = format!("SOTicket {}", running.ticket().await);
    for (name, value, expected) in [
        ("x-nothing", "", "NO:\"Leverandør\";US:\"Supplier\""),
        ("accept-language", "en", "Supplier"),
        ("accept-language", "nb-NO,nb;q=0.9", "Leverandør"),
        ("so-language", "*", "NO:\"Leverandør\";US:\"Supplier\""),
    ] {
        let headers = [("authorization", authorization.as_str()), ("so-apptoken", demo::CLIENT_SECRET), (name, value)];
        let list = running.call(Method::GET, "/Cust12345/api/v1/MDOList/category?flat=True", &headers, "").await.json();
        assert_eq!(list[1]["Name"], expected, "{name}: {value}");
    }
}

#[tokio::test]
async fn agents_answer_to_post() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let post = async |path: &str| running.api(&ticket, Method::POST, &format!("Agents/{path}"), "{}").await;
    assert_eq!(post("User/GetCurrentPrincipal").await.json()["UserType"], "SystemUser");
    assert_eq!(post("Contact/GetContactEntity?contactEntityId=1").await.json()["Name"], "Fjord Shipping");
    assert_eq!(post("Contact/GetContactEntity?contactEntityId=999").await.text(), "null");
    assert_eq!(post("Contact/GetContactEntity").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(post("Contact/Nope").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_echo_tells_all_but_the_secrets() {
    let running = running(Options::default()).await;
    let ticket = running.ticket().await;
    let authorization = format!("SOTicket {ticket}");
    let headers = [("x-one", "1"), ("authorization", &authorization), ("so-apptoken", demo::CLIENT_SECRET), ("x-one", "2")];
    let method = Method::from_bytes(b"PURGE").unwrap();
    let answer = running.call(method, "/CUST12345/api/v1/_sandbox/echo?a=%2F&b=c+d", &headers, "body").await;
    let text = answer.text();
    assert!(!text.contains(&ticket) && !text.contains(demo::CLIENT_SECRET), "{text}");
    let echo = answer.json();
    assert_eq!((&echo["Method"], &echo["Tenant"]), (&json!("PURGE"), &json!("Cust12345")));
    assert_eq!(echo["Target"], "/CUST12345/api/v1/_sandbox/echo?a=%2F&b=c+d");
    assert_eq!((&echo["BodyLength"], &echo["BodySha256"]), (&json!(4), &json!(echo::hex(&Sha256::digest(b"body")))));
    let ones: Vec<_> = echo["Headers"].as_array().unwrap().iter().filter(|pair| pair[0] == "x-one").map(|pair| pair[1].clone()).collect();
    assert_eq!(ones, ["1", "2"]);
}
