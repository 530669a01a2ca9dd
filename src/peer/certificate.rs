//! The names that a certificate gives to whoever has its key. Pure: what is verified, and against what, is decided elsewhere.

use std::net::IpAddr;

use x509_cert::Certificate as X509;
use x509_cert::der::Decode;
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::{DirectoryString, GeneralName};

use super::Certificate;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

impl Certificate {
    /// Reads DER. `None` is no certificate. A name that could be taken for another one, because characters that cannot be
    /// seen stand in it, is left out; so is a list of alternative names that cannot be read.
    pub fn from_der(der: &[u8]) -> Option<Certificate> {
        let certificate = X509::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let subject = certificate.subject();
        let mut names = Vec::new();
        if !subject.is_empty() {
            names.push(format!("subject:{subject}"));
        }
        let common = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
        names.extend(common.filter_map(|attribute| Some(format!("cn:{}", visible(&text(&attribute.value)?)?))));
        if let Ok(Some((_, SubjectAltName(all)))) = certificate.get_extension::<SubjectAltName>() {
            names.extend(all.iter().filter_map(alternative));
        }
        Some(Certificate { names })
    }
}

fn text(value: &Any) -> Option<String> {
    Some(DirectoryString::try_from(value).ok()?.value().into_owned())
}

fn alternative(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(format!("dns:{}", visible(name.as_str())?.to_ascii_lowercase())),
        GeneralName::Rfc822Name(name) => Some(format!("email:{}", visible(name.as_str())?.to_ascii_lowercase())),
        GeneralName::UniformResourceIdentifier(name) => Some(format!("uri:{}", visible(name.as_str())?)),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let ip = <[u8; 4]>::try_from(bytes).map(IpAddr::from).or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
            Some(format!("ip:{}", ip.ok()?))
        }
        _ => None,
    }
}

fn visible(text: &str) -> Option<&str> {
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    fn der(name: &str) -> Vec<u8> {
        let path = format!("{}/tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
        CertificateDer::from_pem_file(path).unwrap().to_vec()
    }

    fn names(name: &str) -> Vec<String> {
        Certificate::from_der(&der(name)).unwrap().names
    }

    #[test]
    fn subject_and_alternative_names_are_spelled_as_in_the_configuration() {
        assert_eq!(
            names("tls/client.pem"),
            [
                "subject:CN=erp,OU=Back \\+ Office\\, 2,O=Example",
                "cn:erp",
                "dns:erp.example.com",
                "email:erp@example.com",
                "uri:spiffe://example/ERP",
                "ip:10.0.0.1",
                "ip:fd00::1",
            ]
        );
    }

    #[test]
    fn a_certificate_may_have_a_subject_alone_or_none_at_all() {
        assert_eq!(names("tls/ca.pem").len(), 2, "{:?}", names("tls/ca.pem"));
        assert_eq!(names("tls/nameless.pem"), ["dns:nameless.example"]);
    }

    #[test]
    fn a_name_with_characters_that_cannot_be_seen_is_left_out() {
        let mut der = der("tls/client.pem");
        let at = der.windows(15).position(|bytes| bytes == b"ERP.example.com").unwrap();
        der[at + 3] = 0;
        let names = Certificate::from_der(&der).unwrap().names;
        assert!(!names.iter().any(|name| name.starts_with("dns:")), "{names:?}");
        assert!(names.contains(&"email:erp@example.com".to_owned()), "{names:?}");
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Certificate::from_der(&bytes);
        }

        #[test]
        fn a_damaged_certificate_never_panics(at in 0_usize..2000, with in any::<u8>(), cut in 0_usize..2000) {
            let mut bytes = der("tls/client.pem");
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = Certificate::from_der(&bytes);
            bytes.truncate(cut % bytes.len());
            let _ = Certificate::from_der(&bytes);
        }
    }
}
