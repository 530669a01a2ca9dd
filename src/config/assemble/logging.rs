//! Where the log and the spans go.

use std::time::Duration;

use http::HeaderValue;
use secrecy::ExposeSecret;

use super::Assembly;
use crate::config::Log;
use crate::config::file::{LogSettings, TelemetrySettings};
use crate::{log, telemetry};

/// What SuperOffice asks of those who run applications for it: three months.
const OWED: Duration = Duration::from_secs(90 * 86_400);

impl Assembly<'_> {
    /// Resolves the file's path.
    pub(super) fn log(&mut self, settings: &LogSettings) -> Option<Log> {
        let path = settings.file.optional()?.map(|path| self.secrets.resolve(&path));
        let (level, format, query) = (settings.level.clone(), settings.format, settings.query);
        let (rotate, max_size, keep) = (settings.rotate?, settings.max_size?, settings.keep?);
        let file = path.map(|path| log::file::Settings { path, rotate, max_size, keep });
        if let Some(file) = &file {
            self.place(file);
            if rotate && keep.is_some_and(|keep| keep < OWED) {
                let hint = "SuperOffice obliges both sides to keep logs for three months: keep = \"90d\", unless another copy is kept";
                self.warn("log.keep", "is less than 90 days", hint);
            }
        }
        Some(Log { level: level?, format: format?, query: query?, file })
    }

    /// Reads the headers. Without an address nothing is exported, whatever else is said.
    pub(super) fn telemetry(&mut self, settings: &TelemetrySettings) -> Option<Option<telemetry::Settings>> {
        let mut headers = Some(Vec::new());
        for (name, reference) in settings.headers.optional()?.unwrap_or_default() {
            let key = "telemetry.otlp_headers";
            let value = self.secret(key, &reference).and_then(|secret| {
                // A secret's text has no control characters, which is all that a header does not take.
                HeaderValue::from_str(secret.expose_secret()).or_else(|_| HeaderValue::from_bytes(secret.expose_secret().as_bytes())).ok()
            });
            headers = headers.zip(value).map(|(mut headers, mut value)| {
                value.set_sensitive(true);
                headers.push((name, value));
                headers
            });
        }
        let headers = headers?;
        let (service_name, sample) = (settings.service_name.clone()?, settings.sample?);
        let Some(endpoint) = settings.endpoint.optional()? else {
            if !headers.is_empty() {
                self.warn("telemetry.otlp_headers", "nothing is exported without an address", "set otlp_endpoint in [telemetry]");
            }
            return Some(None);
        };
        if !headers.is_empty() && !endpoint.is_https() && !endpoint.is_loopback() {
            let hint = "use https, or a collector on this machine";
            self.warn("telemetry.otlp_endpoint", "is not https: otlp_headers go to another machine in plain text", hint);
        }
        Some(Some(telemetry::Settings { endpoint, headers, service_name, sample }))
    }

    fn place(&mut self, file: &log::file::Settings) {
        let dir = file.dir();
        let real = dir.canonicalize().ok();
        if real.as_ref().is_some_and(|real| real.parent().is_none()) {
            let hint =
                "the confined process may write to the log's directory: give it one of its own, such as /var/log/soproxy/soproxy.log";
            self.problem("log.file", "is in the root directory", hint);
        } else if real.is_some() && real == self.secrets.resolve(".".as_ref()).canonicalize().ok() {
            let hint = "the confined process may write to the log's directory: give it one of its own, such as logs/soproxy.log";
            self.warn("log.file", "is in the configuration's own directory", hint);
        }
    }
}
