//! Which version of SuperOffice's services a request means: its credentials go into the namespace of that version.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName};

use super::content::parameter;

/// One version of SuperOffice's services, known by `http://www.superoffice.net/ws/crm/NetServer/Services88`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Service(u16);

const NETSERVER: &str = "http://www.superoffice.net/ws/crm/NetServer/Services";
const SOAP_ACTION: HeaderName = HeaderName::from_static("soapaction");

impl Service {
    /// By its namespace.
    pub(super) fn of(namespace: &str) -> Option<Service> {
        namespace.strip_prefix(NETSERVER).and_then(Service::numbered)
    }

    /// By what a request says beside its body: `SOAPAction`, or the `action` of SOAP 1.2; else by a segment of its path.
    pub(super) fn asked(headers: &HeaderMap, path: &str) -> Option<Service> {
        let header = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let old = header(&SOAP_ACTION).and_then(|action| Service::acting(action.trim().trim_matches('"')));
        let new = || Service::acting(&parameter(header(&CONTENT_TYPE)?.as_bytes(), "action")?);
        old.or_else(new).or_else(|| path.split('/').find_map(Service::segment))
    }

    /// By `…/Services88/Contact/GetContact`.
    fn acting(action: &str) -> Option<Service> {
        action.strip_prefix(NETSERVER)?.split('/').next().and_then(Service::numbered)
    }

    fn segment(segment: &str) -> Option<Service> {
        let (word, number) = segment.split_at_checked("Services".len())?;
        if word.eq_ignore_ascii_case("Services") { Service::numbered(number) } else { None }
    }

    fn numbered(number: &str) -> Option<Service> {
        let plain = number.len() <= 3 && !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        if plain { number.parse().ok().map(Service) } else { None }
    }

    pub(super) fn namespace(self) -> String {
        format!("{NETSERVER}{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(action: Option<&'static str>, content_type: &'static str, path: &str) -> Option<Service> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.extend(action.map(|action| (SOAP_ACTION, HeaderValue::from_static(action))));
        Service::asked(&headers, path)
    }

    #[test]
    fn the_action_goes_before_the_path() {
        const ACTION: &str = "\"http://www.superoffice.net/ws/crm/NetServer/Services84/Contact/GetContact\"";
        const NEW: &str =
            "application/soap+xml; action=\"http://www.superoffice.net/ws/crm/NetServer/Services85/Contact/GetContact\"; charset=utf-8";
        assert_eq!(asked(Some(ACTION), NEW, "/services86/Contact.svc"), Some(Service(84)));
        assert_eq!(asked(Some("\"\""), NEW, "/services86/Contact.svc"), Some(Service(85)));
        assert_eq!(asked(Some("GetContact"), "text/xml", "/c/remote/services86/Contact.svc"), Some(Service(86)));
        for path in ["/Remote/Contact.svc", "/Services/Contact.svc", "/Services8x", "/Services1234", "/Services012", "/Sérvices88"] {
            assert_eq!(asked(None, "text/xml", path), None, "{path}");
        }
    }

    #[test]
    fn only_superoffices_namespaces_count() {
        assert_eq!(Service::of("http://www.superoffice.net/ws/crm/NetServer/Services88"), Some(Service(88)));
        for other in [
            "",
            "urn:x",
            "http://www.superoffice.net/ws/crm/NetServer/Services88/",
            "https://www.superoffice.net/ws/crm/NetServer/Services88",
        ] {
            assert_eq!(Service::of(other), None, "{other}");
        }
        assert_eq!(Service(88).namespace(), "http://www.superoffice.net/ws/crm/NetServer/Services88");
    }
}
