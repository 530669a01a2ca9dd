//! `soproxy ticket` and `soproxy sign`: one exchange by hand, explained step by step on request.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::ExposeSecret;
use serde_json::{Map, Value, json};

use super::{CliError, find, say};
use crate::app::Backplane;
use crate::clock::Clock;
use crate::config::{Config, Tenant};
use crate::superoffice::CLAIM_PREFIX;
use crate::superoffice::login::{LoginError, Step};
use crate::superoffice::origin::BaseUrl;
use crate::superoffice::tenant::Granted;

/// Arguments of `ticket`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The tenant's name in the configuration
    tenant: String,
    /// Tell each step on standard error, secrets shortened
    #[arg(long)]
    explain: bool,
    /// Print what the token told, too, as JSON
    #[arg(long)]
    json: bool,
}

/// Does one exchange; the ticket alone goes to standard output.
pub async fn run(config: &Config, args: Args) -> Result<ExitCode, CliError> {
    let tenant = find(config, &args.tenant)?;
    super::log_warnings()?;
    let wiring = Backplane::new(config, Clock::system(), &Default::default())?.tenant(config, tenant, None, None, false)?;
    let explainer = Explainer::new(tenant);
    let granted = match args.explain {
        true => wiring.obtain(&|step| eprint!("{}", explainer.tell(&step))).await,
        false => wiring.obtain(&|_| {}).await,
    };
    let (granted, base) = granted?;
    if args.explain {
        eprint!("{}", explainer.conclude(&granted, &base));
    }
    match args.json {
        true => say(&format!("{:#}\n", report(tenant, &granted, &base)))?,
        false => say(&format!("{}\n", granted.claims.ticket.expose_secret()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the signed system token, which is good for some minutes. Of several keys the first signs.
pub fn sign(config: &Config, name: &str) -> Result<ExitCode, CliError> {
    let tenant = find(config, name)?;
    let now = Clock::system().now().wall;
    let key = &tenant.signing_keys[0];
    let signed = key.sign(&tenant.system_user_token, now).map_err(|error| LoginError::Sign(error.into()))?;
    say(&format!("{}\n", signed.expose()))?;
    Ok(ExitCode::SUCCESS)
}

fn report(tenant: &Tenant, granted: &Granted, base: &BaseUrl) -> serde_json::Value {
    let claims = &granted.claims;
    json!({
        "tenant": tenant.name,
        "context": claims.context,
        "ticket": claims.ticket.expose_secret(),
        "web_api": base.to_string(),
        "associate_id": claims.associate_id,
        "identity_provider": claims.identity_provider,
        "email": claims.email,
        "upn": claims.upn,
        "company_name": claims.company_name,
        "serial": claims.serial,
        "netserver_url": claims.netserver_url,
        "webapi_url": claims.webapi_url,
        "token_expires": claims.expires.to_string(),
    })
}

/// Claims that open something: the ticket, and system user tokens, also those of earlier approvals.
const SECRET_CLAIMS: [&str; 2] = ["ticket", "system_token"];

/// Tells the steps in the order and in the words of SuperOffice's own Node.js example.
struct Explainer {
    context: String,
    /// Everything that must not be shown in full, as it may stand in a body.
    secrets: Mutex<Vec<String>>,
}

impl Explainer {
    fn new(tenant: &Tenant) -> Explainer {
        let secrets = tenant.client_secrets.iter().map(ExposeSecret::expose_secret).chain([tenant.system_user_token.expose()]);
        let secrets = secrets.map(str::to_owned).collect();
        Explainer { context: tenant.context.to_string(), secrets: Mutex::new(secrets) }
    }

    fn tell(&self, step: &Step<'_>) -> String {
        match step {
            Step::Signed(signed) => {
                self.secrets().insert(0, signed.signature().to_owned());
                format!(
                    "1. token and time    {}.{}   (system user token, UTC yyyyMMddHHmm)\n2. signature         {}   (RSA-SHA256, base64)\n",
                    self.shown(signed.expose().rsplitn(3, '.').nth(2).unwrap_or_default()),
                    signed.timestamp(),
                    shorten(signed.signature()),
                )
            }
            Step::Request { url, body } => {
                format!("3. request           POST {url}\n{}", indent(&self.shown(&String::from_utf8_lossy(body))))
            }
            Step::Answer(answer) => {
                let body = self.shown(&String::from_utf8_lossy(&answer.body));
                let kind = answer.content_type().unwrap_or("no content type");
                let claims = tokens(&String::from_utf8_lossy(&answer.body)).first().map(|token| self.claims(token)).unwrap_or_default();
                format!("4. reply             HTTP {}, {kind}\n{}{claims}", answer.status, indent(&body))
            }
            Step::Skew(skew) => format!("   clock             the login service's is {:+} s from ours\n", skew.as_secs()),
            Step::Again => "   the timestamp was refused: once more, with the corrected time\n".to_owned(),
        }
    }

    /// What a token says of itself, before anything is verified: that is when one wants to see it.
    fn claims(&self, token: &str) -> String {
        let part = |at: usize| {
            let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(at)?).ok()?;
            serde_json::from_slice::<Map<String, Value>>(&bytes).ok()
        };
        let (Some(header), Some(claims)) = (part(0), part(1)) else { return String::new() };
        let mut text = "5. claims            as the token tells them, not yet verified\n".to_owned();
        let header = header.iter().map(|(name, value)| (format!("{name} (header)"), value));
        for (name, value) in header.chain(claims.iter().map(|(name, value)| (name.trim_start_matches(CLAIM_PREFIX).to_owned(), value))) {
            let shown = match value {
                Value::String(secret) if SECRET_CLAIMS.contains(&&*name) => shorten(secret),
                Value::Array(secrets) if SECRET_CLAIMS.contains(&&*name) => {
                    secrets.iter().map(|secret| shorten(secret.as_str().unwrap_or_default())).collect::<Vec<_>>().join(", ")
                }
                Value::String(value) => self.shown(value),
                value => self.shown(&value.to_string()),
            };
            text.push_str(&indent(&format!("{name:<17} {shown}")));
        }
        text
    }

    fn conclude(&self, granted: &Granted, base: &BaseUrl) -> String {
        format!(
            "   verified          signature, issuer, audience, tenant and times are good\n6. ticket            {}\n   web API of {}: {}\n",
            shorten(granted.claims.ticket.expose_secret()),
            self.context,
            base
        )
    }

    /// `text` with every secret shortened, also as XML and JSON escape it, and with every JWT shortened.
    fn shown(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in self.secrets().iter() {
            let xml = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            let quoted = json!(secret).to_string();
            for form in [secret.as_str(), &xml, quoted.trim_matches('"')] {
                text = text.replace(form, &shorten(form));
            }
        }
        for token in tokens(&text) {
            text = text.replace(&token, &shorten(&token));
        }
        text
    }

    fn secrets(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The JWTs in a text.
fn tokens(text: &str) -> Vec<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.split(|c| !fits(c)).filter(|run| run.starts_with("eyJ") && run.len() > 40).map(str::to_owned).collect()
}

/// Enough to recognise a secret by, never enough to use it.
fn shorten(secret: &str) -> String {
    let length = secret.chars().count();
    let start: String = secret.chars().take(if length >= 16 { 4 } else { 0 }).collect();
    format!("{start}…({length} characters)")
}

fn indent(text: &str) -> String {
    let mut indented = String::new();
    for line in text.lines() {
        // A terminal does what control characters say.
        let line: String = line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        let _ = writeln!(indented, "      {line}");
    }
    indented
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_shown_in_full() {
        let secrets = vec!["R&D Sync 2.0-8k8Q7DmBgo".to_owned(), "client-secret-1234567890".to_owned()];
        let explainer = Explainer { context: "Cust1".into(), secrets: Mutex::new(secrets) };
        let jwt = format!("eyJ{}.eyJ{}.{}", "a".repeat(40), "b".repeat(40), "c".repeat(40));
        let body =
            format!("<t>R&amp;D Sync 2.0-8k8Q7DmBgo.2026</t><a>client-secret-1234567890</a><Token>{jwt}</Token>R&D Sync 2.0-8k8Q7DmBgo");
        let shown = explainer.shown(&body);
        for hidden in ["8k8Q7DmBgo", "secret-123", "aaaaaaaaaaaa", "cccccccccccc"] {
            assert!(!shown.contains(hidden), "{shown}");
        }
        assert!(shown.contains("<Token>eyJa…(128 characters)</Token>"), "{shown}");
        assert_eq!(shorten("short"), "…(5 characters)");
        let claims =
            json!({ "ticket": "7T:0123456789abcdef", "system_token": ["App-0ldApproval123", "R&D Sync 2.0-8k8Q7DmBgo"], "sub": "App" });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let told = explainer.claims(&format!("{}.{}.x", part(&json!({ "alg": "RS256" })), part(&claims)));
        assert!(told.contains("sub               App"), "{told}");
        for hidden in ["abcdef", "0ldApproval", "8k8Q7DmBgo"] {
            assert!(!told.contains(hidden), "{told}");
        }
    }
}
