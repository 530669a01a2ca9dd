//! A request that may write, while it is under way. However it ends, and whether or not anybody waits for it, what is cached of its
//! collection goes: SuperOffice may have done what nobody heard the answer to.

use http::{HeaderValue, Method, StatusCode};

use super::Cache;

/// Dropped when the request has ended.
#[derive(Debug)]
pub struct Write<'a> {
    /// Where its collection may be cached.
    pub cache: &'a Cache,
    /// As in [`super::Asked`].
    pub tenant: &'a str,
    /// What it does.
    pub method: &'a Method,
    /// Behind the tenant, of any service.
    pub path: &'a str,
    /// Of a SOAP call.
    pub action: Option<HeaderValue>,
    /// What it was answered with, as soon as it was.
    pub status: Option<StatusCode>,
}

impl Drop for Write<'_> {
    fn drop(&mut self) {
        let action = self.action.as_ref().and_then(|action| action.to_str().ok());
        self.cache.written(self.tenant, self.method, self.path, action, self.status);
    }
}
