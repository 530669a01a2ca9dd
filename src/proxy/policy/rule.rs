//! One rule: methods and a pattern of paths, `GET,HEAD /api/v1/**`.

use std::fmt;
use std::str::FromStr;

/// `GET /api/v1/**`
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {hint}")]
pub struct RuleError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: &'static str,
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        Ok(Rule { text: text.trim().to_owned() })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
