//! The login service's own keys: the tokens it signs (protocol §5.2, §5.3), its JWKS (§5.5) and its discovery document (§1.3).

use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rsa::PrivateKey;
use rsa::pkcs1v15::SigningKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::signature::{SignatureEncoding, Signer};
use rsa::traits::PublicKeyParts;
use serde::Serialize;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use sha2::Sha256;

use super::Tenant;
use super::faults::JwtFault;
use super::push::PushToken;

/// The certificate of the key that signs: X.509 v1 with SHA-1, as SuperOffice's are.
pub(super) const CERTIFICATE_PEM: &str = include_str!("keys/login.crt");

/// Of a database that none of the tenants has.
const OTHER_SERIAL: &str = "1999999999";

static KEY: LazyLock<Option<LoginKey>> = LazyLock::new(|| LoginKey::new(include_str!("keys/login.pkcs8.pem"), CERTIFICATE_PEM));
static NEXT_KEY: LazyLock<Option<LoginKey>> =
    LazyLock::new(|| LoginKey::new(include_str!("keys/login-next.pkcs8.pem"), include_str!("keys/login-next.crt")));

struct LoginKey {
    signing: SigningKey<Sha256>,
    certificate: Vec<u8>,
    /// Modulus and exponent, big-endian.
    public: [Box<[u8]>; 2],
}

impl LoginKey {
    fn new(pkcs8_pem: &str, certificate_pem: &str) -> Option<LoginKey> {
        let key = PrivateKey::from_pkcs8_pem(pkcs8_pem).ok()?;
        let public = [key.n_bytes(), key.e_bytes()];
        let base64: String = certificate_pem.lines().filter(|line| !line.starts_with("-----")).map(str::trim).collect();
        Some(LoginKey { signing: SigningKey::new(key), certificate: STANDARD.decode(base64).ok()?, public })
    }

    fn x5t(&self) -> String {
        URL_SAFE_NO_PAD.encode(Sha1::digest(&self.certificate))
    }

    /// A token of these claims. What is signed has `tail` at its end: with any, the signature is wrong.
    fn sign(&self, claims: &impl Serialize, tail: &str) -> Option<String> {
        self.sign_as(&self.x5t(), claims, tail)
    }

    /// The same by the name of another key.
    fn sign_as(&self, x5t: &str, claims: &impl Serialize, tail: &str) -> Option<String> {
        let header = serde_json::to_vec(&Header { typ: "JWT", alg: "RS256", x5t: x5t.to_owned() }).ok()?;
        let claims = serde_json::to_vec(claims).ok()?;
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.signing.try_sign(format!("{message}{tail}").as_bytes()).ok()?;
        Some(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes())))
    }

    /// Assumption: no live JWKS was found. `x5t` and `x5c` because the tokens' header names `x5t`; no `kid`, for the same reason.
    fn jwk(&self) -> Value {
        json!({
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "x5t": self.x5t(),
            "n": URL_SAFE_NO_PAD.encode(&self.public[0]),
            "e": URL_SAFE_NO_PAD.encode(&self.public[1]),
            "x5c": [STANDARD.encode(&self.certificate)],
        })
    }
}

pub(super) fn jwks(fault: JwtFault) -> Value {
    let rotated = NEXT_KEY.as_ref().filter(|_| fault == JwtFault::RotateKey);
    json!({ "keys": rotated.into_iter().chain(KEY.as_ref()).map(LoginKey::jwk).collect::<Vec<_>>() })
}

/// The discovery document, for the origin `base`.
pub(super) fn discovery(base: &str) -> Value {
    json!({
        "issuer": base,
        "authorization_endpoint": format!("{base}/login/common/oauth/authorize"),
        "token_endpoint": format!("{base}/login/common/oauth/tokens"),
        "end_session_endpoint": format!("{base}/login/logout"),
        "jwks_uri": format!("{base}/login/.well-known/jwks"),
        "scopes_supported": ["openid"],
        "response_modes_supported": ["form_post", "fragment", "query"],
        "response_types_supported": ["code", "id_token", "code id_token", "token id_token", "token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
        "grant_types_supported": ["implicit", "authorization_code", "refresh_token"],
        "revocation_endpoint": format!("{base}/login/common/oauth/revoke"),
    })
}

/// The header and the claims, in the order in which they were seen.
#[derive(Serialize)]
struct Header {
    typ: &'static str,
    alg: &'static str,
    x5t: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/identityprovider")]
    identity_provider: &'static str,
    #[serde(rename = "http://schemes.superoffice.net/identity/email")]
    email: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/upn")]
    upn: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/is_administrator")]
    is_administrator: &'static str,
    #[serde(rename = "http://schemes.superoffice.net/identity/system_token")]
    system_token: [String; 2],
    #[serde(rename = "http://schemes.superoffice.net/identity/ctx")]
    context: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/company_name")]
    company_name: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/serial")]
    serial: &'a str,
    #[serde(rename = "http://schemes.superoffice.net/identity/ticket", skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    #[serde(rename = "http://schemes.superoffice.net/identity/netserver_url")]
    netserver_url: String,
    #[serde(rename = "http://schemes.superoffice.net/identity/webapi_url")]
    webapi_url: String,
    iat: String,
    nbf: i64,
    exp: i64,
    iss: &'static str,
    aud: String,
}

/// The system user JWT of a good exchange. Its URLs name `base` even after a move: the tenant's state is what tells of moves.
/// `None` only if the embedded key cannot be read.
pub(super) fn issue(tenant: &Tenant, ticket: &str, base: &str, now: Timestamp, fault: JwtFault) -> Option<String> {
    let key = if fault == JwtFault::RotateKey { NEXT_KEY.as_ref()? } else { KEY.as_ref()? };
    let iat = now.as_second() - if fault == JwtFault::Expired { 3600 } else { 0 };
    let context = &tenant.context;
    let serial = if fault == JwtFault::OtherSerial { OTHER_SERIAL } else { &tenant.serial };
    let claims = Claims {
        sub: &tenant.application,
        identity_provider: "superid",
        email: &tenant.application,
        upn: &tenant.application,
        is_administrator: "True",
        // Seen with more than one value; the second is what an earlier approval could have left.
        system_token: [tenant.system_user_token.clone(), format!("{}-0ldApproval", tenant.application)],
        context: if fault == JwtFault::WrongContext { "Cust99999" } else { context },
        company_name: &tenant.company,
        serial,
        ticket: (fault != JwtFault::NoTicket).then_some(ticket),
        netserver_url: format!("{base}/{context}/Remote/Services88/"),
        webapi_url: format!("{base}/{context}/api/"),
        iat: iat.to_string(),
        nbf: iat - 60,
        exp: iat + 300,
        iss: if fault == JwtFault::WrongIssuer { "Somebody Else AS" } else { "SuperOffice AS" },
        aud: if fault == JwtFault::WrongAudience { "spn:1000000001".into() } else { format!("spn:{serial}") },
    };
    key.sign(&claims, if fault == JwtFault::BadSignature { "!" } else { "" })
}

/// What a state-change notification proves itself with. `None` only if the embedded keys cannot be read.
pub(super) fn notification(tenant: &Tenant, issuer: &str, now: Timestamp, token: PushToken) -> Option<String> {
    let iat = now.as_second() - if token == PushToken::Expired { 3600 } else { 0 };
    let claims = json!({
        "http://schemes.superoffice.net/identity/ctx": if token == PushToken::WrongTenant { "Cust99999" } else { &tenant.context },
        "iat": iat.to_string(),
        "nbf": iat - 60,
        "exp": iat + 300,
        "iss": if token == PushToken::WrongIssuer { "https://somebody.example" } else { issuer },
    });
    let key = KEY.as_ref()?;
    match token {
        PushToken::Forged => NEXT_KEY.as_ref()?.sign_as(&key.x5t(), &claims, ""),
        _ => key.sign(&claims, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_is_of_the_key_and_its_thumbprint_in_the_jwks() {
        // The fingerprint as `openssl x509 -fingerprint -sha1` tells it.
        let thumbprint =
            [0x5b, 0xd9, 0x22, 0xdb, 0x4c, 0xc2, 0x90, 0xc3, 0x2c, 0xbe, 0x86, 0xe2, 0xe4, 0xad, 0x8e, 0xf7, 0x2d, 0x5b, 0x73, 0x55];
        let published = jwks(JwtFault::Ok);
        assert_eq!(published["keys"].as_array().unwrap().len(), 1);
        let jwk = &published["keys"][0];
        assert_eq!(jwk["x5t"], URL_SAFE_NO_PAD.encode(thumbprint));
        assert_eq!(jwk["e"], "AQAB");
        assert!(jwk.get("kid").is_none());
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        let certificate = &KEY.as_ref().unwrap().certificate;
        assert!(certificate.windows(modulus.len()).any(|part| part == modulus), "the certificate holds another key");
    }

    #[test]
    fn a_rotation_publishes_the_next_key_first() {
        let keys = jwks(JwtFault::RotateKey);
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
        assert_eq!(keys["keys"][1], jwks(JwtFault::Ok)["keys"][0]);
    }
}
