//! What is wrong with a configuration: where, what, and what to do about it.

use std::fmt;

/// One thing wrong (or worth a warning) in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The dotted key, `tenants.Cust12345.api_url`; empty for the file as a whole.
    pub key: String,
    /// Where the value came from: the file's name, or the environment variable's.
    pub source: String,
    /// What is wrong; never holds a secret's value.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {} ({})", self.source, self.what, self.hint),
            key => write!(f, "{key} ({}): {} ({})", self.source, self.what, self.hint),
        }
    }
}

/// All that is wrong with a configuration, never empty. `Display` has a paragraph for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let gap = if index == 0 { "" } else { "\n\n" };
            match problem.key.as_str() {
                "" => write!(f, "{gap}{}: {}", problem.source, problem.what)?,
                key => write!(f, "{gap}{key} ({}): {}", problem.source, problem.what)?,
            }
            write!(f, "\n    {}", problem.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
