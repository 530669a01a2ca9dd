//! What is asked of rules besides whether a request may pass.

use super::{Rule, Rules};

impl Rules {
    /// Whether only reading is allowed.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether there are tenants that may not be addressed, perhaps.
    pub fn names_tenants(&self) -> bool {
        self.tenants.is_some()
    }
}

impl Rule {
    /// Whether it is about a method that changes nothing, among others perhaps.
    pub fn reads(&self) -> bool {
        let text = self.to_string();
        let methods = text.split_whitespace().next().unwrap_or_default();
        methods.split(',').any(|method| matches!(method.trim(), "*" | "GET" | "HEAD" | "OPTIONS"))
    }
}
