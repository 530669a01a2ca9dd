//! What there is on the admin listener, and what each of it takes.

use http::Method;
use serde::Serialize;

use super::token::Right;

/// One sentence that says what did not work.
#[derive(Serialize)]
pub(super) struct Tell<'a> {
    pub(super) error: &'a str,
}

/// Everything that can be asked for, as README lists it: method, path and what it is.
pub const ENDPOINTS: [(&str, &str, &str); 14] = [
    ("GET", "/livez", "200 while the process answers"),
    ("GET", "/readyz", "200 when it can serve as `ready_when` says, else 503; why not, and how each tenant stands"),
    ("GET", "/readyz/TENANT", "the same for one tenant"),
    ("GET", "/metrics", "for Prometheus"),
    ("GET", "/status", "all that there is to know"),
    ("GET", "/tenants/TENANT", "the same of one tenant"),
    ("POST", "/tenants/TENANT/renew", "fetches another ticket now, and says what came of it"),
    ("POST", "/tenants/TENANT/forget", "drops its ticket, also in the store; the next request fetches another"),
    ("GET", "/log-level", "what is logged"),
    ("PUT", "/log-level", "logs by the directives in the body or in `?level=` from now on"),
    ("DELETE", "/log-level", "logs as the configuration says"),
    ("POST", "/reload", "reads the configuration anew, and says what came of it"),
    ("POST", "/drain", "stops the process as SIGTERM does"),
    ("GET", "/", "this list"),
];

/// [`ENDPOINTS`] for people.
pub(super) fn index() -> String {
    let line = |(method, path, what): &(&str, &str, &str)| format!("{method:6} {path:23} {}\n", what.replace('`', ""));
    ENDPOINTS.iter().map(line).collect()
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page<'p> {
    Index,
    Live,
    Ready,
    TenantReady(&'p str),
    Metrics,
    Status,
    Tenant(&'p str),
    Renew(&'p str),
    Forget(&'p str),
    LogLevel,
    Reload,
    Drain,
}

impl<'p> Page<'p> {
    pub(super) fn of(path: &'p str) -> Option<Page<'p>> {
        let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match segments[..] {
            [""] => Some(Page::Index),
            ["livez"] => Some(Page::Live),
            ["readyz"] => Some(Page::Ready),
            ["readyz", tenant] if !tenant.is_empty() => Some(Page::TenantReady(tenant)),
            ["metrics"] => Some(Page::Metrics),
            ["status"] => Some(Page::Status),
            ["tenants", tenant] if !tenant.is_empty() => Some(Page::Tenant(tenant)),
            ["tenants", tenant, "renew"] => Some(Page::Renew(tenant)),
            ["tenants", tenant, "forget"] => Some(Page::Forget(tenant)),
            ["log-level"] => Some(Page::LogLevel),
            ["reload"] => Some(Page::Reload),
            ["drain"] => Some(Page::Drain),
            _ => None,
        }
    }

    /// What it takes, as `Allow` lists it.
    pub(super) fn methods(self) -> &'static str {
        match self {
            Page::Renew(_) | Page::Forget(_) | Page::Reload | Page::Drain => "POST",
            Page::LogLevel => "GET, HEAD, PUT, POST, DELETE",
            _ => "GET, HEAD",
        }
    }

    /// What it takes to use it in this way; `None`: it cannot be used so.
    pub(super) fn right(self, method: &Method) -> Option<Right> {
        let known = self.methods().split(", ").any(|name| name == method.as_str());
        let reads = *method == Method::GET || *method == Method::HEAD;
        known.then_some(match self {
            Page::Index | Page::Live | Page::Ready => Right::Ask,
            _ if reads => Right::Read,
            _ => Right::Act,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_listed_is_there_and_nothing_changes_by_a_get() {
        for (method, path, _) in ENDPOINTS {
            let page = Page::of(path).unwrap_or_else(|| panic!("{path}"));
            let right = page.right(&method.parse().unwrap()).unwrap_or_else(|| panic!("{method} {path}"));
            assert_eq!(right == Right::Act, method != "GET", "{method} {path}");
        }
        for path in ["", "/x", "/livez/", "/readyz/", "/tenants/", "/tenants", "/tenants/a/b", "/tenants/a/renew/", "//"] {
            assert_eq!(Page::of(path), None, "{path}");
        }
        for method in ["TRACE", "OPTIONS", "PATCH", "POST"] {
            assert_eq!(Page::Status.right(&method.parse().unwrap()), None);
        }
        assert_eq!(Page::Drain.right(&Method::GET), None);
    }
}
